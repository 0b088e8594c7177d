"""Hostile content, made of good content: structure-aware mutation reaches deeper than random bytes.

Bytes are cut, repeated, overwritten and interspersed; documents (JSON, YAML) are changed where they branch,
and written again. What is put in has broken readers of others: YAML's alias bombs, numbers with more digits
than Python converts (CVE-2020-10735), lone surrogates, NUL in names, names longer than NAME_MAX, markup
declarations that html.parser does not know, escapes of terminals.
"""

import copy
import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

# no case is larger: that many are tried
LARGEST = 1 << 18
DIGITS, DEEP = "@@digits@@", "@@deep@@"
PIECES = (
    b"\0", b"\r", b"\n", b"\t", b"\x7f", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc2\x85",
    b"\xe2\x80\xa8", b"\x1b[2J", b"\x1b]0;x\x07", b"\x9b", b"\xcc\x81" * 40, b"A" * 10_000, b"9" * 5_000,
    b"-1", b"NaN", b"1e999", b"0x", b"18446744073709551615", b"9223372036854775808", b"\xd9\xa1",
    b"../" * 30, b"/etc/shadow", b"/dev/zero", b"~", b"$(id)", b"`id`", b"%n%s", b"%00", b"{{7*7}}",
    b"[" * 3_000, b'{"a":' * 3_000, b"(" * 2_000, b"<a>" * 3_000, b"'" * 2_000, b'"' * 2_001, b"\\" * 2_001,
    b" " * 5_000, b"\n" * 5_000, b"{", b"}", b"[", b"]", b":", b",", b"=", b"#", b"//[", b"<![", b"<!--",
    b"<!x[", b"&#x110000;", b"&a ", b"*a", b"!!binary x", b"!!timestamp 0", b"? ", b"- ", b"2001-99-99",
    b"!!int x", b"!!float x", b"!!python/object:os.system", b"<<: 1", b"0o9", b"1_000", b"1:99:99", b".inf",
    b"-----BEGIN ", b"include ", b"%include /dev/zero", b"source /a", b"\n[x]\n", b"'''", b'"""',
)  # fmt: skip
NUMBERS = (b"\0", b"\xff", b"\x7f", b"\x80")
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1 << 31, 1 << 63, -(1 << 70), 1e308, float("nan"), float("inf"), 10**400,
    "", " ", "\0", "\n", "\x1b[2J", "\ud800", "\U0010ffff", "x" * 10_000, "../" * 20 + "x", "/etc/shadow",
    ".", "..", "a/../../b", "-", "--help", "2001-99-99", "99999999", "1e999", "file://[", "http://[x", "{0}",
    "%s", "é", [], {}, [[]], [{}], [None], {"": None}, {"\0": "\0"}, ["x"] * 500, DIGITS, DEEP,
)  # fmt: skip
HOW = ("flip", "cut", "drop", "repeat", "put", "over", "number", "lines", "token", "token", "token")
TOKEN = re.compile(rb"[A-Za-z0-9_./-]+|[^A-Za-z0-9_./\s-]")
FRACTION = st.integers(0, 9_999)
Change = tuple[str, int, int, bytes]


def changed(samples: Sequence[bytes], *, most: int = 4, largest: int = LARGEST) -> st.SearchStrategy[bytes]:
    """Return one of the samples, with up to `most` changes; sometimes none."""

    @st.composite
    def case(draw: st.DrawFn) -> bytes:
        data = samples[draw(st.integers(0, len(samples) - 1))]
        for _ in range(draw(st.integers(0, most))):
            what = draw(st.sampled_from(HOW))
            data = _changed(data, what, draw(FRACTION), draw(FRACTION), draw(st.sampled_from(PIECES)))[
                :LARGEST
            ]
        return data[:largest]

    return case()


def _changed(data: bytes, what: str, first: int, second: int, piece: bytes) -> bytes:
    """Do one of HOW at a place (a ten-thousandth of the length each)."""
    place, length = len(data) * first // 10_000, 1 + second % 64
    if what in ("token", "lines"):
        return _replaced(data, first, piece) if what == "token" else _repeated(data, first, second)
    if what == "number":
        length = (2, 4, 8)[second % 3]
        place -= place % length
    middle, left_out = {
        "flip": (bytes([data[place] ^ 1 << second % 8]) if place < len(data) else b"", 1),
        "cut": (b"", len(data)),
        "drop": (b"", length),
        "repeat": (data[place : place + length] * (1 + second % 3_000), length),
        "put": (piece, 0),
        "over": (piece, len(piece)),
        "number": (NUMBERS[second % len(NUMBERS)] * length, length),
    }[what]
    return data[:place] + middle + data[place + left_out :]


