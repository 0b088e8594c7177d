"""An OSTree repository on a server, looked at from outside: its refs, and which of its objects is damaged.

Formats: ostree-core.h (OSTREE_COMMIT_GVARIANT_FORMAT, OSTREE_TREE_GVARIANT_FORMAT), ostree-repo.c (summary).
"""

import difflib
import hashlib
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
from gi.repository import GLib

from imagebuild.errors import BuildError, UsageError

CHECKSUM = re.compile(r"[0-9a-f]{64}")
# ostree-core.h, OstreeObjectType
# ostree-core.h, OstreeObjectType
COMMIT = 4
OBJECT_SUFFIX = {1: "file", 2: "dirtree", 3: "dirmeta", 4: "commit"}
FORMATS = {2: "(a(say)a(sayay))", 4: "(a{sv}aya(say)sstayay)"}
SUMMARY = "(a(s(taya{sv}))a{sv})"
# how long a failed pull looks for the object to blame
DIAGNOSIS_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How hard to try: attempts in all, seconds before the second (doubled each time), and the slowest transfer that is waited for."""

    attempts: int = 4
    pause: float = 1.0
    low_speed_bytes: int = 1000
    low_speed_seconds: float = 60.0


PATIENT = Patience()


class TransferError(BuildError):
    """The network or the server failed in a way that another attempt may mend."""


def resolve(url: str, ref: str, *, patience: Patience = PATIENT) -> str:
    """Return the commit a ref points at now, in the repository at an http(s):// or file:// URL.

    Raises BuildError: unreachable (after all attempts), or an unknown ref with the nearest names there are.
    """
    if not re.fullmatch(r"[A-Za-z0-9._][A-Za-z0-9._-]*(/[A-Za-z0-9._][A-Za-z0-9._-]*)*", ref) or ".." in ref.split("/"):
        raise UsageError(f"{ref!r} is not a ref", hint="a ref is words of letters, digits, '.', '_' and '-', joined by '/'")
    data = _get(f"{url.rstrip('/')}/refs/heads/{ref}", patience)
    if data is None:
        raise _unknown_ref(url, ref, patience)
    commit = data.decode("ascii", "replace").strip()
    if not CHECKSUM.fullmatch(commit):
        raise BuildError(
            f"{url}: refs/heads/{ref} does not hold a checksum but {commit[:80]!r}", hint="is tree.url the root of an OSTree repository?"
        )
    return commit


def _unknown_ref(url: str, ref: str, patience: Patience) -> BuildError:
    known = known_refs(url, patience=patience)
    near = difflib.get_close_matches(ref, known, n=3, cutoff=0.5)
    if _get(f"{url.rstrip('/')}/config", patience) is None:
        return BuildError(f"there is no OSTree repository at {url}", hint="check tree.url; a repository has a file `config` at its root")
    hint = f"near names there: {', '.join(near)}" if near else f"it has {len(known)} refs" + (f", such as {known[0]}" if known else "")
    return UsageError(f"no ref {ref} in {url}", hint=hint)


def known_refs(url: str, *, patience: Patience = PATIENT) -> list[str]:
    """Return the refs a repository names: of its summary, and of its directory when it is local."""
    found: set[str] = set()
    parts = urlsplit(url)
    if parts.scheme == "file":
        heads = Path(unquote(parts.path)) / "refs" / "heads"
        found |= {str(file.relative_to(heads)) for file in heads.rglob("*") if file.is_file()}
    data = _get(f"{url.rstrip('/')}/summary", patience)
    if data is not None:
        summary = GLib.Variant.new_from_bytes(GLib.VariantType.new(SUMMARY), GLib.Bytes.new(data), False)
        found |= {name for name, _ in summary.unpack()[0]}
    return sorted(found)


def _get(url: str, patience: Patience) -> bytes | None:
    """Return what lies at a URL, None when nothing does. Raises TransferError after all attempts."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        file = Path(unquote(parts.path))
        return file.read_bytes() if file.is_file() else None
    for attempt in range(1, patience.attempts + 1):
        try:
            answer = requests.get(url, timeout=(10, patience.low_speed_seconds))
            if answer.ok:
                return answer.content
            # anything else may be a server that is busy, or does not want us now
            if answer.status_code in (404, 410):
                return None
            problem = f"HTTP {answer.status_code}"
        except requests.RequestException as error:
            problem = str(error)
        if attempt < patience.attempts:
            time.sleep(patience.pause * 2 ** (attempt - 1))
    raise TransferError(f"cannot reach {url}: {problem}", hint="check the network and tree.url")


