"""What is checked before a release goes out: it is whole, fit, signed by the configured key, and not bad."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.destinations import source
from imagebuild.destinations.destination import Destination
from imagebuild.destinations.local import Directory
from imagebuild.errors import BuildError, UsageError
from imagebuild.publish import binding, facts, marks
from imagebuild.publish.facts import Facts
from imagebuild.publish.findings import describe
from imagebuild.publish.fitness import needs_atomic, unfit_downloads
from imagebuild.publish.pointers import Pointers
from imagebuild.publish.verify import Trust, verify
from imagebuild.release_line.model import Config
from imagebuild.smoke import verdict
from imagebuild.tools.gpg import Signer
from imagebuild.tools.ostree.repository import Repo


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What is promoted, one directory (absolute) for each architecture, where to, from which repository, with
    whose signature.
    """

    config: Config
    places: tuple[Path, ...]
    destination: Destination
    source: Path
    keys: tuple[Path, ...]
    cache: Path

    @property
    def pointers(self) -> Pointers:
        """What points at the destination's releases."""
        keys = (*self.keys, *map(Path, self.config.publish.other_keys))
        return Pointers(destination=self.destination, config=self.config, keys=keys, cache=self.cache)


def check_releases(wanted: Promotion, signer: Signer) -> list[tuple[Facts, Path]]:
    """Return the releases and their directories, each verified. Raises BuildError, UsageError."""
    releases = [(_check_release(wanted, place, signer), place) for place in wanted.places]
    described = [release for release, _ in releases]
    # a damaged list at the destination is said now, not after the ref has moved
    wanted.pointers.listed(but=[release.compose_id for release in described])
    _check_arches(wanted.config, described)
    if len({release.compose_id for release in described}) != len(releases):
        raise UsageError(
            "two architectures have the same compose id: one would be written over the other",
            hint="give them different respin numbers",
        )
    return releases


def _check_release(wanted: Promotion, place: Path, signer: Signer) -> Facts:
    release = facts.read(place)
    problems = _problems(place, wanted)
    if problems:
        raise BuildError(
            f"{place} is not whole: {'; '.join(problems)}",
            hint="a release is promoted as it was signed, or not at all",
        )
    if release.signer != signer.fingerprint:
        raise BuildError(
            f"{place} was signed by {release.signer}, the configured key is {signer.fingerprint}"
        )
    if release.nightly:
        raise BuildError(
            f"{release.compose_id} is a nightly: those are never promoted",
            hint="imagebuild all makes a release of the same commit",
        )
    _check_fitness(wanted, release, place)
    check_marks(wanted, release, place)
    # verified with the rest of the release
    commit = (place / "metadata" / "ostree" / f"{release.tree.commit}.commit").read_bytes()
    binding.check(wanted.config, release.ref, release.tree.commit, commit)
    return release


def _check_fitness(wanted: Promotion, release: Facts, place: Path) -> None:
    cells = verdict.read(place / verdict.FILE)
    downloads = {download.path.rpartition("/")[2]: download for download in release.downloads}
    unfit = unfit_downloads(
        cells, wanted.config, downloads, atomic=_needs_atomic(wanted, release), older=release.older
    )
    if unfit:
        raise BuildError(
            f"{release.compose_id} is not fit: {'; '.join(unfit)}",
            hint="imagebuild all tests what is missing",
        )


def check_marks(wanted: Promotion, release: Facts, place: Path) -> None:
    """Raise BuildError when a release is marked bad here or at the destination."""
    bad = marks.marks_of(release, (Directory(place.parent), wanted.destination), wanted.pointers.keys)
    if bad:
        raise BuildError(
            f"{release.compose_id} is marked bad:"
            f" {bad[0].reason}{'' if bad[0].signed else ' (the mark is not signed)'}",
            hint="take the next compose",
        )


def _problems(place: Path, wanted: Promotion) -> list[str]:
    """Return what is wrong with a release directory; images are not opened again: they were tested."""
    trust = Trust(
        keys=wanted.keys,
        commit_keys=tuple(Path(key) for key in wanted.config.tree.gpg_keys) or wanted.keys,
        open_images=False,
        cache=wanted.cache,
    )
    result = verify(source.DirectorySource(place), trust)
    return list(describe(result)[: len(result.problems)])


def _needs_atomic(wanted: Promotion, release: Facts) -> bool:
    """Return whether the released tree has `atomic`; when the source no longer has the tree, the release
    itself was asked.
    """
    source = Repo(wanted.source)
    return source.has(release.tree.commit) and needs_atomic(source, release.tree.commit, release.host_kind)


def _check_arches(config: Config, releases: Sequence[Facts]) -> None:
    arches = [release.arch for release in releases]
    missing = sorted(set(config.publish.arches) - set(arches))
    if missing:
        raise BuildError(
            f"{', '.join(missing)} is missing: all of {', '.join(config.publish.arches)} are promoted"
            " together",
            hint="give the directory of each",
        )
    if len(set(arches)) != len(arches):
        raise UsageError(f"an architecture is given twice: {', '.join(arches)}")
    versions = {release.arch: release.tree.version for release in releases}
    if len(set(versions.values())) != 1:
        raise BuildError(
            "the architectures disagree on the version:"
            f" {', '.join(f'{arch} {version}' for arch, version in versions.items())}"
        )
    if any((release.product, release.release) != (config.product, config.release) for release in releases):
        raise UsageError(
            f"this configuration is for {config.product} {config.release}",
            hint="give the --config of the release's own line",
        )
