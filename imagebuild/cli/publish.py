"""The commands about releases: names, verify, promote, demote, prune."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from imagebuild.cli import options
from imagebuild.cli.showing import say


def names(
    config: options.NeededConfig,
    date: options.Date = None,
    respin: Annotated[int, typer.Option("--respin", min=0, help="respin number")] = 0,
    arch: Annotated[
        str | None, typer.Option("--arch", help="x86_64, aarch64, …; default: the configuration's")
    ] = None,
    nightly: Annotated[bool, typer.Option("--nightly", help="as a nightly compose")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print JSON, with compose id, formats and CHECKSUM files")
    ] = False,
) -> None:
    """Print the path of every file of a release, below its directory."""
    from imagebuild.session.names import names as names_of

    release = names_of(config, options.DEFAULT_STORE, day=date, respin=respin, arch=arch, nightly=nightly)
    if not as_json:
        sys.stdout.write("".join(f"{path}\n" for path in release.paths()))
        return
    downloads = [
        {
            "path": download.path,
            "image": download.image,
            "format": download.format,
            "variant": download.variant,
            "checksum": release.checksum_of(download.path),
        }
        for download in release.downloads
    ]
    document = {
        "compose_id": release.compose_id,
        "arch": release.arch,
        "downloads": downloads,
        "checksums": release.checksums,
        "manifest": release.manifest,
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def verify(
    place: Annotated[
        str, typer.Argument(help="address (http, https) or directory of a release: …/COMPOSE_ID")
    ],
    key: Annotated[list[Path], typer.Option("--key", help="public key that releases are signed with")],
    commit_key: Annotated[
        list[Path] | None,
        typer.Option("--commit-key", help="public key that commits are signed with; default: the same"),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="open every image and read which commit it holds")
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    """Verify a release, with only its public key.

    Exit codes: 0 it is what was signed; 4 signature or key; 5 a file is missing; 6 changed; 7 extra; 8 page;
    9 metadata; 10 an image holds another commit, or cannot be opened; 11 unreadable. Of several problems, the
    first in this list.
    """
    from imagebuild.session import verification

    verified = verification.verify(place, key, commit_key, open_images=images)
    if as_json:
        sys.stdout.write(json.dumps(asdict(verified), indent=1) + "\n")
    else:
        for line in verification.describe(verified):
            typer.echo(line)
    if verified.problems:
        raise typer.Exit(verified.exit_code())


def audit(
    place: Annotated[Path, typer.Argument(help="release directory")],
    advisories: Annotated[
        Path | None,
        typer.Option(
            "--advisories",
            help="JSON of Debian's security tracker, or OSV records; default: publish.audit.advisories",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="configuration of the release line, which has the waivers (YAML)"),
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    as_json: options.AsJson = False,
) -> None:
    """Say which packages of a release are known to be vulnerable, by advisories that lie on this machine.

    Exit codes: 0 nothing that `publish.audit.hold` would hold a release for (those that a newer package
    fixes); 3 something.
    """
    from imagebuild.release_line import reading
    from imagebuild.session import auditing

    chosen = reading.load(config, store) if config is not None else None
    found = auditing.audit_release(place, advisories, chosen)
    if as_json:
        sys.stdout.write(json.dumps(found.document(), indent=1) + "\n")
    else:
        for line in auditing.describe(found):
            typer.echo(line)
    if found.held:
        raise typer.Exit(3)


def promote(
    places: Annotated[
        list[Path],
        typer.Argument(help="release directory; several for architectures in directories of their own"),
    ],
    config: Annotated[
        list[Path],
        typer.Option(
            "--config",
            help=(
                "configuration of the release line (YAML); once more for each architecture that has its own,"
                " after that of the destination"
            ),
        ),
    ],
    store: options.Store = options.DEFAULT_STORE,
    to: options.To = None,
    later: Annotated[
        list[str] | None,
        typer.Option(
            "--later", metavar="ARCH", help="promote without this architecture, which joins the compose later"
        ),
    ] = None,
) -> None:
    """Publish a release: upload and verify, static deltas, ref, signed summary, index. To go on after an
    interruption, run it again.

    A release of another architecture joins the compose of the same name that is at the destination.
    """
    from imagebuild.release_line import reading
    from imagebuild.session import releases

    first, *lines = [reading.load(file, store) for file in config]
    releases.promote(first, store, places, to, say=typer.echo, lines=lines, later=later or ())


def demote(
    place: Annotated[Path, typer.Argument(help="release directory")],
    reason: Annotated[str, typer.Option("--reason", help="why it is bad: published, signed")],
    config: options.NeededConfig,
    store: options.Store = options.DEFAULT_STORE,
    to: options.To = None,
) -> None:
    """Mark a release bad, with a signed reason: it cannot be promoted any more, and nothing calls it the
    latest.
    """
    from imagebuild.release_line import reading
    from imagebuild.session import releases

    compose_id = releases.demote(reading.load(config, store), store, place, reason, to)
    typer.echo(
        f"{compose_id} is marked bad; hosts that have it go back with their own rollback, the ref was left"
        " where it is"
    )


def prune(
    config: options.NeededConfig,
    ref: Annotated[
        str | None, typer.Option("--ref", help="ref whose releases are pruned; default: the configuration's")
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    store_remote: options.StoreRemote = None,
    output: options.Output = options.DEFAULT_OUTPUT,
    to: options.To = None,
    yes: Annotated[bool, typer.Option("--yes", help="do it; without this, only say what would go")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Remove old nightlies, releases that were superseded, artifacts and commits that nothing needs
    (publish.keep of the configuration).
    """
    from imagebuild.release_line import reading
    from imagebuild.session import releases

    settings = reading.load(config, store)
    pruned = releases.prune(
        settings, ref or settings.the_ref(), store, output, to, really=yes, store_remote=store_remote
    )
    if as_json:
        rows = [{**asdict(gone), "removed": yes} for gone in pruned]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for gone in pruned:
        why = f" ({gone.why})" if gone.why else ""
        say(f"{'removed' if yes else 'would go'}: {gone.what}{why}")
    if not yes:
        say("nothing was removed: --yes does it")
