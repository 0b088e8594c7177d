"""Which object of a repository on a server is damaged: looked for when a pull has failed.

Formats: ostree-core.h (OSTREE_COMMIT_GVARIANT_FORMAT, OSTREE_TREE_GVARIANT_FORMAT).
"""

import time
import zlib
from collections.abc import Callable, Iterator

import requests

from imagebuild.tools import answers
from imagebuild.tools.access import DIRECT, Access
from imagebuild.tools.ostree.library import GLib
from imagebuild.tools.ostree.server import FORMATS, LARGEST, OBJECT_SUFFIX, Patience, object_url

# how long a failed pull looks for the object to blame
DIAGNOSIS_SECONDS = 60.0
# so much of a file is in memory at a time, however small it was packed
UNPACKED_BLOCK = 1 << 20


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
            if not answer.ok:
                return b"", f"not there (HTTP {answer.status_code})"
            received = answers.blocks(
                answer, slowest=patience.low_speed_bytes, seconds=patience.low_speed_seconds
            )
            return _metadata(received) if kind != 1 else (b"", _problem_of_file(received))
    except requests.RequestException:
        return b"", None


def _metadata(received: Iterator[bytes]) -> tuple[bytes, str | None]:
    content = bytearray()
    for block in received:
        content += block
        if len(content) > LARGEST:
            return b"", f"larger than {LARGEST} bytes"
    return bytes(content), None


def _problem_of_file(received: Iterator[bytes]) -> str | None:
    """Say what is wrong with a file object, which is unpacked block by block and not kept."""
    # ostree-core.c, "archive-z2": size of the header as big-endian 32 bits, 4 bytes of padding, the header,
    # raw deflate
    head, inflater, deadline = b"", zlib.decompressobj(-15), time.monotonic() + DIAGNOSIS_SECONDS
    for block in received:
        if time.monotonic() > deadline or len(head) > LARGEST:
            return None
        packed, skipped = block, 8 + int.from_bytes(head[:4], "big")
        if len(head) < 4 or len(head) < skipped:
            head += block
            skipped = 8 + int.from_bytes(head[:4], "big")
            packed = head[skipped:] if len(head) >= 8 else b""
            if not packed:
                continue
            head = head[:skipped]
        try:
            while packed and not inflater.eof:
                inflater.decompress(packed, UNPACKED_BLOCK)
                packed = inflater.unconsumed_tail
        except zlib.error:
            return "damaged"
    return None if inflater.eof else "cut short"
