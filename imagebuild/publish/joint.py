"""A compose of several architectures: what it has of all of them is made of the part of each, and made anew
when another one joins.

The part of an architecture is signed when it is made, and never changed after that. What is of all (page,
announcement, composeinfo.json, images.json, layout.COMMON) is derived from the parts' facts; its signed list
names their lists.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild import files
from imagebuild.errors import BuildError
from imagebuild.publish import facts, page, page_check
from imagebuild.publish.dates import day
from imagebuild.publish.documents import describe_all
from imagebuild.publish.facts import Facts
from imagebuild.publish.layout import (
    COMMON,
    COMPOSEINFO,
    FACTS,
    FINISHED,
    ID,
    KEY,
    MAIL,
    PAGE,
    STATUS,
    Layout,
    manifest_of,
)
from imagebuild.publish.metadata import arches_of
from imagebuild.release_line.model import Config
from imagebuild.report.templates import template
from imagebuild.tools import gpg, temporary
from imagebuild.tools.checksum import HashedFile, entries_of, text_of
from imagebuild.tools.gpg import Signer

# returns a small file of a compose by its path; None when it is not there
Read = Callable[[str], bytes | None]


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a compose has of one architecture: its facts, its part of the page, its signed list, and what that
    and the lists in it name.
    """

    facts: Facts
    fragment: str
    manifest: HashedFile
    listed: Mapping[str, HashedFile]


def read_parts(read: Read, compose_id: str, keys: Sequence[Path], arches: Iterable[str]) -> list[Part]:
    """Read the parts of a compose, each as it was signed. Raises BuildError."""
    return [_read_part(read, compose_id, arch, keys) for arch in arches]


def arches_in(read: Read) -> list[str]:
    """Return the architectures that a joint compose says it has; what it says is not believed yet. None of a
    compose of one, and where there is no compose.
    """
    text = read(COMPOSEINFO)
    arches = arches_of(text) if text is not None else []
    return [arch for arch in arches if read(Layout(arch=arch, joint=True).facts) is not None]


def _read_part(read: Read, compose_id: str, arch: str, keys: Sequence[Path]) -> Part:
    layout, name = Layout(arch=arch, joint=True), manifest_of(compose_id, arch)
    data = _there(read, name)
    listed = _entries(data, name, keys)
    for path in [path for path in listed if path.endswith("-CHECKSUM")]:
        listed |= _entries(_signed(read, path, listed), path, keys)
    known = facts.parse(_signed(read, layout.facts, listed), what=layout.facts)
    if (known.compose_id, known.arch, known.joint) != (compose_id, arch, True):
        raise BuildError(f"{layout.facts} is not of {compose_id}, {arch}", hint="are the files mixed up?")
    return Part(
        facts=known,
        fragment=_signed(read, layout.fragment, listed).decode(),
        manifest=_hashed(name, data),
        listed=listed,
    )


def _there(read: Read, path: str) -> bytes:
    data = read(path)
    if data is None:
        raise BuildError(
            f"{path} is not there", hint="the compose is not whole: imagebuild all makes it again"
        )
    return data


def _signed(read: Read, path: str, listed: Mapping[str, HashedFile]) -> bytes:
    """Return a file that is what was signed."""
    data, entry = _there(read, path), listed.get(path)
    if entry is None or entry != _hashed(path, data):
        raise BuildError(f"{path} is not what was signed")
    return data


def _entries(data: bytes, path: str, keys: Sequence[Path]) -> dict[str, HashedFile]:
    base = "".join(path.rpartition("/")[:2])
    payload = gpg.signed_payload(data, keys, what=path, then=True)
    return {
        f"{base}{name}": HashedFile(name=f"{base}{name}", size=entry.size, sha256=entry.sha256)
        for name, entry in entries_of(payload, what=path).items()
    }


