"""Promotion: a release goes out, in an order that is right wherever it is interrupted.

    1  everything is uploaded, and read back
    2  the commit is in the stable repository, with static deltas for those who come from the release before
    3  the ref moves (if it is still where it was), then the summary is written and signed
    4  index, feed and "latest" follow

Until step 3 no client sees anything; from then on what they see is whole. Each step does nothing when it was
done before, so the same command goes on where it was interrupted. (2018's script moved the ref before the
media were on the mirror; releng, push-two-week-atomic.py.)
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from imagebuild import files
from imagebuild.destinations import source
from imagebuild.destinations.access import Destination, Directory
from imagebuild.errors import BuildError, UsageError
from imagebuild.publish import binding, facts, marks, page
from imagebuild.publish.assemble import by_atomic_too, check_fit
from imagebuild.publish.facts import Facts
from imagebuild.publish.numbers import at_work
from imagebuild.publish.pointers import Pointers, Step
from imagebuild.publish.verify import Trust, describe, verify
from imagebuild.release_line.model import Config
from imagebuild.smoke import verdict
from imagebuild.tools.checksum import hashed
from imagebuild.tools.gpg import Signer
from imagebuild.tools.ostree import history
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo

# beside the releases of a host: which were promoted, or nearly, whatever became of them
PROMOTED = ".promoted"
BEGUN, DONE = "begun", "done"


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


def promote(wanted: Promotion, signer: Signer, *, step: Step = lambda _: None) -> list[str]:
    """Promote; return what was done, a sentence each. `step` is told what comes next.

    Raises BuildError: something is missing, wrong, not fit, marked bad, or the ref moved meanwhile.
    """
    step("check")
    releases = _checked(wanted, signer)
    stable = _stable(wanted.config)
    said = []
    with _locked(stable):
        for known, _ in releases:
            _check_ref(stable, wanted.config, known)
        for known, place in releases:
            _record(place, BEGUN)
            step(f"upload {known.compose_id}")
            entries = {path: hashed(place / path, path) for path in _in_order(place)}
            sent = wanted.destination.upload(place, known.compose_id, entries)
            said.append(
                f"{known.compose_id}: {len(entries)} files are there and read back, {sent} of them sent now"
            )
        for known, _ in releases:
            step(f"pull {known.ref}")
            _bring(stable, wanted, known)
            for old in _from(stable, wanted.config, known):
                step(f"delta {old[:12]}")
                if stable.make_delta(old, known.tree.commit):
                    said.append(f"static delta {old[:12]} -> {known.tree.commit[:12]}")
        for known, place in releases:
            step(f"ref {known.ref}")
            ref = stable_ref(wanted.config, known.ref)
            # an upload may take hours
            _check_ref(stable, wanted.config, known)
            _check_marks(wanted, known, place)
            if stable.refs().get(ref) != known.tree.commit:
                stable.set_ref(ref, known.tree.commit)
                said.append(f"{ref} is {known.tree.commit}")
        step("summary")
        stable.update_summary(key=signer.fingerprint, homedir=signer.homedir)
        step("index")
        with wanted.pointers.locked():
            for known, place in releases:
                _check_marks(wanted, known, place)
            mine = {known.compose_id: known for known, _ in releases}
            wanted.pointers.write([*wanted.pointers.listed(but=mine), *mine.values()], step)
        for _, place in releases:
            _record(place, DONE)
    said.append(f"the latest is {releases[0][0].compose_id}")
    return said


# --- before anything is done --------------------------------------------------------------------------------


def _checked(wanted: Promotion, signer: Signer) -> list[tuple[Facts, Path]]:
    """Return the releases, each verified. Raises BuildError, UsageError."""
    releases = []
    for place in wanted.places:
        known = facts.read(place)
        problems = _problems(place, wanted)
        if problems:
            raise BuildError(
                f"{place} is not whole: {'; '.join(problems)}",
                hint="a release is promoted as it was signed, or not at all",
            )
        if known.signer != signer.fingerprint:
            raise BuildError(
                f"{place} was signed by {known.signer}, the configured key is {signer.fingerprint}"
            )
        if known.nightly:
            raise BuildError(
                f"{known.compose_id} is a nightly: those are never promoted",
                hint="imagebuild all makes a release of the same commit",
            )
        cells = verdict.read(place / verdict.FILE)
        downloads = {each.path.rpartition("/")[2]: each for each in known.downloads}
        unfit = check_fit(cells, wanted.config, downloads, atomic=_by_atomic_too(wanted, known))
        if unfit:
            raise BuildError(
                f"{known.compose_id} is not fit: {'; '.join(unfit)}",
                hint="imagebuild all tests what is missing",
            )
        _check_marks(wanted, known, place)
        # verified with the rest of the release
        commit = (place / "metadata" / "ostree" / f"{known.tree.commit}.commit").read_bytes()
        binding.check(wanted.config, known.ref, known.tree.commit, commit)
        releases.append((known, place))
    # a damaged list at the destination is said now, not after the ref has moved
    wanted.pointers.listed(but=[known.compose_id for known, _ in releases])
    _check_arches(wanted.config, [known for known, _ in releases])
    if len({known.compose_id for known, _ in releases}) != len(releases):
        raise UsageError(
            "two architectures have the same compose id: one would be written over the other",
            hint="give them different respin numbers",
        )
    return releases


def _check_marks(wanted: Promotion, known: Facts, place: Path) -> None:
    bad = marks.marks_of(known, (Directory(place.parent), wanted.destination), wanted.pointers.keys)
    if bad:
        raise BuildError(
            f"{known.compose_id} is marked bad:"
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
    found = verify(source.DirectorySource(place), trust)
    return list(describe(found)[: len(found.problems)])


def _check_arches(config: Config, releases: Sequence[Facts]) -> None:
    arches = [known.arch for known in releases]
    missing = sorted(set(config.publish.arches) - set(arches))
    if missing:
        raise BuildError(
            f"{', '.join(missing)} is missing: all of {', '.join(config.publish.arches)} are promoted"
            " together",
            hint="give the directory of each",
        )
    if len(set(arches)) != len(arches):
        raise UsageError(f"an architecture is given twice: {', '.join(arches)}")
    versions = {known.arch: known.tree.version for known in releases}
    if len(set(versions.values())) != 1:
        raise BuildError(
            "the architectures disagree on the version:"
            f" {', '.join(f'{arch} {version}' for arch, version in versions.items())}"
        )
    if any(known.product != config.product or known.release != config.release for known in releases):
        raise UsageError(
            f"this configuration is of {config.product} {config.release}",
            hint="give the --config of the release's own line",
        )


# --- the stable repository ----------------------------------------------------------------------------------


def stable_ref(config: Config, ref: str) -> str:
    """Return the ref that hosts follow, and that promotion moves."""
    return config.stable_ref(ref)


def _by_atomic_too(wanted: Promotion, known: Facts) -> bool:
    """Whether the released tree has `atomic`; of one that the source does not have any more the release
    itself was asked.
    """
    source = Repo(wanted.source)
    return source.has(known.tree.commit) and by_atomic_too(source, known.tree.commit, known.host_kind)


def last_commit(config: Config, output: Path, ref: str, *, but: str) -> str | None:
    """Return the commit that hosts upgrade from to `but`: where the stable ref is; None for the first
    release.

    When it is there already, or nothing was promoted yet: what the release of `but` says; for a commit that
    was not released yet, that of the last release that is not marked bad (of a nightly only when there is no
    other).
    """
    place = files.path_of(config.publish.repo) if config.publish.repo is not None else None
    now = (
        Repo(place).refs().get(stable_ref(config, ref))
        if place is not None and (place / "config").is_file()
        else None
    )
    if now not in (None, but):
        return now
    known = facts.history(output, ref)
    mine = [each.previous for each in known if each.tree.commit == but]
    if mine:
        return mine[-1].commit if mine[-1] is not None else None
    good = sorted(marks.unmarked(output, known), key=lambda each: not each.nightly)
    return good[-1].tree.commit if good else None


def _stable(config: Config) -> Repo:
    if config.publish.repo is None:
        raise BuildError(
            "there is no stable repository",
            hint="name it in the configuration: publish: {repo: file:///PATH}",
        )
    return Repo.ensure(files.path_of(config.publish.repo))


def _locked(stable: Repo) -> AbstractContextManager[None]:
    """One promotion at a time: a second one is refused, not queued."""
    return files.locked(
        stable.path / ".imagebuild-promotion", busy=f"another promotion is at work in {stable.path}"
    )


def _check_ref(stable: Repo, config: Config, known: Facts) -> None:
    """Refuse when the ref is neither where the release was compared with, nor where it goes."""
    ref = stable_ref(config, known.ref)
    now = stable.refs().get(ref)
    before = known.previous.commit if known.previous is not None else None
    if now not in (before, known.tree.commit, None):
        raise BuildError(
            f"{ref} is at {now}, but {known.compose_id} was made for hosts that come from"
            f" {before or 'nothing'}: it moved meanwhile",
            hint=(
                "build and test again: imagebuild all, with `previous:` or the output directory of that"
                " release"
            ),
        )


def _bring(stable: Repo, wanted: Promotion, known: Facts) -> None:
    if not stable.has(known.tree.commit):
        keys = tuple(Path(key) for key in wanted.config.tree.gpg_keys)
        stable.pull(
            Remote(url=files.url(wanted.source), keys=keys, verify=not wanted.config.tree.allow_unsigned),
            known.tree.commit,
        )
    before = known.previous
    if before is not None and not stable.has(before.commit) and Repo(wanted.source).has(before.commit):
        stable.pull(Remote(url=files.url(wanted.source), keys=(), verify=False), before.commit)
    if before is not None:
        _bring_history(stable, wanted, known.tree.commit, before.commit)


def _bring_history(stable: Repo, wanted: Promotion, commit: str, before: str) -> None:
    """Bring the commit objects between two releases: hosts find the older one by walking from parent to
    parent.
    """
    source = Repo(wanted.source)
    between, end = history.between(history.parents(source), commit, before)
    for each in between if not end else ():
        if not stable.has_commit_object(each):
            stable.pull(Remote(url=files.url(wanted.source), keys=(), verify=False, commits_only=True), each)


def _from(stable: Repo, config: Config, known: Facts) -> list[str]:
    """Return the commits from which hosts get a delta: of the release before, and the last of the release
    line before.
    """
    before = known.previous.commit if known.previous is not None else None
    major = (
        stable.refs().get(config.publish.previous_major)
        if config.publish.previous_major is not None
        else None
    )
    return [
        commit
        for commit in dict.fromkeys((before, major))
        if commit is not None and commit != known.tree.commit and stable.has(commit)
    ]


def _in_order(place: Path) -> list[str]:
    """Return the files of a release; the lists come last, so that half a release is none."""
    paths = [str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()]
    return sorted(
        paths,
        key=lambda path: (path.endswith("-CHECKSUM"), path.endswith("-CHECKSUM") and "/" not in path, path),
    )


def demote(wanted: Promotion, place: Path, mark: str) -> None:
    """Mark a release bad, by name and by commit, here and where it is published; then nothing calls it the
    latest any more.

    A promotion that is under way sees the mark before it moves the ref. Hosts that have it are told by the
    mark, not by the ref: going back is their own `rollback`.
    """
    known, local = facts.read(place), Directory(place.parent)
    for where in (local, wanted.destination):
        for word in (known.compose_id, known.tree.commit):
            where.write(marks.name_of(word), mark.encode())
    page.write_index(local.place, wanted.config)
    with wanted.pointers.locked():
        wanted.pointers.write(wanted.pointers.listed(but=[known.compose_id]))


# --- what went out ------------------------------------------------------------------------------------------


def _record(place: Path, state: str) -> None:
    """Record how far a release has come: whatever becomes of it, it is not pruned. Raises BuildError when it
    was, meanwhile.
    """
    with at_work(place.parent):
        if not place.is_dir():
            raise BuildError(
                f"{place} is not there any more",
                hint="was it pruned meanwhile? imagebuild all makes it again",
            )
        files.replace(place.parent / PROMOTED / place.name, f"{state}\n")


def promoted(output: Path) -> dict[str, bool]:
    """Return the names of the releases whose promotion from a directory had begun, and whether it was
    finished.
    """
    return (
        {file.name: file.read_text() == f"{DONE}\n" for file in (output / PROMOTED).iterdir()}
        if (output / PROMOTED).is_dir()
        else {}
    )
