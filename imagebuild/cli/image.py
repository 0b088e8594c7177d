"""The commands about one image file: test, boot, compare, iso add-kickstart."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagebuild.cli import options
from imagebuild.cli.showing import console, say, show_criteria
from imagebuild.errors import UsageError
from imagebuild.kinds import Firmware, Login

if TYPE_CHECKING:
    from imagebuild.session.images import Wanted

Commit = Annotated[
    str | None, typer.Option("--commit", help="commit that the image should hold; default: the one it boots")
]


def try_image(
    image: Annotated[
        Path,
        typer.Argument(
            help="any image, ours or not: a disk (compressed or not), Vagrant box, OVA, archive of one,"
            " installer ISO"
        ),
    ],
    ref: options.Ref = None,
    config: options.Config = None,
    criteria: Annotated[str, typer.Option("--criteria", help="only these, separated by commas")] = "",
    firmware: options.OneFirmware = Firmware.UEFI,
    commit: Commit = None,
    previous: Annotated[
        list[str] | None,
        typer.Option(
            "--previous", help="commit of the release before, from which hosts upgrade; repeat for older ones"
        ),
    ] = None,
    repo: Annotated[
        Path | None,
        typer.Option("--repo", help="OSTree repository that has these commits; default: the store's"),
    ] = None,
    vagrant: options.Vagrant = False,
    store: options.Store = options.DEFAULT_STORE,
    output: Annotated[Path, typer.Option("--output", help="where the report is written")] = Path(
        "build/test"
    ),
    shell: Annotated[
        bool,
        typer.Option(
            "--shell-on-failure",
            help="when a criterion fails, say how to get into the guest, and wait for Enter",
        ),
    ] = False,
) -> None:
    """Test any image by the release criteria, or some of them."""
    from imagebuild.session import images

    wanted = _wanted(image, ref, config, firmware, commit, previous, repo, vagrant=vagrant, store=store)
    chosen = tuple(filter(None, criteria.split(",")))
    tried = images.try_image(wanted, chosen, output, say, terminal=_terminal() if shell else None)
    show_criteria(console, tried.cells)
    say(f"report: {tried.report}")
    if tried.problem is not None:
        raise tried.problem


def _terminal() -> Path:
    """Return the terminal at which a person sits. Raises UsageError when there is none."""
    try:
        return Path(os.ttyname(sys.stdin.fileno()))
    except OSError as error:
        raise UsageError(
            "--shell-on-failure needs a terminal, and standard input is not one",
            hint="run it at a terminal; `imagebuild boot` starts a guest without the criteria",
        ) from error


def boot(
    image: Annotated[Path, typer.Argument(help="any image")],
    command_line: Annotated[
        list[str] | None,
        typer.Argument(help="a command to run in it (after --); then it is switched off"),
    ] = None,
    ref: options.Ref = None,
    config: options.Config = None,
    firmware: options.OneFirmware = Firmware.UEFI,
    vagrant: options.Vagrant = False,
    network: Annotated[
        bool,
        typer.Option(
            "--network", help="let it reach this machine and the world; an image from elsewhere should not"
        ),
    ] = False,
    store: options.Store = options.DEFAULT_STORE,
) -> None:
    """Boot a throw-away copy of an image, with a console and ssh."""
    from imagebuild.session import images

    wanted = _wanted(image, ref, config, firmware, None, None, None, vagrant=vagrant, store=store)
    raise typer.Exit(images.boot_image(wanted, tuple(command_line or ()), network=network, say=say))


def _wanted(
    image: Path,
    ref: str | None,
    config: Path | None,
    firmware: Firmware,
    commit: str | None,
    previous: list[str] | None,
    repo: Path | None,
    *,
    vagrant: bool,
    store: Path,
) -> "Wanted":
    from imagebuild.session import lines
    from imagebuild.session.images import Wanted

    settings, chosen = lines.load(ref, config, store)
    place = (repo or store / "repo").absolute()
    return Wanted(
        image=image.absolute(),
        settings=settings,
        ref=chosen,
        firmware=firmware,
        login=Login.VAGRANT if vagrant else Login.CLOUD_INIT,
        commit=commit,
        previous=tuple(previous or ()),
        repo=place if place.is_dir() else None,
    )


def compare(
    one: Annotated[Path, typer.Argument(help="disk image: raw, qcow2, vmdk")],
    other: Annotated[Path, typer.Argument(help="disk image to compare it with")],
    as_json: options.AsJson = False,
) -> None:
    """Say where two disk images differ: partition, file and inode.

    Exit status 0 when every byte is the same, 1 when they differ, 2 when that cannot be told.
    """
    from imagebuild.session.images import compare_disks

    for file in (one, other):
        if not file.is_file():
            raise UsageError(f"there is no file {file}")
    areas = compare_disks(one, other)
    if as_json:
        sys.stdout.write(json.dumps([asdict(area) for area in areas], indent=1, default=str) + "\n")
    else:
        for area in areas:
            say(f"{area.area}: {area.blocks} blocks of 4 KiB differ, the first at byte {area.first}")
            for owner in area.owners:
                say(f"  {owner}")
        if not areas:
            say("identical")
    if areas:
        raise typer.Exit(1)


def add_kickstart(
    source: Annotated[Path, typer.Argument(help="installer ISO: ours, lorax's, Fedora's")],
    kickstart: Annotated[Path, typer.Argument(help="kickstart to put on it")],
    target: Annotated[Path, typer.Argument(help="ISO to be written")],
    syntax: Annotated[
        str, typer.Option("--syntax", help="pykickstart's version of the release, such as F28")
    ] = "F28",
) -> None:
    """Turn an installer ISO into an unattended one: add the kickstart and a boot entry for it, and renew the
    media checksum.
    """
    from imagebuild.session.images import add_kickstart_to_iso

    if not source.is_file():
        raise UsageError(f"there is no file {source}")
    for change in add_kickstart_to_iso(source, kickstart, target, syntax=syntax):
        say(f"{target}: {change}")
