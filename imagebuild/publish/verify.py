"""Is a published release what was signed? Anyone with the public key can ask; nothing that is fetched is
believed before it was checked.

In this order: the signed list of the compose, the signed lists of its directories, every file they name,
metadata and page, the signed commit, and the commit inside of every image.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from imagebuild.destinations.source import SMALL, AbsentError, ReleaseSource, read
from imagebuild.errors import BuildError
from imagebuild.publish import facts, metadata, os_tree, page, page_check
from imagebuild.publish.facts import Facts
from imagebuild.publish.findings import ProblemKind, Verification
from imagebuild.publish.names import OS
from imagebuild.publish.opened import check_images
from imagebuild.tools import gpg, temporary
from imagebuild.tools.checksum import HashedFile, entries_of
from imagebuild.tools.gpg import SignatureError
from imagebuild.tools.ostree.binding import commit_version
from imagebuild.tools.ostree.signatures import signatures

PROVENANCE = "metadata/provenance.json"


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
    held = {facts.FILE: read(source, facts.FILE)}
    known = _claimed(source, held[facts.FILE])
    manifest = f"{known.compose_id}-{known.arch}-CHECKSUM"
    entries = _listed(read(source, manifest), manifest, trust)
    result.compose_id = known.compose_id
    for path in [path for path in entries if path.endswith("-CHECKSUM")]:
        # the list itself is signed, and it is the one that the compose's list means
        held[path] = read(source, path)
        entries |= _listed(held[path], path, trust)
    fetched = {
        path: _check_file(source, entry, work, result, held.get(path)) for path, entry in entries.items()
    }
    there = source.paths()
    for path in sorted((there or set()) - set(entries) - {manifest}):
        result.add(ProblemKind.EXTRA, path, "is in no CHECKSUM of this compose")
    if fetched.get(facts.FILE) is None:
        if facts.FILE not in entries:
            result.add(ProblemKind.METADATA, facts.FILE, "is not signed")
        return
    result.commit, result.version = known.tree.commit, known.tree.version
    _check_description(known, entries, fetched, result)
    _check_commit(known, fetched, trust, result)
    if not trust.open_images:
        result.not_opened = "images were not opened, as asked"
        return
    check_images(known, fetched, trust.cache, result, work)


def _claimed(source: ReleaseSource, data: bytes) -> Facts:
    """Read who the release says it is; believed only after the signature over it was checked."""
    claimed = facts.parse(data, what=facts.FILE)
    if not re.fullmatch(r"[A-Za-z0-9._-]+", claimed.compose_id) or not re.fullmatch(
        r"[a-z0-9_]+", claimed.arch
    ):
        raise BuildError(
            f"{facts.FILE} names the compose {claimed.compose_id!r} of {claimed.arch!r}: no such names exist"
        )
    if claimed.compose_id != source.name:
        raise SignatureError(
            f"this is the release {claimed.compose_id}, and lies where {source.name} should be",
            hint="the mirror is mixed up, or an old release is in a new place",
        )
    return claimed


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


def _small(fetched: dict[str, Path | None], path: str) -> bytes:
    file = fetched.get(path)
    if file is None:
        return b""
    with file.open("rb") as stream:
        return stream.read(SMALL)


def _check_description(
    known: Facts, entries: dict[str, HashedFile], fetched: dict[str, Path | None], result: Verification
) -> None:
    """Compare page and metadata with what is signed: they are signed too, but may have been wrong when they
    were.
    """
    sizes = {path: (entry.size, entry.sha256) for path, entry in entries.items()}
    for fact in known.downloads:
        if sizes.get(fact.path) != (fact.size, fact.sha256):
            result.add(
                ProblemKind.METADATA,
                facts.FILE,
                f"size or checksum of {fact.path} is not that of its CHECKSUM",
            )
    for text in (
        *metadata.check_images(
            _small(fetched, "metadata/images.json"), compose_id=known.compose_id, known=sizes
        ),
        *metadata.check_composeinfo(
            _small(fetched, "metadata/composeinfo.json"),
            compose_id=known.compose_id,
            product=known.product,
            release=known.release,
        ),
    ):
        result.add(ProblemKind.METADATA, text.partition(":")[0], text)
    _check_os_tree(known, entries, fetched, result)
    problem = _provenance_problem(_small(fetched, PROVENANCE))
    if problem is not None:
        result.add(ProblemKind.METADATA, PROVENANCE, problem)
    if _small(fetched, "COMPOSE_ID").decode("utf-8", "replace").strip() != known.compose_id:
        result.add(ProblemKind.METADATA, "COMPOSE_ID", f"is not {known.compose_id}")
    if _small(fetched, "STATUS") != b"FINISHED\n":
        result.add(ProblemKind.METADATA, "STATUS", "is not FINISHED")
    text = _small(fetched, page.FILE).decode("utf-8", "replace")
    for says in page_check.problems(text, compose_id=known.compose_id, listed=entries, facts=known):
        result.add(ProblemKind.PAGE, page.FILE, says)


def _provenance_problem(data: bytes) -> str | None:
    try:
        return metadata.check_provenance(json.loads(data or b"null"))
    except ValueError:
        return "it is not JSON"


def _check_os_tree(
    known: Facts, entries: dict[str, HashedFile], fetched: dict[str, Path | None], result: Verification
) -> None:
    """Compare every .treeinfo with the lists: tools that install from a tree believe it."""
    for path in (path for path in known.os_tree.values() if path not in entries):
        result.add(ProblemKind.METADATA, facts.FILE, f"names {path}, which is in no CHECKSUM of this compose")
    digests = {path: entry.sha256 for path, entry in entries.items()}
    for path in (path for path in entries if path.endswith(f"/{OS}/{os_tree.TREEINFO}")):
        text = _small(fetched, path).decode("utf-8", "replace")
        for says in os_tree.problems(
            text,
            path.rpartition("/")[0],
            digests,
            product=known.product,
            release=known.release,
            arch=known.arch,
        ):
            result.add(ProblemKind.METADATA, path, says)


def _check_commit(known: Facts, fetched: dict[str, Path | None], trust: Trust, result: Verification) -> None:
    """The commit object must be the commit, in this version, signed by a key of commits."""
    path = f"metadata/ostree/{known.tree.commit}.commit"
    data = _small(fetched, path)
    if hashlib.sha256(data).hexdigest() != known.tree.commit:
        result.add(ProblemKind.METADATA, path, "is not the commit that was released")
        return
    if commit_version(data) != known.tree.version:
        result.add(
            ProblemKind.METADATA,
            path,
            f"has the version {commit_version(data)!r}, not {known.tree.version!r}",
        )
    blobs = signatures(_small(fetched, f"{path}meta"))
    if not blobs:
        result.add(ProblemKind.SIGNATURE, path, "the commit is not signed")
        return
    with temporary.directory("commit") as place:
        file, signature = place / "commit", place / "signature"
        file.write_bytes(data)
        complaints = []
        for blob in blobs:
            signature.write_bytes(blob)
            try:
                gpg.check_detached(
                    file, signature, list(trust.commit_keys), what=f"the commit {known.tree.commit[:12]}"
                )
            except SignatureError as error:
                complaints.append(error.message)
            else:
                return
    result.add(ProblemKind.SIGNATURE, path, "; ".join(complaints))