def _replaced(data: bytes, first: int, piece: bytes) -> bytes:
    """Put a piece in the place of a word or a sign."""
    tokens = list(TOKEN.finditer(data[:65_536]))
    if not tokens:
        return piece
    token = tokens[len(tokens) * first // 10_000]
    return data[: token.start()] + piece + data[token.end() :]


def _repeated(data: bytes, first: int, second: int) -> bytes:
    """Write a line many times."""
    rows = data.splitlines(keepends=True)
    at = len(rows) * first // 10_000
    row = (rows[at : at + 1] or [b""])[0]
    again = min(2 + second % 2_000, 2 + LARGEST // (len(row) + 1))
    return b"".join((*rows[:at], row * again, *rows[at + 1 :]))


# --- documents ----------------------------------------------------------------------------------------------


def documents(samples: Sequence[Any], *, most: int = 3) -> st.SearchStrategy[bytes]:
    """Return one of the documents as JSON (which is YAML, too), changed where it branches, then as bytes."""

    @st.composite
    def case(draw: st.DrawFn) -> bytes:
        made = copy.deepcopy(samples[draw(st.integers(0, len(samples) - 1))])
        for _ in range(draw(st.integers(0, most))):
            value = VALUES[draw(st.integers(0, len(VALUES) - 1))]
            made = _branched(made, draw(FRACTION), value, draw(st.integers(0, 5)))
        text = json.dumps(made).replace(f'"{DIGITS}"', "9" * 5_000)
        data = text.replace(f'"{DEEP}"', "[" * 2_000 + "]" * 2_000).encode("utf-8", "surrogatepass")
        return draw(changed([data], most=1)) if draw(st.integers(0, 3)) == 0 else data[:LARGEST]

    return case()


def _branches(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of everything in a document."""
    todo = [value]
    while todo:
        one = todo.pop()
        keys: Sequence[Any] = (
            list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        )
        for key in keys:
            yield one, key
            todo.append(one[key])


def _branched(document: Any, place: int, value: Any, how: int) -> Any:
    branches = list(_branches(document))
    if not branches:
        return copy.deepcopy(value)
    holder, key = branches[len(branches) * place // 10_000]
    if how == 0:
        del holder[key]
    elif how == 1:
        holder[key] = [holder[key]]
    elif how == 2 and isinstance(holder, dict) and isinstance(value, str):
        holder[value] = holder.pop(key)
    else:
        holder[key] = copy.deepcopy(value)
    return document


# --- archives -----------------------------------------------------------------------------------------------

NAMES = (
    "a", "./a", "a/b", "../a", "/a", "a/../../b", "", ".", "..", "a\\b", "x" * 300, "é", "\udcff", "a\n",
    "metadata.json", "box.img", "disk.raw", "box.ovf", "oci-layout", "index.json", "out/x", "log", "ova.xml",
    "include/a",
)  # fmt: skip
KINDS = (
    tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE,
    tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME,
    tarfile.XHDTYPE, b"Z",
)  # fmt: skip
CONTENTS = (b"", b"x", b"{}", b'{"provider": "libvirt"}', b"30 path=a\0b\n", b"19 size=-1\n", b"\0" * 4096)


def tars(members: Sequence[tuple[str, bytes]]) -> st.SearchStrategy[bytes]:
    """Return a tar archive with those members and hostile ones, then changed as bytes."""
    return st.composite(lambda draw: _tar(draw, members))()


def _tar(draw: st.DrawFn, members: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    odd = st.tuples(
        st.sampled_from(NAMES), st.sampled_from(KINDS), st.sampled_from(CONTENTS), st.sampled_from(NAMES)
    )
    with tarfile.open(
        fileobj=buffer, mode="w", format=draw(st.sampled_from((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)))
    ) as tar:
        for name, content in members:
            _add(tar, name, tarfile.REGTYPE, content, "")
        for name, kind, content, target in draw(st.lists(odd, max_size=3)):
            _add(tar, name, kind, content, target)
    return draw(changed([buffer.getvalue()], most=2))


def _add(tar: tarfile.TarFile, name: str, kind: bytes, content: bytes, target: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(content)
    tar.addfile(info, io.BytesIO(content))


def packed(strategy: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Return the same in gzip, sometimes cut or damaged."""
    return strategy.map(lambda data: gzip.compress(data, 1, mtime=0)).flatmap(
        lambda data: changed([data], most=1)
    )
