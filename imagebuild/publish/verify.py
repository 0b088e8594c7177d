"""Is a published release what was signed? Anyone with the public key can ask; nothing that is fetched is
believed before it was checked.

In this order: the signed list of the compose, the signed lists of its directories, every file they name,
metadata and page, the signed commit, and the commit inside of every image.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from imagebuild.destinations.source import SMALL, AbsentError, Source, read
from imagebuild.errors import BuildError
from imagebuild.formats.registry import FORMATS
from imagebuild.installers import check as iso_check
from imagebuild.publish import facts, metadata, os_tree, page, page_check
from imagebuild.publish.facts import Facts
from imagebuild.publish.names import OS
from imagebuild.tools import accelerator, gpg, guestfs, temporary
from imagebuild.tools.checksum import Entry, entries_of
from imagebuild.tools.gpg import SignatureError
from imagebuild.tools.ostree.binding import commit_version
from imagebuild.tools.ostree.signatures import signatures
from imagebuild.tools.qemu import disk_image

APPLIANCE_MEMORY = 768


class Kind(StrEnum):
    """What is wrong; in the order of exit codes (4, 5, …)."""

    SIGNATURE = "signature"
    MISSING = "missing"
    CHANGED = "changed"
    EXTRA = "extra"
    PAGE = "page"
    METADATA = "metadata"
    IMAGE = "image"
    UNREADABLE = "unreadable"


EXIT_CODES = {kind: 4 + number for number, kind in enumerate(Kind)}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a release, and the file it is wrong with."""

    kind: Kind
    path: str
    says: str


@dataclass(kw_only=True)
class Found:
    """What a verification found: problems, and what was checked."""

    compose_id: str = ""
    commit: str = ""
    version: str = ""
    files: int = 0
    bytes: int = 0
    images: dict[str, list[str]] = field(default_factory=dict)
    not_opened: str = ""
    problems: list[Problem] = field(default_factory=list)

    def add(self, kind: Kind, path: str, says: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(kind=kind, path=path, says=says))

    def exit_code(self) -> int:
        """Return 0, or the code of the gravest kind of problem."""
        return min((EXIT_CODES[each.kind] for each in self.problems), default=0)


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whom to believe: keys of releases, keys of commits, and whether images are opened (`cache`: directory
    of the appliance and of what is known of this host).
    """

    keys: tuple[Path, ...]
    commit_keys: tuple[Path, ...]
    open_images: bool
    cache: Path


def verify(source: Source, trust: Trust) -> Found:
    """Verify a release. Problems are returned, not raised."""
    found = Found()
    with temporary.directory("verify") as place:
        try:
            _verify(source, trust, found, place)
        except SignatureError as error:
            found.add(Kind.SIGNATURE, "", error.message)
        except AbsentError as error:
            found.add(Kind.MISSING, "", error.message)
        except BuildError as error:
            found.add(Kind.UNREADABLE, "", error.message)
        except OSError as error:
            found.add(
                Kind.UNREADABLE,
                str(error.filename or ""),
                f"cannot be verified here: {error.strerror or error}",
            )
    return found


def _verify(source: Source, trust: Trust, found: Found, work: Path) -> None:
    # what tells where to look is read once: the very bytes that are held against the signed list
    held = {facts.FILE: read(source, facts.FILE)}
    known = _claimed(source, held[facts.FILE])
    manifest = f"{known.compose_id}-{known.arch}-CHECKSUM"
    entries = _listed(read(source, manifest), manifest, trust)
    found.compose_id = known.compose_id
    for path in [each for each in entries if each.endswith("-CHECKSUM")]:
        # the list itself is signed, and it is the one that the compose's list means
        held[path] = read(source, path)
        entries |= _listed(held[path], path, trust)
    fetched = {
        path: _check_file(source, entry, work, found, held.get(path)) for path, entry in entries.items()
    }
    there = source.paths()
    for path in sorted((there or set()) - set(entries) - {manifest}):
        found.add(Kind.EXTRA, path, "is in no CHECKSUM of this compose")
    if fetched.get(facts.FILE) is None:
        if facts.FILE not in entries:
            found.add(Kind.METADATA, facts.FILE, "is not signed")
        return
    found.commit, found.version = known.tree.commit, known.tree.version
    _check_description(known, entries, fetched, found)
    _check_commit(known, fetched, trust, found)
    if not trust.open_images:
        found.not_opened = "images were not opened, as asked"
        return
    _check_images(known, fetched, trust, found, work)


def _claimed(source: Source, data: bytes) -> Facts:
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
            hint="a mirror mixed up, or an old release in a new place",
        )
    return claimed


def _listed(data: bytes, path: str, trust: Trust) -> dict[str, Entry]:
    """Return path -> entry of a signed list, from the compose's directory."""
    payload = gpg.signed_payload(data, list(trust.keys), what=path)
    base = "".join(path.rpartition("/")[:2])
    return {
        f"{base}{name}": Entry(name=f"{base}{name}", size=entry.size, sha256=entry.sha256)
        for name, entry in entries_of(payload, what=path).items()
    }