def _hashed(name: str, data: bytes) -> HashedFile:
    return HashedFile(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


# --- what is of all ---------------------------------------------------------------------------------------


def common_files(parts: Sequence[Part], config: Config, signer: Signer) -> dict[str, bytes]:
    """Return path -> content of what a compose of these parts has of all, its signed list last.

    Raises BuildError: the parts disagree on what they are, or the page would not be right.
    """
    parts = sorted(parts, key=lambda part: part.facts.arch)
    first = parts[0].facts
    _check_agreement([part.facts for part in parts])
    texts = describe_all([part.facts for part in parts], config.publish.subvariant) | {
        KEY: signer.public_key(),
        ID: f"{first.compose_id}\n",
        STATUS: FINISHED,
    }
    manifest = manifest_of(first.compose_id)
    values = {
        "first": first,
        "parts": parts,
        "manifest": manifest,
        "day": day(max(part.facts.created for part in parts)),
        "url": f"{config.publish.url}{first.compose_id}/" if config.publish.url else "",
        "others": page.OF_ALL,
    }
    texts[PAGE] = template("release_joint.html.j2").render(values)
    texts[MAIL] = template("announcement_joint.txt.j2").render(values)
    # whoever sees that it is finished finds the rest
    content = {path: texts[path].encode() for path in sorted(texts, key=lambda path: path == STATUS)}
    assert set(content) == set(COMMON)
    _check_page(texts[PAGE], parts, manifest, content)
    entries = [*(_hashed(path, data) for path, data in content.items()), *(part.manifest for part in parts)]
    return content | {manifest: signer.clearsign(text_of(entries)).encode()}


def _check_agreement(releases: Sequence[Facts]) -> None:
    for what in ("compose_id", "product", "release", "nightly", "signer"):
        said = {release.arch: getattr(release, what) for release in releases}
        if len(set(said.values())) != 1:
            raise BuildError(f"the architectures disagree on {what}: {_listing(said)}")
    check_versions(releases)


def check_versions(releases: Sequence[Facts]) -> None:
    """Raise BuildError for architectures of different versions."""
    versions = {release.arch: release.tree.version for release in releases}
    if len(set(versions.values())) != 1:
        raise BuildError(f"the architectures disagree on the version: {_listing(versions)}")


def _listing(said: Mapping[str, object]) -> str:
    return ", ".join(f"{arch} {value}" for arch, value in said.items())


def _check_page(text: str, parts: Sequence[Part], manifest: str, content: Mapping[str, bytes]) -> None:
    listed = {*content, *(part.manifest.name for part in parts)}
    for part in parts:
        listed |= set(part.listed)
    downloads = [download for part in parts for download in part.facts.downloads]
    compose_id = parts[0].facts.compose_id
    problems = page_check.problems(
        text, compose_id=compose_id, listed=listed, manifest=manifest, downloads=downloads
    )
    if problems:
        raise BuildError(
            f"the page of {compose_id} is not right: {'; '.join(problems)}",
            hint="correct templates/release_joint.html.j2 and release_body.html.j2",
        )


# --- in a directory ---------------------------------------------------------------------------------------


def clear(compose: Path, arch: str) -> None:
    """Remove what an interrupted run has left of an architecture that is not part of the compose."""
    for left in compose.glob(f"*/{arch}"):
        shutil.rmtree(left)
    for left in compose.glob(f"{manifest_of(compose.name, arch)}*"):
        left.unlink()


def add(compose: Path, part: Path) -> None:
    """Move the part of an architecture into a compose; its facts come last: until then it is not there."""
    paths = [file.relative_to(part) for file in part.rglob("*") if file.is_file()]
    for path in sorted(paths, key=lambda path: (path.name == FACTS, path)):
        (compose / path).parent.mkdir(parents=True, exist_ok=True)
        (part / path).replace(compose / path)
    for directory, _, _ in os.walk(part, topdown=False):
        Path(directory).rmdir()


def complete(compose: Path, config: Config, signer: Signer) -> None:
    """Make what is of all architectures of a compose, from the parts that are there; the signed list last.

    Nothing is done when that was done already: an interrupted run left it out.
    """
    there = [known.arch for known in facts.read_all(compose)]
    reader = read_in(compose)
    with temporary.file("key.asc") as key:
        key.write_text(signer.public_key())
        keys = (key, *map(Path, config.publish.other_keys))
        parts = read_parts(reader, compose.name, keys, there)
        if _is_complete(reader, parts, keys):
            return
        for path, data in common_files(parts, config, signer).items():
            files.replace(compose / path, data)
    files.sync_tree(compose / "metadata")


def read_in(compose: Path) -> Read:
    """Return what reads files of a compose in a directory."""
    return lambda path: (compose / path).read_bytes() if (compose / path).is_file() else None


def _is_complete(read: Read, parts: Sequence[Part], keys: Sequence[Path]) -> bool:
    """Whether what is of all is there, signed, and of exactly these parts."""
    name = manifest_of(parts[0].facts.compose_id)
    data = read(name)
    if data is None:
        return False
    listed = _entries(data, name, keys)
    content = {path: read(path) for path in COMMON}
    should = {part.manifest.name: part.manifest for part in parts} | {
        path: _hashed(path, text) for path, text in content.items() if text is not None
    }
    return listed == should and None not in content.values()
