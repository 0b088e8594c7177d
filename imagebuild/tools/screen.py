"""The VGA text screen, where a BIOS and what it starts write: 80 columns, 25 lines, at 0xB8000.

Each cell is two bytes, a character of code page 437 and its colours (IBM VGA, mode 3). SeaBIOS (1.16,
src/boot.c) says there, and nowhere else, that it finds nothing to boot.
"""

ADDRESS, COLUMNS, LINES = 0xB8000, 80, 25
SIZE = 2 * COLUMNS * LINES
# a screen of text is mostly blanks in one colour; what a graphics mode leaves there is not
PLAIN_SHARE = 0.7


def read_text(memory: bytes) -> str:
    """Return what the screen shows, without blank lines at its end; empty when it shows no text."""
    characters, colours = memory[0:SIZE:2], memory[1:SIZE:2]
    if (
        len(colours) < COLUMNS * LINES
        or max(map(colours.count, set(colours))) < PLAIN_SHARE * len(colours)
        or not any(colours)
    ):
        return ""
    if (
        sum(1 for character in characters if 0 < character < 0x20 or character == 0xFF)
        > len(characters) // 10
    ):
        return ""
    text = characters.replace(b"\0", b" ").decode("cp437")
    lines = [text[start : start + COLUMNS].rstrip() for start in range(0, len(text), COLUMNS)]
    return "\n".join(lines).rstrip()