def _check_file(source: Source, entry: Entry, work: Path, found: Found, held: bytes | None) -> Path | None:
    """Read a file once (unless its content is `held` already) and hold it against its entry; return where its
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
        found.add(Kind.MISSING, entry.name, "is listed, but not there")
        return None
    found.files += 1
    found.bytes += size
    if size != entry.size or digest.hexdigest() != entry.sha256:
        says = "more" if size > entry.size else f"{size}"
        found.add(
            Kind.CHANGED,
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
    known: Facts, entries: dict[str, Entry], fetched: dict[str, Path | None], found: Found
) -> None:
    """Hold page and metadata against what is signed: they are signed too, but may have been wrong when they
    were.
    """
    sizes = {path: (entry.size, entry.sha256) for path, entry in entries.items()}
    for each in known.downloads:
        if sizes.get(each.path) != (each.size, each.sha256):
            found.add(
                Kind.METADATA, facts.FILE, f"size or checksum of {each.path} is not that of its CHECKSUM"
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
        found.add(Kind.METADATA, text.partition(":")[0], text)
    _check_os_tree(known, entries, fetched, found)
    try:
        problem = metadata.check_provenance(
            json.loads(_small(fetched, "metadata/provenance.json") or b"null")
        )
    except ValueError:
        problem = "it is not JSON"
    if problem:
        found.add(Kind.METADATA, "metadata/provenance.json", problem)
    if _small(fetched, "COMPOSE_ID").decode("utf-8", "replace").strip() != known.compose_id:
        found.add(Kind.METADATA, "COMPOSE_ID", f"is not {known.compose_id}")
    if _small(fetched, "STATUS") != b"FINISHED\n":
        found.add(Kind.METADATA, "STATUS", "is not FINISHED")
    text = _small(fetched, page.FILE).decode("utf-8", "replace")
    for says in page_check.problems(text, compose_id=known.compose_id, listed=entries, facts=known):
        found.add(Kind.PAGE, page.FILE, says)


def _check_os_tree(
    known: Facts, entries: dict[str, Entry], fetched: dict[str, Path | None], found: Found
) -> None:
    """Hold every .treeinfo against the lists: tools that install from a tree believe it."""
    for path in (each for each in known.os_tree.values() if each not in entries):
        found.add(Kind.METADATA, facts.FILE, f"names {path}, which is in no CHECKSUM of this compose")
    digests = {path: entry.sha256 for path, entry in entries.items()}
    for path in (each for each in entries if each.endswith(f"/{OS}/{os_tree.TREEINFO}")):
        text = _small(fetched, path).decode("utf-8", "replace")
        for says in os_tree.problems(
            text,
            path.rpartition("/")[0],
            digests,
            product=known.product,
            release=known.release,
            arch=known.arch,
        ):
            found.add(Kind.METADATA, path, says)


def _check_commit(known: Facts, fetched: dict[str, Path | None], trust: Trust, found: Found) -> None:
    """The commit object must be the commit, in this version, signed by a key of commits."""
    path = f"metadata/ostree/{known.tree.commit}.commit"
    data = _small(fetched, path)
    if hashlib.sha256(data).hexdigest() != known.tree.commit:
        found.add(Kind.METADATA, path, "is not the commit that was released")
        return
    if commit_version(data) != known.tree.version:
        found.add(
            Kind.METADATA, path, f"has the version {commit_version(data)!r}, not {known.tree.version!r}"
        )
    blobs = signatures(_small(fetched, f"{path}meta"))
    if not blobs:
        found.add(Kind.SIGNATURE, path, "the commit is not signed")
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
    found.add(Kind.SIGNATURE, path, "; ".join(complaints))


# --- images -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """How images are opened: the appliance's cache, and whether it has to be emulated."""

    cache: Path
    emulate: bool


