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
from imagebuild.publish.joint import Part, Read, arches_in, check_versions, read_parts
from imagebuild.publish.layout import manifest_of
from imagebuild.publish.pointers import Pointers
from imagebuild.publish.verify import Trust, verify
from imagebuild.release_line.model import Config
from imagebuild.smoke import verdict
from imagebuild.tools.gpg import Signer
from imagebuild.tools.ostree.repository import Repo


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What is promoted, directories (absolute) of one or more architectures each, where to, from which
    repository, with whose signature.

    `lines` are configurations of architectures that have one of their own; `later` are architectures that
    join the compose later.
    """

    config: Config
    places: tuple[Path, ...]
    destination: Destination
    source: Path
    keys: tuple[Path, ...]
    cache: Path
    lines: tuple[Config, ...] = ()
    later: tuple[str, ...] = ()

    def line_of(self, release: Facts) -> Config:
        """Return the configuration that builds a release's ref."""
        own = (line for line in (self.config, *self.lines) if line.builds(release.ref))
        return next(own, self.config)

    def there(self, compose_id: str) -> Read:
        """Return what reads small files of a compose at the destination."""
        return lambda path: self.destination.read(f"{compose_id}/{path}")

    @property
    def pointers(self) -> Pointers:
        """What points at the destination's releases."""
        keys = (*self.keys, *map(Path, self.config.publish.other_keys))
        return Pointers(destination=self.destination, config=self.config, keys=keys, cache=self.cache)


def check_releases(wanted: Promotion, signer: Signer) -> list[tuple[Facts, Path]]:
    """Return the releases and their directories, each verified. Raises BuildError, UsageError."""
    releases = [
        (release, place) for place in wanted.places for release in _check_place(wanted, place, signer)
    ]
    described = [release for release, _ in releases]
    # a damaged list at the destination is said now, not after the ref has moved
    wanted.pointers.listed(but=[release.compose_id for release in described])
    _check_composes(described)
    for release in described:
        _check_place_there(wanted, release)
    _check_arches(wanted, described)
    return releases


def _check_place_there(wanted: Promotion, release: Facts) -> None:
    """Raise BuildError when the destination has something else under the release's name: machines that share
    no directory of releases give the same numbers. What is damaged there is sent again.
    """
    read = wanted.there(release.compose_id)
    hint = "make it again with a --respin that neither has"
    other = read(facts.FILE) is not None if release.joint else bool(arches_in(read))
    if other:
        alone = "one architecture alone" if release.joint else "several architectures"
        raise BuildError(f"{release.compose_id} is at the destination, for {alone}", hint=hint)
    data = read(release.layout.facts)
    try:
        there = facts.parse(data, what=release.layout.facts) if data is not None else None
    except BuildError:
        return
    if there is not None and (there.gate, there.tree.commit) != (release.gate, release.tree.commit):
        raise BuildError(
            f"{release.compose_id} is at the destination, with another {release.arch}: commit"
            f" {there.tree.commit}, version {there.tree.version}",
            hint=hint,
        )


def others_there(wanted: Promotion, releases: Sequence[Facts]) -> list[Part]:
    """Return the parts that composes at the destination have of other architectures than are promoted, as
    they were signed. Raises BuildError.
    """
    found: list[Part] = []
    for compose_id in dict.fromkeys(release.compose_id for release in releases if release.joint):
        read = wanted.there(compose_id)
        mine = {release.arch for release in releases if release.compose_id == compose_id}
        # one that another promotion has just sent need not be in what is of all yet: its list comes last
        sent = [
            arch
            for arch in wanted.config.publish.arches
            if arch not in mine and read(manifest_of(compose_id, arch)) is not None
        ]
        arches = [arch for arch in dict.fromkeys((*arches_in(read), *sent)) if arch not in mine]
        # what is of all has one signature: that of each of its parts
        found += read_parts(read, compose_id, wanted.keys, arches)
    return found


def _check_composes(releases: Sequence[Facts]) -> None:
    """Several architectures may be one compose if they were made for that."""
    for compose_id in {release.compose_id for release in releases}:
        same = [release for release in releases if release.compose_id == compose_id]
        arches = [release.arch for release in same]
        if len(set(arches)) < len(arches):
            raise UsageError(f"an architecture is given twice: {', '.join(arches)}")
        if len(same) > 1 and not all(release.joint for release in same):
            raise UsageError(
                "two architectures have the same compose id: one would be written over the other",
                hint="name both in publish.arches of the configuration, and release them again; or give them"
                " different respin numbers",
            )


def _check_place(wanted: Promotion, place: Path, signer: Signer) -> list[Facts]:
    problems = _problems(place, wanted)
    if problems:
        raise BuildError(
            f"{place} is not whole: {'; '.join(problems)}",
            hint="a release is promoted as it was signed, or not at all",
        )
    return [_check_release(wanted, release, place, signer) for release in facts.read_all(place)]


def _check_release(wanted: Promotion, release: Facts, place: Path, signer: Signer) -> Facts:
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
    commit = (place / release.layout.metadata / "ostree" / f"{release.tree.commit}.commit").read_bytes()
    binding.check(wanted.line_of(release), release.ref, release.tree.commit, commit)
    return release


def _check_fitness(wanted: Promotion, release: Facts, place: Path) -> None:
    cells = verdict.read(place / f"{release.layout.reports}{verdict.FILE}")
    downloads = {download.path.rpartition("/")[2]: download for download in release.downloads}
    unfit = unfit_downloads(
        cells, wanted.line_of(release), downloads, atomic=_needs_atomic(wanted, release), older=release.older
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
    lines = (wanted.config, *wanted.lines)
    trust = Trust(
        keys=wanted.keys,
        commit_keys=tuple(dict.fromkeys(Path(key) for line in lines for key in line.tree.gpg_keys))
        or wanted.keys,
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


def _check_arches(wanted: Promotion, releases: Sequence[Facts]) -> None:
    composes = sorted({release.compose_id for release in releases if release.joint})
    if len(composes) > 1:
        raise UsageError(
            f"{', '.join(composes)}: the architectures are parts of several composes",
            hint="release them again with one --date and --respin, and promote that",
        )
    arches = [release.arch for release in releases]
    there = [part.facts for part in others_there(wanted, releases)]
    needed = set(wanted.config.publish.arches) - set(wanted.later)
    missing = sorted(needed - {*arches, *(known.arch for known in there)})
    if missing:
        raise BuildError(
            f"{', '.join(missing)} is missing: all of {', '.join(wanted.config.publish.arches)} are promoted"
            " together",
            hint="give the directory of each; or --later ARCH for one that joins the compose later",
        )
    if len(set(arches)) != len(arches):
        raise UsageError(f"an architecture is given twice: {', '.join(arches)}")
    check_versions([*releases, *there])
    for release in releases:
        line = wanted.line_of(release)
        if (release.product, release.release) != (line.product, line.release):
            raise UsageError(
                f"this configuration is for {line.product} {line.release}",
                hint="give the --config of the release's own line",
            )
