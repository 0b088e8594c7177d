"""Promotion: a release goes out, in an order that is right wherever it is interrupted.

    1  everything is uploaded, and read back
    2  the commit is in the stable repository, with static deltas for those who come from the release before
    3  the ref moves (if it is still where it was), then the summary is written and signed
    4  index, feed and "latest" follow

Until step 3 no client sees anything; from then on what they see is whole. Each step does nothing when it was done before, so the
same command goes on where it was interrupted. (2018's script moved the ref before the media were on the mirror; domain.md 5.4.)
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from imagebuild import files
from imagebuild.config import Config
from imagebuild.errors import BuildError, UsageError
from imagebuild.model import Cell
from imagebuild.publish import facts, marks, page, source
from imagebuild.publish.assemble import check_fit
from imagebuild.publish.checksum import check_name, entries_of, hashed
from imagebuild.publish.destination import Destination, Directory
from imagebuild.publish.facts import Facts
from imagebuild.publish.verify import Trust, describe, verify
from imagebuild.tools import gpg
from imagebuild.tools.gpg import Signer
from imagebuild.tools.ostree import Remote, Repo

RELEASES = "releases.json"
# beside the releases of a host: which were promoted, whatever became of them
PROMOTED = ".promoted"
Step = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What is promoted, one directory for each architecture, where to, from which repository, with whose signature.

    `previous_major` is the ref of the release line before: its hosts get a delta too.
    """

    config: Config
    places: tuple[Path, ...]
    destination: Destination
    source: Path
    keys: tuple[Path, ...]
    cache: Path

    @property
    def all_keys(self) -> list[Path]:
        """Today's keys, and those that older releases were signed with."""
        return [*self.keys, *self.config.publish.former()]


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
            # whatever becomes of it: it went out, and stays
            files.replace(place.parent / PROMOTED / known.compose_id, "")
            step(f"upload {known.compose_id}")
            entries = {path: hashed(place / path, path) for path in _in_order(place)}
            sent = wanted.destination.upload(place, known.compose_id, entries)
            said.append(f"{known.compose_id}: {len(entries)} files are there and read back, {sent} of them sent now")
        for known, _ in releases:
            step(f"pull {known.ref}")
            _bring(stable, wanted, known)
            for old in _from(stable, wanted.config, known):
                step(f"delta {old[:12]}")
                if stable.make_delta(old, known.tree.commit):
                    said.append(f"static delta {old[:12]} -> {known.tree.commit[:12]}")
        for known, _ in releases:
            step(f"ref {known.ref}")
            ref = stable_ref(wanted.config, known.ref)
            _check_ref(stable, wanted.config, known)
            if stable.refs().get(ref) != known.tree.commit:
                stable.set_ref(ref, known.tree.commit)
                said.append(f"{ref} is {known.tree.commit}")
        step("summary")
        stable.update_summary(key=signer.fingerprint, homedir=signer.homedir)
        step("index")
        with _pointing(wanted.destination, wanted.cache):
            _point(wanted, [known for known, _ in releases], step)
    said.append(f"the latest is {releases[0][0].compose_id}")
    return said


# --- before anything is done ------------------------------------------------------------------------------------------


