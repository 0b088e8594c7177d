"""Disk images of QEMU's formats: made, converted, looked at and compared (qemu-img(1))."""

import json
import os
import struct
from pathlib import Path
from typing import Any

from imagebuild.errors import BuildError
from imagebuild.tools import command

BLOCK = 64 * 1024
ZEROS = bytes(BLOCK)
# bytes of a header that are looked at; a feature of a qcow2
HEADER, EXTERNAL_DATA = 80, 4
# of a qcow2's backing file (docs/interop/qcow2.txt)
LONGEST_NAME = 1023


def make_overlay(overlay: Path, backing: Path, backing_format: str, *, size: int | None = None) -> None:
    """Make a qcow2 file that reads from `backing` and takes all writes: the artifact itself is never touched.

    `size` (bytes) makes the disk larger than what it reads from.
    """
    more = [str(size)] if size is not None else []
    reads: list[str | Path] = ["-b", backing.absolute(), "-F", backing_format]
    command.run(["qemu-img", "create", "-q", "-f", "qcow2", *reads, overlay, *more])


def point_overlay(overlay: Path, backing: Path, backing_format: str) -> None:
    """Let an overlay (qcow2) read from another file, which must hold the same disk as the one before: only
    the name is written (qemu-img(1), rebase, "unsafe mode").
    """
    name_backing(overlay, str(backing.absolute()), backing_format)


def name_backing(overlay: Path, name: str, backing_format: str) -> None:
    """Write the name of the file that an overlay (qcow2) reads from; one that is relative is so to where the
    overlay lies when it is opened (qemu-img(1), create, "backing_file").
    """
    reads: list[str | Path] = ["-b", name, "-F", backing_format]
    command.run(["qemu-img", "rebase", "-u", "-f", "qcow2", *reads, overlay])


def convert(
    source: Path,
    source_format: str,
    target: Path,
    target_format: str,
    *,
    options: tuple[str, ...] = (),
    compress: bool = False,
) -> None:
    """Convert a disk image (qemu-img(1), convert), in order: the same input gives the same file. Holes stay
    holes.
    """
    formats = ["-f", source_format, "-O", target_format]
    argv: list[str | Path] = ["qemu-img", "convert", *formats, "-T", _cache_for(source), "-m", "8"]
    argv += ["-c"] if compress else []
    argv += ["-o", ",".join(options)] if options else []
    command.run([*argv, source, target])


def _cache_for(source: Path) -> str:
    """Return QEMU's cache mode for what is read once: past the kernel's cache, where its file system can
    (open(2), O_DIRECT: EINVAL where not).
    """
    try:
        os.close(os.open(source, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return "writeback"
    return "none"


def info(image: Path, image_format: str | None = None) -> dict[str, Any]:
    """Return what `qemu-img info` says of an image; name the format of one that is not ours, so that its
    content is not guessed from.
    """
    named = ["-f", image_format] if image_format else []
    argv: list[str | Path] = ["qemu-img", "info", "--output=json", *named, image]
    facts: dict[str, Any] = json.loads(command.run(argv, quiet=True))
    return facts


def chain(image: Path, image_format: str) -> list[Path]:
    """Return an image's file and, one after the other, those that it reads from."""
    argv: list[str | Path] = [
        "qemu-img",
        "info",
        "--output=json",
        "--backing-chain",
        "-f",
        image_format,
        image,
    ]
    return [Path(facts["filename"]) for facts in json.loads(command.run(argv, quiet=True))]


def refuse_outside(disk: Path, disk_format: str, *, what: str) -> None:
    """Raise BuildError for an image that reads from other files: one from elsewhere could name any file of
    this machine.
    """
    named = _named_in_header(disk, disk_format)
    if named is not None:
        raise _not_whole(what, named)
    facts = info(disk, disk_format)
    data = facts.get("format-specific", {}).get("data", {})
    # so could a vmdk that is a description of files
    others = [
        part["filename"] for part in data.get("extents", []) if Path(part["filename"]).name != disk.name
    ]
    outside = (
        facts.get("full-backing-filename")
        or facts.get("backing-filename")
        or data.get("data-file")
        or next(iter(others), None)
    )
    if outside:
        raise _not_whole(what, outside)


def _not_whole(what: str, outside: str) -> BuildError:
    return BuildError(
        f"{what} is not whole: it reads from {outside[:1000]}", hint="qemu-img convert makes it one file"
    )


def _named_in_header(disk: Path, disk_format: str) -> str | None:
    """Return what an image reads from besides itself, as its header says; None for nothing.

    `qemu-img info` opens what a vmdk's description names, and QEMU before 9.0 what a qcow2 names for its data
    (CVE-2024-4467): so the header is looked at before.

    qcow2: QEMU 10.0, docs/interop/qcow2.txt (backing_file_offset; incompatible features, bit 2). vmdk: QEMU
    10.0, block/vmdk.c, vmdk_open_vmdk4: an extent without capacity is only a description.
    """
    with disk.open("rb") as stream:
        head = stream.read(HEADER).ljust(HEADER, b"\0")
    if disk_format == "qcow2":
        version, backing, length = struct.unpack_from(">IQI", head, 4)
        if backing:
            return _text_at(disk, backing, min(length, LONGEST_NAME))
        return "a file of data" if version > 2 and head[79] & EXTERNAL_DATA else None
    is_description = disk_format == "vmdk" and (head[:4] != b"KDMV" or head[12:20] == bytes(8))
    return "the files that it describes" if is_description else None


def _text_at(disk: Path, place: int, length: int) -> str:
    with disk.open("rb") as stream:
        stream.seek(min(place, stream.seek(0, os.SEEK_END)))
        return stream.read(length).decode("utf-8", "replace") or "another file"


def compare(one: Path, one_format: str, other: Path, other_format: str) -> tuple[bool, str]:
    """Return whether two images hold the same disk, byte by byte, and what `qemu-img compare` said (a longer
    one may end in zeros).
    """
    status, said = command.status(["qemu-img", "compare", "-f", one_format, "-F", other_format, one, other])
    return status == 0, said.strip().replace("\n", "; ")


def content_size(image: Path, image_format: str) -> int:
    """Return how many bytes of the disk that an image holds are not empty, in blocks of 64 KiB: what holds
    nothing but zeros does not count, whether it is a hole on this machine or not.
    """
    argv: list[str | Path] = ["qemu-img", "map", "--output=json", "-f", image_format, image]
    layers, used = chain(image, image_format), set[int]()
    for extent in json.loads(command.run(argv, quiet=True)):
        if extent["data"] and not extent["zero"]:
            used |= _used_blocks(layers[extent["depth"]], extent)
    return len(used) * BLOCK


def _used_blocks(file: Path, extent: dict[str, Any]) -> set[int]:
    """Return the numbers of the disk's blocks in which an extent (qemu-img(1), map) in a file has anything
    but zeros.
    """
    start, end = int(extent["start"]), int(extent["start"]) + int(extent["length"])
    numbers = range(start // BLOCK, -(-end // BLOCK))
    if "offset" not in extent:
        # compressed
        return set(numbers)
    found, inside = set[int](), int(extent["offset"]) - start
    with file.open("rb") as stream:
        for number in numbers:
            first, last = max(start, number * BLOCK), min(end, (number + 1) * BLOCK)
            data = os.pread(stream.fileno(), last - first, first + inside)
            if data != ZEROS[: len(data)]:
                found.add(number)
    return found


def virtual_size(image: Path, image_format: str) -> int:
    """Return the size in bytes of the disk that an image holds."""
    return int(info(image, image_format)["virtual-size"])
