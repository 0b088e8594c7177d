"""A guest's screen as a picture: whether anything is on it, and whether it is still what it was.

QEMU writes portable pixmaps (ppm(5), P6: width, height, greatest value, three bytes a pixel; QEMU 10.0,
ui/console.c and qmp screendump).
"""

from dataclasses import dataclass

# a countdown changes one line of text, a cursor two; what follows a menu changes the screen
SAME_SHARE = 0.2
# an empty screen has one colour, perhaps with a cursor: a line of text is more than that
PRINTED_SHARE = 0.02


@dataclass(frozen=True)
class Picture:
    """A picture by its rows of pixels."""

    width: int
    rows: tuple[bytes, ...]

    @property
    def blank(self) -> bool:
        """Whether there is nothing but one colour, and at most a cursor, on it."""
        printed = sum(
            1 for row in self.rows if row.count(row[:3]) * 3 != len(row) or row[:3] != self.rows[0][:3]
        )
        return not self.rows or printed <= PRINTED_SHARE * len(self.rows)

    def like(self, other: "Picture") -> bool:
        """Whether another picture is of the same size, and most rows are the same."""
        if (self.width, len(self.rows)) != (other.width, len(other.rows)):
            return False
        return sum(
            mine != theirs for mine, theirs in zip(self.rows, other.rows, strict=True)
        ) <= SAME_SHARE * len(self.rows)


def read(data: bytes) -> Picture | None:
    """Return the picture of a portable pixmap as QEMU writes it; None for anything else."""
    head = data[:64].split(maxsplit=4)
    if len(head) < 4 or head[0] != b"P6" or not all(word.isdigit() for word in head[1:4]):
        return None
    width, height, size = int(head[1]), int(head[2]), 3 * int(head[1]) * int(head[2])
    pixels = data[len(data) - size :]
    if not size or len(data) <= size:
        return None
    return Picture(
        width=width,
        rows=tuple(pixels[start : start + 3 * width] for start in range(0, 3 * width * height, 3 * width)),
    )
