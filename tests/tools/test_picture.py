"""A screen as a picture: what is a menu that stands still, and what is not."""

import pytest

from imagebuild.tools import picture
from imagebuild.tools.picture import Picture

WIDTH, HEIGHT = 64, 100
BLACK, GREY = b"\0\0\0", b"\x80\x80\x80"


def ppm(rows: list[bytes]) -> bytes:
    """As QEMU 10.0 writes it (ui/console.c: `P6\\n%d %d\\n%d\\n`)."""
    return b"P6\n%d %d\n255\n" % (WIDTH, len(rows)) + b"".join(rows)


def shown(lines: dict[int, bytes], *, background: bytes = BLACK, height: int = HEIGHT) -> Picture:
    """A screen with something in the middle of some of its rows."""
    rows = [background * WIDTH] * height
    for number, colour in lines.items():
        rows[number] = background * 10 + colour * 20 + background * (WIDTH - 30)
    found = picture.read(ppm(rows))
    assert found is not None
    return found


MENU = shown(dict.fromkeys(range(20, 70), GREY))


@pytest.mark.parametrize(
    ("screen", "blank"),
    [
        (MENU, False),
        (shown({}), True),
        (shown({}, background=GREY), True),
        (shown({0: GREY}), True),  # a cursor in a corner
        (shown(dict.fromkeys(range(8), GREY)), False),  # one line of text
    ],
)
def test_an_empty_screen_is_no_menu(screen: Picture, blank: bool) -> None:
    assert screen.blank is blank


@pytest.mark.parametrize(
    ("screen", "like"),
    [
        (MENU, True),
        # the countdown's line
        (shown(dict.fromkeys(range(20, 60), GREY) | dict.fromkeys(range(60, 70), b"\xff\xff\xff")), True),
        (shown({}), False),
        (shown(dict.fromkeys(range(5), GREY)), False),  # what the kernel begins to write
        (shown(dict.fromkeys(range(20, 70), GREY), height=50 + HEIGHT), False),  # another mode
    ],
)
def test_a_countdown_does_not_make_another_picture(screen: Picture, like: bool) -> None:
    assert MENU.like(screen) is like
    assert screen.like(MENU) is like


@pytest.mark.parametrize(
    "data",
    [b"", b"P6\n", b"P5\n2 2\n255\n0000", b"P6\n64 100\n255\n", b"\x89PNG\r\n", b"P6\n-1 2\n255\n00000000"],
)
def test_what_is_no_picture_is_none(data: bytes) -> None:
    assert picture.read(data) is None
