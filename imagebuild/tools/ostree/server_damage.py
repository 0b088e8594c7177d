"""Which object of a repository on a server is damaged: looked for when a pull has failed.

Formats: ostree-core.h (OSTREE_COMMIT_GVARIANT_FORMAT, OSTREE_TREE_GVARIANT_FORMAT).
"""

import time
import zlib
from collections.abc import Callable

import requests

from imagebuild.tools.access import DIRECT, Access
from imagebuild.tools.ostree.library import GLib
from imagebuild.tools.ostree.server import FORMATS, OBJECT_SUFFIX, Patience, object_url

# how long a failed pull looks for the object to blame
DIAGNOSIS_SECONDS = 60.0
# bytes that are unpacked at a time
AT_ONCE = 1 << 20


def find_damaged(
    url: str, commit: str, patience: Patience, *, has_file: Callable[[str], bool], access: Access = DIRECT
) -> str | None:
    """Return which object of a commit is missing or cut short on a server, as a phrase; None when no such
    object is found in time.

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
        content, problem = _examine(object_url(url, checksum, suffix), kind, patience, access)
        if problem:
            return f"{checksum}.{suffix} of {url} is {problem}"
        todo += _children(kind, content)
    return None


def _children(kind: int, content: bytes) -> list[tuple[int, str]]:
    """Return what a commit or a dirtree object names (ostree-core.h, OSTREE_COMMIT_GVARIANT_FORMAT,
    OSTREE_TREE_GVARIANT_FORMAT).
    """
    if kind not in FORMATS or not content:
        return []
    variant = GLib.Variant.new_from_bytes(GLib.VariantType.new(FORMATS[kind]), GLib.Bytes.new(content), False)
    # what is not serialised as it should be can have far more parts than bytes
    if not variant.is_normal_form():
        return []
    names = variant.unpack()
    if kind == 4:
        return [(2, bytes(names[6]).hex()), (3, bytes(names[7]).hex())]
    files = [(1, bytes(checksum).hex()) for _, checksum in names[0]]
    return files + [
        pair for _, tree, meta in names[1] for pair in ((2, bytes(tree).hex()), (3, bytes(meta).hex()))
    ]


def _examine(url: str, kind: int, patience: Patience, access: Access) -> tuple[bytes, str | None]:
    """Return an object of a server and what is wrong with it; nothing when it seems whole (its checksum is
    libostree's business).
    """
    try:
        with access.get(url, seconds=patience.low_speed_seconds) as answer:
            content = answer.content
    except requests.RequestException:
        return b"", None
    if not answer.ok:
        return b"", f"not there (HTTP {answer.status_code})"
    if kind != 1:
        return content, None
    # ostree-core.c, "archive-z2": size of the header as big-endian 32 bits, 4 bytes of padding, the header,
    # raw deflate
    return b"", _end_of(content[8 + int.from_bytes(content[:4], "big") :])


def _end_of(deflated: bytes) -> str | None:
    """Return what is wrong with the end of raw deflate; None for nothing. What it unpacks to is not kept: a
    few bytes are a thousand times as many, unpacked.
    """
    inflater = zlib.decompressobj(-15)
    try:
        while inflater.decompress(deflated, AT_ONCE):
            deflated = inflater.unconsumed_tail
    except zlib.error:
        return "damaged"
    return None if inflater.eof else "cut short"