def _checked(wanted: Promotion, signer: Signer) -> list[tuple[Facts, Path]]:
    """Return the releases, each verified. Raises BuildError, UsageError."""
    releases = []
    for place in wanted.places:
        known = facts.read(place)
        problems = _problems(place, wanted)
        if problems:
            raise BuildError(f"{place} is not whole: {'; '.join(problems)}", hint="a release is promoted as it was signed, or not at all")
        if known.signer != signer.fingerprint:
            raise BuildError(f"{place} was signed by {known.signer}, the configured key is {signer.fingerprint}")
        if known.nightly:
            raise BuildError(
                f"{known.compose_id} is a nightly: those are never promoted", hint="imagebuild all makes a release of the same commit"
            )
        rows = [
            {key: value for key, value in row.items() if key != "evidence"} | {"evidence": ""}
            for row in json.loads((place / "verdict.json").read_text())
        ]
        cells = TypeAdapter(list[Cell]).validate_python(rows)
        unfit = check_fit(cells, wanted.config, {each.path.rpartition("/")[2]: each for each in known.downloads})
        if unfit:
            raise BuildError(f"{known.compose_id} is not fit: {'; '.join(unfit)}")
        bad = marks.marks_of(known, (Directory(place.parent), wanted.destination), wanted.keys)
        if bad:
            raise BuildError(
                f"{known.compose_id} is marked bad: {bad[0].reason}{'' if bad[0].signed else ' (the mark is not signed)'}",
                hint="take the next compose",
            )
        releases.append((known, place))
    # a damaged list at the destination is said now, not after the ref has moved
    listed(wanted.destination, wanted.all_keys)
    _check_arches(wanted.config, [known for known, _ in releases])
    if len({known.compose_id for known, _ in releases}) != len(releases):
        raise UsageError(
            "two architectures have the same compose id: one would be written over the other", hint="give them different respin numbers"
        )
    return releases


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
            f"{', '.join(missing)} is missing: all of {', '.join(config.publish.arches)} are promoted together",
            hint="give the directory of each",
        )
    if len(set(arches)) != len(arches):
        raise UsageError(f"an architecture is given twice: {', '.join(arches)}")
    versions = {known.arch: known.tree.version for known in releases}
    if len(set(versions.values())) != 1:
        raise BuildError(
            f"the architectures disagree on the version: {', '.join(f'{arch} {version}' for arch, version in versions.items())}"
        )
    if any(known.product != config.product or known.release != config.release for known in releases):
        raise UsageError(f"this configuration is of {config.product} {config.release}", hint="give the --config of the release's own line")


# --- the stable repository --------------------------------------------------------------------------------------------


def stable_ref(config: Config, ref: str) -> str:
    """Return the ref that hosts follow: Fedora's nightly refs have `updates` before the last word (domain.md 5.4)."""
    return config.publish.ref or "/".join(word for word in ref.split("/") if word != "updates")


def last_commit(config: Config, output: Path, ref: str, *, but: str) -> str | None:
    """Return the commit that hosts upgrade from to `but`: where the stable ref is; None for the first release.

    When it is there already, or nothing was promoted yet: what the release of `but` says; for a commit that was not released yet, that of
    the last release that is not marked bad (of a nightly only when there is no other).
    """
    place = Path(config.publish.repo.removeprefix("file://")) if config.publish.repo is not None else None
    now = Repo(place).refs().get(stable_ref(config, ref)) if place is not None and (place / "config").is_file() else None
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
        raise BuildError("there is no stable repository", hint="name it in the configuration: publish: {repo: file:///PATH}")
    return Repo.ensure(Path(config.publish.repo.removeprefix("file://")))


def _locked(stable: Repo) -> AbstractContextManager[None]:
    """One promotion at a time: a second one is refused, not queued."""
    return files.locked(stable.path / ".imagebuild-promotion", busy=f"another promotion is at work in {stable.path}")


def _pointing(destination: Destination, cache: Path) -> AbstractContextManager[None]:
    """One at a time changes what points at releases: other lines may have the same destination. (Of this host: give a destination one.)"""
    name = hashlib.sha256(destination.address.encode()).hexdigest()[:16]
    return files.locked(cache / "locks" / f"destination-{name}", busy="", wait=True)


def _check_ref(stable: Repo, config: Config, known: Facts) -> None:
    """Refuse when the ref is neither where the release was compared with, nor where it goes."""
    ref = stable_ref(config, known.ref)
    now = stable.refs().get(ref)
    before = known.previous.commit if known.previous is not None else None
    if now not in (before, known.tree.commit, None):
        raise BuildError(
            f"{ref} is at {now}, but {known.compose_id} was made for hosts that come from {before or 'nothing'}: it moved meanwhile",
            hint="build and test again: imagebuild all, with `previous:` or the output directory of that release",
        )


def _bring(stable: Repo, wanted: Promotion, known: Facts) -> None:
    if not stable.has(known.tree.commit):
        keys = tuple(Path(key) for key in wanted.config.tree.gpg_keys)
        stable.pull(Remote(url=f"file://{wanted.source}", keys=keys, verify=not wanted.config.tree.allow_unsigned), known.tree.commit)
    before = known.previous
    if before is not None and not stable.has(before.commit) and Repo(wanted.source).has(before.commit):
        stable.pull(Remote(url=f"file://{wanted.source}", keys=(), verify=False), before.commit)


