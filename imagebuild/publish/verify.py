"""Is a published release what was signed? Anyone with the public key can ask; nothing that is fetched is
believed before it was checked.

In this order: the signed list of the compose, the signed lists of its directories, every file they name,
metadata and page, the signed commit, and the commit inside of every image.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from imagebuild.destinations.source import AbsentError, ReleaseSource, read
from imagebuild.errors import BuildError
from imagebuild.publish import facts, metadata
from imagebuild.publish.description_check import check_commit, check_description
from imagebuild.publish.facts import Facts
from imagebuild.publish.findings import ProblemKind, Verification
from imagebuild.publish.layout import COMPOSEINFO, Layout, manifest_of
from imagebuild.publish.opened import check_images
from imagebuild.tools import gpg, temporary
from imagebuild.tools.checksum import HashedFile, entries_of
from imagebuild.tools.gpg import SignatureError

ARCH = r"[a-z0-9_]+"


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whom to believe: keys of releases, keys of commits, and whether images are opened (`cache`: directory
    of the appliance and of what is known of this machine).
    """

    keys: tuple[Path, ...]
    commit_keys: tuple[Path, ...]
    open_images: bool
    cache: Path


def verify(source: ReleaseSource, trust: Trust) -> Verification:
    """Verify a release. Problems are returned, not raised."""
    result = Verification()
    with temporary.directory("verify") as work:
        try:
            _verify(source, trust, result, work)
        except SignatureError as error:
            result.add(ProblemKind.SIGNATURE, "", error.message)
        except AbsentError as error:
            result.add(ProblemKind.MISSING, "", error.message)
        except BuildError as error:
            result.add(ProblemKind.UNREADABLE, "", error.message)
        except OSError as error:
            result.add(
                ProblemKind.UNREADABLE,
                str(error.filename or ""),
                f"cannot be verified here: {error.strerror or error}",
            )
    return result


def _verify(source: ReleaseSource, trust: Trust, result: Verification, work: Path) -> None:
    # what tells where to look is read once: the very bytes that are compared with the signed list
    held: dict[str, bytes] = {}
    releases = _claimed(source, held)
    first = releases[0]
    manifest = manifest_of(first.compose_id, "" if first.joint else first.arch)
    result.compose_id = first.compose_id
    entries = _all_listed(source, manifest, trust, held)
    fetched = {
        path: _check_file(source, entry, work, result, held.get(path)) for path, entry in entries.items()
    }
    there = source.paths()
    for path in sorted((there or set()) - set(entries) - {manifest}):
        result.add(ProblemKind.EXTRA, path, "is in no CHECKSUM of this compose")
    for known in releases:
        path = known.layout.facts
        if fetched.get(path) is None:
            if path not in entries:
                result.add(ProblemKind.METADATA, path, "is not signed")
            return
    result.commits = {known.arch: known.tree.commit for known in releases}
    result.commit, result.version = first.tree.commit, first.tree.version
    check_description(releases, manifest, entries, fetched, result)
    for known in releases:
        check_commit(known, fetched, trust.commit_keys, result)
    if not trust.open_images:
        result.not_opened = "images were not opened, as asked"
        return
    for known in releases:
        check_images(known, fetched, trust.cache, result, work / known.arch)


def _all_listed(
    source: ReleaseSource, manifest: str, trust: Trust, held: dict[str, bytes]
) -> dict[str, HashedFile]:
    """Return path -> entry of what a signed list and the lists in it name; what is read of them is `held`."""
    entries = _listed(read(source, manifest), manifest, trust)
    todo = [path for path in entries if path.endswith("-CHECKSUM")]
    while todo:
        path = todo.pop(0)
        # the list itself is signed, and it is the one that the list above it means
        held[path] = read(source, path)
        found = _listed(held[path], path, trust)
        todo += [each for each in found if each.endswith("-CHECKSUM") and each not in entries]
        entries |= found
    return entries


def _claimed(source: ReleaseSource, held: dict[str, bytes]) -> list[Facts]:
    """Read what the release says it is, for each of its architectures; believed only after the signatures
    over what is `held` were checked.
    """
    try:
        held[facts.FILE] = read(source, facts.FILE)
    except AbsentError:
        held[COMPOSEINFO] = read(source, COMPOSEINFO)
        arches = metadata.arches_of(held[COMPOSEINFO])
        for layout in (Layout(arch=arch, joint=True) for arch in arches if re.fullmatch(ARCH, arch)):
            held[layout.facts] = read(source, layout.facts)
        if list(held) == [COMPOSEINFO]:
            raise
    found = [(path, facts.parse(data, what=path)) for path, data in held.items() if path != COMPOSEINFO]
    for path, claimed in found:
        _check_claim(path, claimed, source)
    return [claimed for _, claimed in found]


def _check_claim(path: str, claimed: Facts, source: ReleaseSource) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", claimed.compose_id) or not re.fullmatch(ARCH, claimed.arch):
        raise BuildError(
            f"{path} names the compose {claimed.compose_id!r} of {claimed.arch!r}: no such names exist"
        )
    if claimed.layout.facts != path:
        raise BuildError(f"{path} is of {claimed.arch}, whose facts are in {claimed.layout.facts}")
    if claimed.compose_id != source.name:
        raise SignatureError(
            f"this is the release {claimed.compose_id}, and lies where {source.name} should be",
            hint="the mirror is mixed up, or an old release is in a new place",
        )


def _listed(data: bytes, path: str, trust: Trust) -> dict[str, HashedFile]:
    """Return path -> entry of a signed list, from the compose's directory."""
    payload = gpg.signed_payload(data, list(trust.keys), what=path)
    base = "".join(path.rpartition("/")[:2])
    return {
        f"{base}{name}": HashedFile(name=f"{base}{name}", size=entry.size, sha256=entry.sha256)
        for name, entry in entries_of(payload, what=path).items()
    }


def _check_file(
    source: ReleaseSource, entry: HashedFile, work: Path, result: Verification, held: bytes | None
) -> Path | None:
    """Read a file once (unless its content is `held` already) and compare it with its entry; return where its
    content lies here, None when it is not the right one.
    """
    target = work / "files" / entry.name
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    local = source.local(entry.name) if held is None else None
    try:
        with target.open("wb") as stream:
            for chunk in source.chunks(entry.name, entry.size) if held is None else [held]:
                digest.update(chunk)
                size += len(chunk)
                if local is None:
                    stream.write(chunk)
    except AbsentError:
        result.add(ProblemKind.MISSING, entry.name, "is listed, but not there")
        return None
    result.files += 1
    result.bytes += size
    if size != entry.size or digest.hexdigest() != entry.sha256:
        says = "more" if size > entry.size else f"{size}"
        result.add(
            ProblemKind.CHANGED,
            entry.name,
            (
                f"is not what was signed: {says} bytes instead of {entry.size}"
                if size != entry.size
                else "is not what was signed: another SHA-256"
            ),
        )
        return None
    return local or target
