"""Every reader of what comes from outside stands hostile content; and the bench that says so sees what does
not.
"""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from imagebuild.errors import BuildError
from tests.fuzz import bench, room_config, room_formats, room_guest, room_menus, room_publish, room_store
from tests.fuzz.bench import Reader

ROOMS = (room_config, room_formats, room_guest, room_menus, room_publish, room_store)
READERS = [reader for room in ROOMS for reader in room.READERS]


@pytest.mark.parametrize("reader", READERS, ids=[reader.name for reader in READERS])
def test_a_reader_stands_hostile_content(reader: Reader, tmp_path: Path) -> None:
    found = bench.problems(reader, tmp_path)
    assert not found, "\n\n".join(found)


# --- the bench itself: it sees what a reader must not do ----------------------------------------------------


def _crash(_data: bytes, _place: Path) -> object:
    return dict[str, object]()["x"]


def _spin(_data: bytes, _place: Path) -> object:
    while True:
        pass


def _eat(_data: bytes, _place: Path) -> object:
    return [bytearray(100 << 20) for _ in range(6)]


def _write(_data: bytes, place: Path) -> object:
    return (place.parent.parent.parent / "elsewhere").write_text("x")


def _link(_data: bytes, place: Path) -> object:
    Path(f"/tmp/{place.parent.parent.name}").symlink_to("x")
    return None


def _connect(_data: bytes, _place: Path) -> object:
    with socket.create_connection(("127.0.0.1", 9), timeout=1) as line:
        return line


def _mumble(_data: bytes, _place: Path) -> object:
    raise BuildError("a half of a pair: \ud800")


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (_crash, "KeyError"), (_spin, "HangError"), (_eat, "MemoryError"), (_write, "EscapeError: open"),
        (_link, "EscapeError: os.symlink"), (_connect, "EscapeError: socket"), (_mumble, "cannot be printed"),
    ],
)  # fmt: skip
def test_what_a_reader_must_not_do_is_seen(
    read: Callable[[bytes, Path], object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if says == "HangError":
        monkeypatch.setattr(bench, "SECONDS", 0.3)
    monkeypatch.setattr(bench, "CASES", 1)
    (found,) = bench.problems(Reader(name="x", read=read, contents=st.just(b"")), tmp_path)
    assert says in found


def test_what_it_may_do_is_not(tmp_path: Path) -> None:
    def good(data: bytes, place: Path) -> object:
        (place / "x").write_bytes(data)
        (place / "x").unlink()
        if data:
            raise BuildError("refused")
        return None

    assert not bench.problems(Reader(name="x", read=good, contents=st.binary(max_size=2), cases=5), tmp_path)


def test_the_names_of_readers_tell_them_apart() -> None:
    assert len({reader.name for reader in READERS}) == len(READERS)