def _check_images(
    known: Facts, fetched: dict[str, Path | None], trust: Trust, found: Found, work: Path
) -> None:
    """Open every image as its users would, read-only and without root: each must hold exactly the released
    commit.
    """
    if guestfs.missing():
        found.not_opened = guestfs.missing()
        found.add(
            Kind.IMAGE,
            "",
            f"images could not be opened: {guestfs.missing()} ({guestfs.HINT}); --no-images leaves them out",
        )
        return
    _check_stage2(known, fetched, found, work)
    opened = _Opened(cache=trust.cache / "guestfs", emulate=accelerator.probe(trust.cache).name == "tcg")
    reference: tuple[Path, str] | None = None
    for number, download in enumerate(known.downloads):
        file = fetched.get(download.path)
        if file is None:
            continue
        if download.format != "iso" and download.format not in FORMATS:
            found.add(Kind.IMAGE, download.path, f"is a {download.format}, which this version does not know")
            continue
        place = work / "unpacked" / str(number)
        place.mkdir(parents=True)
        try:
            if download.format == "iso":
                held = iso_check.look_into(file, place).get("commits")
                commits = [str(each) for each in held] if isinstance(held, list) else []
            else:
                commits, reference = _commits(
                    file, download.format, place, reference, known.tree.commit, opened
                )
        except BuildError as error:
            found.add(Kind.IMAGE, download.path, error.message)
            continue
        found.images[download.path] = commits
        if commits != [known.tree.commit]:
            found.add(
                Kind.IMAGE,
                download.path,
                f"holds {', '.join(commits) or 'no commit'}, not {known.tree.commit}",
            )
        if reference is None or not reference[0].is_relative_to(place):
            shutil.rmtree(place)


def _check_stage2(known: Facts, fetched: dict[str, Path | None], found: Found, work: Path) -> None:
    """What is fetched over the network must install the released commit, too."""
    path = known.os_tree.get("root file system", "")
    file = fetched.get(path)
    if file is None:
        return
    place = work / "unpacked" / "stage2"
    place.mkdir(parents=True)
    try:
        held = iso_check.embedded(file, 0, place).get("commits")
    except BuildError as error:
        found.add(Kind.IMAGE, path, error.message)
        return
    commits = [str(each) for each in held] if isinstance(held, list) else []
    found.images[path] = commits
    if commits != [known.tree.commit]:
        found.add(Kind.IMAGE, path, f"holds {', '.join(commits) or 'no commit'}, not {known.tree.commit}")


def _commits(
    file: Path, kind: str, place: Path, reference: tuple[Path, str] | None, commit: str, opened: _Opened
) -> tuple[list[str], tuple[Path, str] | None]:
    """Return the commits on a disk, and the disk that later ones are compared with: what is the same byte by
    byte needs no second look.
    """
    unpacked = FORMATS[kind].unpack(file, place)
    disk_image.refuse_outside(unpacked.disk, unpacked.format, what=file.name)
    if reference is not None and disk_image.compare(unpacked.disk, unpacked.format, *reference)[0]:
        return [commit], reference
    commits = guestfs.deployed(
        unpacked.disk, unpacked.format, cache=opened.cache, emulate=opened.emulate, memory=APPLIANCE_MEMORY
    )
    return commits, (
        (unpacked.disk, unpacked.format) if reference is None and commits == [commit] else reference
    )


def describe(found: Found) -> Sequence[str]:
    """Return what a verification found, a line each."""
    lines = [f"{each.kind}: {each.path + ': ' if each.path else ''}{each.says}" for each in found.problems]
    if not found.problems:
        lines.append(
            f"{found.compose_id}: {found.files} files ({found.bytes} bytes) are what was signed; version"
            f" {found.version}, commit {found.commit}"
        )
        lines += [f"  holds that commit: {path}" for path in found.images]
    if found.not_opened:
        lines.append(f"not checked: {found.not_opened}")
    return lines