def _from(stable: Repo, config: Config, known: Facts) -> list[str]:
    """Return the commits from which hosts get a delta: of the release before, and the last of the release line before."""
    before = known.previous.commit if known.previous is not None else None
    major = stable.refs().get(config.publish.previous_major) if config.publish.previous_major is not None else None
    return [
        commit for commit in dict.fromkeys((before, major)) if commit is not None and commit != known.tree.commit and stable.has(commit)
    ]


# --- what points at releases ------------------------------------------------------------------------------------------


def _in_order(place: Path) -> list[str]:
    """Return the files of a release; the lists come last, so that half a release is none."""
    paths = [str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()]
    return sorted(paths, key=lambda path: (path.endswith("-CHECKSUM"), path.endswith("-CHECKSUM") and "/" not in path, path))


def listed(destination: Destination, keys: Sequence[Path]) -> list[Facts]:
    """Return the releases that a destination points at, each as it was signed. Raises BuildError when the list or one of them was damaged."""
    data = destination.read(RELEASES)
    try:
        names = json.loads(data) if data is not None else []
    except ValueError as error:
        raise BuildError(f"{RELEASES} of the destination is not JSON", hint="remove it, or write the names of releases into it") from error
    if not isinstance(names, list) or not all(isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names):
        raise BuildError(f"{RELEASES} of the destination is no list of releases", hint="remove it, or write the names of releases into it")
    return [_published(destination, name, keys) for name in names]


def _published(destination: Destination, name: str, keys: Sequence[Path]) -> Facts:
    """Return what a published release says of itself, held against its signed list."""
    check_name(name)
    what, hint = f"{name}/{facts.FILE}", f"promote that release again, or take it out of {RELEASES}"
    data = destination.read(what)
    if data is None:
        raise BuildError(f"{what} is not at the destination, whose {RELEASES} has it", hint=hint)
    known = facts.parse(data, what=what)
    if known.compose_id != name:
        raise BuildError(f"{what} of the destination describes {known.compose_id!r}", hint=hint)
    manifest = f"{name}/{name}-{known.arch}-CHECKSUM"
    entries = entries_of(gpg.signed_payload(destination.read(manifest) or b"", keys, what=manifest), what=manifest)
    entry = entries.get(facts.FILE)
    if entry is None or entry.sha256 != hashlib.sha256(data).hexdigest():
        raise BuildError(f"{what} of the destination is not what was signed", hint=hint)
    return known


def _point(wanted: Promotion, new: Sequence[Facts], step: Step) -> None:
    known: Mapping[str, Facts] = {each.compose_id: each for each in (*listed(wanted.destination, wanted.all_keys), *new)}
    write_pointers(wanted.destination, wanted.config, list(known.values()), step)


def write_pointers(destination: Destination, config: Config, releases: Sequence[Facts], step: Step = lambda _: None) -> None:
    """Write list, index and feed, then which one is the latest; each points only at what is whole."""
    names = sorted(each.compose_id for each in releases)
    texts = {RELEASES: json.dumps(names, indent=1) + "\n"} | page.index_files(config, releases)
    for name in sorted(texts, key=lambda each: each == page.LATEST):
        step(f"write {name}")
        data = texts[name].encode()
        if destination.read(name) != data:
            destination.write(name, data)


def demote(wanted: Promotion, mark: str) -> None:
    """Mark releases bad, by name and by commit, here and where they are published; then nothing calls them the latest any more.

    Hosts that have one are told by the mark, not by the ref: going back is their own `rollback`.
    """
    for place in wanted.places:
        known, local = facts.read(place), Directory(place.absolute().parent)
        for where in (local, wanted.destination):
            for word in (known.compose_id, known.tree.commit):
                where.write(marks.name_of(word), mark.encode())
        page.write_index(local.place, wanted.config)
        with _pointing(wanted.destination, wanted.cache):
            left = [each for each in listed(wanted.destination, wanted.all_keys) if each.compose_id != known.compose_id]
            write_pointers(wanted.destination, wanted.config, left)


def promoted(output: Path) -> list[str]:
    """Return the names of the releases that were promoted from a directory, or whose promotion had begun."""
    return [file.name for file in (output / PROMOTED).iterdir()] if (output / PROMOTED).is_dir() else []