def has_commit(url: str, commit: str, *, patience: Patience = PATIENT) -> bool:
    """Whether the repository at a URL has a commit object."""
    return _get(_object(url, commit, "commit"), patience) is not None


def parent(url: str, commit: str, *, patience: Patience = PATIENT) -> str | None:
    """Return the parent of a commit in the repository at a URL; None when it has none. Raises BuildError when the commit is not there, or damaged."""
    data = _get(_object(url, commit, "commit"), patience)
    if data is None or hashlib.sha256(data).hexdigest() != commit:
        raise BuildError(f"{url} has no usable commit object {commit}", hint="the repository must be repaired (ostree fsck)")
    found = GLib.Variant.new_from_bytes(GLib.VariantType.new(FORMATS[4]), GLib.Bytes.new(data), False).unpack()
    return bytes(found[1]).hex() or None


def _object(url: str, checksum: str, suffix: str) -> str:
    return f"{url.rstrip('/')}/objects/{checksum[:2]}/{checksum[2:]}.{suffix}"


def find_damaged(url: str, commit: str, patience: Patience, *, has_file: Callable[[str], bool]) -> str:
    """Return which object of a commit is missing or cut short on a server, as a phrase; empty when none is found in time.

    Files that `has_file` knows are not looked at again.
    """
    deadline = time.monotonic() + DIAGNOSIS_SECONDS
    todo, seen = [(4, commit)], set[tuple[int, str]]()
    while todo and time.monotonic() < deadline:
        kind, checksum = todo.pop()
        if (kind, checksum) in seen or (kind == 1 and has_file(checksum)):
            continue
        seen.add((kind, checksum))
        suffix = {1: "filez"}.get(kind, OBJECT_SUFFIX[kind])
        content, problem = _examine(_object(url, checksum, suffix), kind, patience)
        if problem:
            return f"{checksum}.{suffix} of {url} is {problem}"
        todo += _children(kind, content)
    return ""


def _children(kind: int, content: bytes) -> list[tuple[int, str]]:
    """Return what a commit or a dirtree object names (ostree-core.h, OSTREE_COMMIT_GVARIANT_FORMAT, OSTREE_TREE_GVARIANT_FORMAT)."""
    if kind not in FORMATS or not content:
        return []
    found = GLib.Variant.new_from_bytes(GLib.VariantType.new(FORMATS[kind]), GLib.Bytes.new(content), False).unpack()
    if kind == 4:
        return [(2, bytes(found[6]).hex()), (3, bytes(found[7]).hex())]
    files = [(1, bytes(checksum).hex()) for _, checksum in found[0]]
    return files + [pair for _, tree, meta in found[1] for pair in ((2, bytes(tree).hex()), (3, bytes(meta).hex()))]


def _examine(url: str, kind: int, patience: Patience) -> tuple[bytes, str]:
    """Return an object of a server and what is wrong with it; nothing when it seems whole (its checksum is libostree's business)."""
    try:
        answer = requests.get(url, timeout=(10, patience.low_speed_seconds))
    except requests.RequestException:
        return b"", ""
    if not answer.ok:
        return b"", f"not there (HTTP {answer.status_code})"
    if kind != 1:
        return answer.content, ""
    # ostree-core.c, "archive-z2": size of the header as big-endian 32 bits, 4 bytes of padding, the header, raw deflate
    inflater = zlib.decompressobj(-15)
    try:
        inflater.decompress(answer.content[8 + int.from_bytes(answer.content[:4], "big") :])
    except zlib.error:
        return b"", "damaged"
    return b"", "" if inflater.eof else "cut short"
