"""An ext4 file system inside a disk image, looked at by e2fsprogs: no device, no mount, no root.

Its programs take `FILE?offset=BYTES` for a device (e2fsprogs, lib/ext2fs/unix_io.c, unix_set_option).
"""

import re
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command, temporary

# e2fsck(8), EXIT CODE: errors were corrected
CORRECTED = 1
SUPERBLOCK = 1024
# EXT4_VERITY_FL
VERITY = 0x100000
# what e2fsck says of a file system that was mounted, and around everything it says (e2fsck/unix.c, pass1.c …)
ORPHAN_PRESENT = "Feature orphan_present is set but orphan file is clean."
BENIGN = re.compile(
    rf"{re.escape(ORPHAN_PRESENT)}|Clear\? no|e2fsck [\d.]+ \(.*\)|Pass [1-5]: .*"
    r"|.*\*{10} WARNING: Filesystem still has errors \*{10}|.*: \d+/\d+ files \(.*\), \d+/\d+ blocks"
)
# what debugfs(8) takes as one word, in quotes
PATH = re.compile(r"[\w@%+=:,./ -]+", re.ASCII)


def replay(device: Path) -> str | None:
    """Replay the journal of a file system that a file or device begins with, as a kernel does at a mount;
    return what says that more than that was wrong, None when nothing was.

    There is no offset: e2fsck 1.47.0 forgets it when it opens the file system again after the replay.
    """
    status, said = command.status(["e2fsck", "-E", "journal_only", "-y", str(device)])
    return None if status <= CORRECTED else _tail(said)


def problems(disk: Path, offset: int = 0) -> str | None:
    """Return what e2fsck finds wrong, without changing anything; None when it finds nothing.

    A file system with an orphan file that was mounted when the power went says so, and is whole: the next
    mount clears that (e2fsprogs 1.47.0, e2fsck/problem.c: what it corrects without asking).
    """
    status, said = command.status(["e2fsck", "-fn", _device(disk, offset)])
    found = [line for line in said.splitlines() if line.strip() and not BENIGN.fullmatch(line)]
    return None if status == 0 or (ORPHAN_PRESENT in said and not found) else _tail(said)


def list_directory(disk: Path, path: str, offset: int = 0) -> list[str]:
    """Return the names in a directory; none when it is not there. Raises BuildError for a path that debugfs
    would not take as one word.
    """
    # `ls -p`: /inode/mode/uid/gid/name/size/
    rows = [line.split("/") for line in _debugfs(disk, "ls -p", path, offset).decode().splitlines()]
    return [row[5] for row in rows if len(row) > 6 and row[5] not in (".", "..")]


def read_file(disk: Path, path: str, offset: int = 0) -> bytes:
    """Return the content of a file; empty when there is none. Raises BuildError as `list_directory`."""
    return _debugfs(disk, "cat", path, offset)


def describe(disk: Path, path: str, offset: int = 0) -> str:
    """Return all that an inode says: times, size, where its blocks are; empty when there is none."""
    return _debugfs(disk, "stat", path, offset).decode("utf-8", "replace")


def is_regular(disk: Path, path: str, offset: int = 0) -> bool:
    """Whether there is a regular file that is not empty (debugfs(8), `stat`)."""
    said = describe(disk, path, offset)
    # a fragment has a size, too
    size = re.search(r"^User:.*\bSize: (\d+)$", said, re.MULTILINE)
    return "Type: regular" in said and size is not None and size.group(1) != "0"


def has_verity(disk: Path, path: str, offset: int = 0) -> bool:
    """Whether the kernel checks what is read from a file (EXT4_VERITY_FL of i_flags; ext4(5), Linux
    fs/ext4/ext4.h).
    """
    flags = re.search(r"\bFlags: (0x[0-9a-f]+)", describe(disk, path, offset))
    return flags is not None and bool(int(flags.group(1), 16) & VERITY)


def content_begins(disk: Path, path: str, offset: int = 0) -> int | None:
    """Return where on the disk a file's first block lies, in bytes; None when it has none (debugfs(8),
    `bmap`; Linux, Documentation/filesystems/ext4/super.rst, s_log_block_size).
    """
    said = _debugfs(disk, "bmap", path, offset, " 0").decode("utf-8", "replace").strip()
    block = int(said) if said.isdecimal() else 0
    with disk.open("rb") as stream:
        stream.seek(offset + SUPERBLOCK + 0x18)
        size = 1024 << int.from_bytes(stream.read(4), "little")
    return offset + block * size if block else None


def _debugfs(disk: Path, verb: str, path: str, offset: int, more: str = "") -> bytes:
    if not PATH.fullmatch(path):
        raise BuildError(f"debugfs cannot be asked for {path!r}")
    # -n: what waits in a journal to be replayed may make checksums wrong, which no boot loader looks at.
    # What it prints is a file's content, not text
    with temporary.file("content") as content:
        with content.open("wb") as stream:
            command.run(
                ["debugfs", "-n", "-R", f'{verb} "{path}"{more}', _device(disk, offset)],
                stdout=stream,
                quiet=True,
            )
        return content.read_bytes()


def _device(disk: Path, offset: int) -> str:
    return f"{disk}?offset={offset}" if offset else str(disk)


def _tail(said: str) -> str:
    return "; ".join(line for line in said.strip().splitlines()[-8:] if line)
