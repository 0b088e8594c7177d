"""Promotion: a release goes out, in an order that is right wherever it is interrupted.

    1  everything is uploaded, and read back
    2  the commit is in the stable repository, with static deltas for those who come from the release before
    3  the ref moves (if it is still where it was), then the summary is written and signed
    4  index, feed and "latest" follow

Until step 3 no client sees anything; from then on what they see is whole. Each step does nothing when it was
done before, so the same command goes on where it was interrupted. (2018's script moved the ref before the
media were on the mirror; releng, push-two-week-atomic.py.)
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from imagebuild import files
from imagebuild.destinations.local import Directory
from imagebuild.errors import BuildError
from imagebuild.publish import facts, index, marks, stable
from imagebuild.publish.admission import Promotion, check_marks, check_releases, others_there
from imagebuild.publish.facts import Facts
from imagebuild.publish.joint import Part, common_files, read_in, read_parts
from imagebuild.publish.numbers import at_work
from imagebuild.publish.pointers import Step
from imagebuild.tools import temporary
from imagebuild.tools.checksum import HashedFile, hashed
from imagebuild.tools.gpg import Signer
from imagebuild.tools.ostree.repository import Repo

# beside the releases of a machine: which were promoted, or nearly, whatever became of them
PROMOTED = ".promoted"
BEGUN, DONE = "begun", "done"
# how often what is of all architectures is made anew because another promotion has added one
TRIES = 5
# facts of a release, and its directory
Released = tuple[Facts, Path]


def promote(wanted: Promotion, signer: Signer, *, step: Step = lambda _: None) -> list[str]:
    """Promote; return what was done, a sentence each. `step` is told what comes next.

    Raises BuildError: something is missing, wrong, not fit, marked bad, or the ref moved meanwhile.
    """
    step("check")
    releases = check_releases(wanted, signer)
    repo = stable.open_stable(wanted.config)
    with stable.lock(repo):
        for release, _ in releases:
            stable.check_ref(repo, wanted.line_of(release), release)
            stable.check_source(repo, wanted, release)
        said = [
            *_upload(wanted, releases, signer, step),
            *_fill_repository(repo, wanted, releases, step),
            *_move_refs(repo, wanted, releases, step),
        ]
        step("summary")
        repo.update_summary(key=signer.fingerprint, homedir=signer.homedir)
        step("index")
        _point_at(wanted, releases, step)
        for place in dict.fromkeys(place for _, place in releases):
            _record(place, DONE)
    return [*said, f"the latest is {releases[0][0].compose_id}"]


def _upload(wanted: Promotion, releases: Sequence[Released], signer: Signer, step: Step) -> list[str]:
    said = []
    for compose_id in dict.fromkeys(release.compose_id for release, _ in releases):
        mine = [(release, place) for release, place in releases if release.compose_id == compose_id]
        places = list(dict.fromkeys(place for _, place in mine))
        for place in places:
            _record(place, BEGUN)
        step(f"upload {compose_id}")
        count, sent = _send_all(wanted, mine, signer)
        said.append(f"{compose_id}: {count} files are there and read back, {sent} of them sent now")
    return said


def _send_all(wanted: Promotion, releases: Sequence[Released], signer: Signer) -> tuple[int, int]:
    """Send what was checked of a compose; return how many files there are, and how many were sent.

    Another promotion may send another architecture meanwhile: whoever is last makes what is of all of them.
    """
    compose_id, place = releases[0][0].compose_id, releases[0][1]
    mine, sent = [release for release, _ in releases], 0
    for _ in range(TRIES):
        others = others_there(wanted, mine)
        alone = all(other == place for _, other in releases) and not others
        # builds may add another architecture to the directory now
        with at_work(place.parent) if alone else contextlib.nullcontext():
            whole = alone and {known.arch for known in facts.read_all(place)} == {one.arch for one in mine}
            entries = _hashed(place, _in_order(place)) if whole else {}
        if whole:
            count, now = len(entries), wanted.destination.upload(place, compose_id, entries)
        else:
            count, now = _send_joint(wanted, releases, others, signer)
        sent += now
        if {part.facts.arch for part in others_there(wanted, mine)} == {part.facts.arch for part in others}:
            return count, sent
    raise BuildError(
        f"{compose_id}: other promotions send other architectures of it all the time",
        hint="run the same command again when they are through",
    )


def _hashed(place: Path, paths: Sequence[str]) -> dict[str, HashedFile]:
    return {path: hashed(place / path, path) for path in paths}


def _send_joint(
    wanted: Promotion, releases: Sequence[Released], others: Sequence[Part], signer: Signer
) -> tuple[int, int]:
    """Send the parts of a compose, which lie in several places or are there in part; then what is of all of
    them, made anew, with its signed list last. Returns how many files there are, and how many were sent.
    """
    compose_id = releases[0][0].compose_id
    parts, counted, sent = list(others), 0, 0
    for release, place in releases:
        part, *_ = read_parts(read_in(place), compose_id, wanted.pointers.keys, [release.arch])
        parts.append(part)
        checked = {part.manifest.name, *part.listed}
        entries = _hashed(place, [path for path in _in_order(place) if path in checked])
        counted += len(entries)
        sent += wanted.destination.upload(place, compose_id, entries)
    with temporary.directory("compose") as work:
        for path, data in common_files(parts, wanted.config, signer).items():
            (work / path).parent.mkdir(exist_ok=True)
            (work / path).write_bytes(data)
        entries = _hashed(work, _in_order(work))
        sent += wanted.destination.upload(work, compose_id, entries)
    return counted + len(entries), sent


def _fill_repository(repo: Repo, wanted: Promotion, releases: Sequence[Released], step: Step) -> list[str]:
    """Bring the commits, and make deltas for hosts that come from others."""
    said = []
    for release, _ in releases:
        step(f"pull {release.ref}")
        stable.bring(repo, wanted, release)
        for base in stable.delta_bases(repo, wanted.line_of(release), release):
            step(f"delta {base[:12]}")
            if stable.bring_delta(repo, wanted, base, release.tree.commit):
                said.append(f"static delta {base[:12]} -> {release.tree.commit[:12]}")
    return said


def _move_refs(repo: Repo, wanted: Promotion, releases: Sequence[Released], step: Step) -> list[str]:
    said = []
    for release, place in releases:
        step(f"ref {release.ref}")
        line = wanted.line_of(release)
        ref = stable.stable_ref(line, release.ref)
        # an upload may take hours
        stable.check_ref(repo, line, release)
        check_marks(wanted, release, place)
        if repo.refs().get(ref) != release.tree.commit:
            repo.set_ref(ref, release.tree.commit)
            said.append(f"{ref} is {release.tree.commit}")
    return said


def _point_at(wanted: Promotion, releases: Sequence[Released], step: Step) -> None:
    with wanted.pointers.locked():
        for release, place in releases:
            check_marks(wanted, release, place)
        mine = [release for release, _ in releases]
        beside = [part.facts for part in others_there(wanted, mine)]
        listed = wanted.pointers.listed(but={release.compose_id for release in mine})
        wanted.pointers.write([*listed, *beside, *mine], step)


def _in_order(place: Path) -> list[str]:
    """Return the files of a release; the lists come last: half a release has none."""
    paths = [str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()]
    lists = [path for path in paths if path.endswith("-CHECKSUM")]
    # a list that has lists is at the top, and that of a compose of several is shorter than those of each
    lists.sort(key=lambda path: (-path.count("/"), -len(path), path))
    return [*sorted(set(paths) - set(lists)), *lists]


def demote(wanted: Promotion, place: Path, mark: str) -> None:
    """Mark a release bad, by name and by commit, here and where it is published; then nothing calls it the
    latest any more.

    A promotion that is under way sees the mark before it moves the ref. Hosts that have it are told by the
    mark, not by the ref: going back is their own `rollback`.
    """
    known, local = facts.read_all(place), Directory(place.parent)
    for where in (local, wanted.destination):
        for word in (known[0].compose_id, *(each.tree.commit for each in known)):
            where.write(marks.name_of(word), mark.encode())
    index.write_index(local.place, wanted.config)
    with wanted.pointers.locked():
        wanted.pointers.write(wanted.pointers.listed(but=[known[0].compose_id]))


def _record(place: Path, state: str) -> None:
    """Record how far a release has come: whatever becomes of it, it is not pruned. Raises BuildError when it
    was, meanwhile.
    """
    with at_work(place.parent):
        if not place.is_dir():
            raise BuildError(
                f"{place} is no longer there",
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
