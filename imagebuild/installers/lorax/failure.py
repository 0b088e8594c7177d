"""Why lorax failed: what it and its programs said, with every continuation line; and whether a disk was
full.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from itertools import dropwhile, takewhile
from pathlib import Path

MIB, GIB = 1 << 20, 1 << 30
MOST_LINES = 40
PROGRAM_LINES = 8
# how a record begins: in lorax' files (pylorax.setup_logging: "%(asctime)s %(levelname)s %(name)s:
# %(message)s"), and as our child prints it
RECORD = re.compile(r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ )?([A-Z]{4,}) ([\w.]+): (.*)$")
# what it runs when it leaves a mounted image, however that went (src/pylorax/imgutils.py)
TIDYING = re.compile(r"Running\.\.\. (?:\S*/)?(?:umount|losetup|fuser|dmsetup|kpartx)\b")
BAD = ("ERROR", "CRITICAL", "FATAL")
# errno's text; rpm ("installing package X needs 20MB on the / filesystem", newer "more space", or inodes;
# lib/rpmprob.c), dnf's summary of it, and curl's error 23
FULL = re.compile(
    r"No space left on device|needs \d+\s?(?:[KMG]B|inodes) (?:more space )?on the|At least \d+\s?[KMG]B more"
    r" space needed|Curl error \(23\)|Disk quota exceeded"
)
# a file system with less than this has been full, even if something was removed since
ROOM = 256 * MIB


def errors_in(text: str) -> list[str]:
    """Return what was logged as an error, the lines that go on with it included, without what stands before
    the message.
    """
    lines: list[str] = []
    bad = False
    for line in text.splitlines():
        match = RECORD.match(line)
        if match is not None:
            bad = match[1] in BAD
        if bad and line.strip():
            lines.append(match[3] if match is not None else line)
    return list(dict.fromkeys(lines))[-MOST_LINES:]


def last_words(text: str) -> list[str]:
    """Return the exception that a program ended with, which stands under its traceback; empty when there is
    none.
    """
    _, _, rest = text.rpartition("Traceback (most recent call last)")
    if rest == text:
        return []
    lines = list(dropwhile(lambda line: not line.strip() or line.startswith((" ", ":")), rest.splitlines()))
    return [line for line in takewhile(lambda line: RECORD.match(line) is None, lines) if line.strip()][
        :MOST_LINES
    ]


def reason(logs: Path, said: str) -> str:
    """Return lorax's own reason, and the last lines of the program that it ran last, indented."""
    own = errors_in(_read(logs / "lorax.log")) or errors_in(_read(logs / "dnf.log"))
    # what our child says of itself, and how the command ended, follow lorax's own words, unless they say them
    # again
    others = [line for line in (*errors_in(said), *last_words(said)) if line not in own]
    new = [line for line in others if not any((line.partition(": ")[2] or line) in word for word in own)]
    lines = own + new or [line for line in said.splitlines() if line.strip()][-5:]
    return "\n".join(f"    {line}" for line in [*lines, *_last_program(_read(logs / "program.log"))])


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _last_program(text: str) -> list[str]:
    """Return what the program said that lorax ran last, before it tidied up (pylorax.executils writes
    "Running... ARGV", output, "Return code: N").
    """
    blocks: list[list[str]] = [[]]
    for line in (RECORD.sub(r"\3", line) for line in text.splitlines()):
        if line.startswith("Running... "):
            blocks.append([])
        blocks[-1] += [line] if line.strip() else []
    working = [block for block in blocks if block and not TIDYING.match(block[0])]
    return working[-1][-PROGRAM_LINES:] if working else []


def sources_named(text: str, sources: Sequence[str], mirrors: Sequence[str]) -> str:
    """Return lines with the URLs of the sources that lorax named by number (lorax-repo-0, lorax-mirrorlist-0:
    get_dnf_base_object).
    """
    numbered = {f"lorax-repo-{number}": url for number, url in enumerate(sources)}
    numbered |= {f"lorax-mirrorlist-{number}": url for number, url in enumerate(mirrors)}
    named = {name: url for name, url in numbered.items() if re.search(rf"{name}(?!\d)", text)}
    if not named and re.search(
        r"package sources cannot be used|unable to create the dnf base object|fetching metadata", text
    ):
        named = numbered
    return "".join(f"\n    {name} is {url}" for name, url in named.items())


def full_disk(text: str, places: Mapping[str, Path]) -> str | None:
    """Return what was full, as a sentence, when that is why lorax failed; `places`: what is configured -> a
    directory there.
    """
    if not FULL.search(text):
        return None
    for what, directory in places.items():
        if shutil.disk_usage(directory).free < ROOM:
            return f"the file system of {what} ({directory}) is full"
    return "the installer's root file system is too small: installer.lorax.rootfs_size"


def not_enough(needs: Mapping[Path, Mapping[str, int]], names: Mapping[Path, str]) -> str | None:
    """Return what lorax needs where, and what there is, as a sentence, when something does not fit; `needs`:
    directory -> what for -> bytes.

    Directories of one file system share its room.
    """
    devices: dict[int, list[Path]] = {}
    for directory in needs:
        devices.setdefault(directory.stat().st_dev, []).append(directory)
    for places in devices.values():
        parts = {what: size for directory in places for what, size in needs[directory].items()}
        free, wanted = shutil.disk_usage(places[0]).free, sum(parts.values())
        if wanted > free:
            where = " and ".join(f"{names[directory]} ({directory})" for directory in places)
            told = ", ".join(f"{size / GIB:.1f} GiB for {what}" for what, size in parts.items())
            return (
                f"lorax needs {wanted / GIB:.1f} GiB in {where}, where {free / GIB:.1f} GiB are free: {told}"
            )
    return None
