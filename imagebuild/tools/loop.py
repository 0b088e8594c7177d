"""Loop devices at offsets of a disk image, gone by themselves when nobody uses them (loop(4)).

The kernel here need not know partitions inside loop devices: each part gets a device of its own.
"""

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from imagebuild.errors import BuildError

# linux/loop.h
LOOP_CTL_GET_FREE = 0x4C82
LOOP_SET_FD = 0x4C00
LOOP_CLR_FD = 0x4C01
LOOP_SET_STATUS64 = 0x4C04
LO_FLAGS_READ_ONLY = 1
LO_FLAGS_AUTOCLEAR = 4
# struct loop_info64: device, inode, rdevice, offset, sizelimit, number, encrypt type, key size, flags, file
# name, crypt name, key, init
LOOP_INFO64 = struct.Struct("=QQQQQIIII64s64s32sQQ")
TRIES = 20


@contextlib.contextmanager
def attached(file: Path, *, offset: int = 0, size: int = 0, read_only: bool = False) -> Iterator[Path]:
    """Attach `size` bytes (0: to the end) of a file from `offset` to a free loop device; yield its path, such
    as /dev/loop3.

    The device detaches when the block has ended and nothing has it mounted, also after `kill -9`. Raises
    BuildError.
    """
    backing = os.open(file, os.O_RDONLY if read_only else os.O_RDWR)
    try:
        device, descriptor = _claim(backing, file)
    finally:
        os.close(backing)
    try:
        flags = LO_FLAGS_AUTOCLEAR | (LO_FLAGS_READ_ONLY if read_only else 0)
        name = str(file).encode()[:63]
        fcntl.ioctl(
            descriptor,
            LOOP_SET_STATUS64,
            LOOP_INFO64.pack(0, 0, 0, offset, size, 0, 0, 0, flags, name, b"", b"", 0, 0),
        )
        yield device
    finally:
        os.close(descriptor)


def _claim(backing: int, file: Path) -> tuple[Path, int]:
    for _ in range(TRIES):
        try:
            with open("/dev/loop-control", "rb", buffering=0) as control:  # noqa: PTH123  # a device
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            device = Path(f"/dev/loop{number}")
            if not device.exists():
                os.mknod(device, 0o060600, os.makedev(7, number))
            descriptor = os.open(device, os.O_RDWR)
        except OSError as error:
            hint = "use --populate=appliance, which needs no loop devices"
            raise BuildError(f"no loop device for {file}: {error}", hint=hint) from error
        try:
            fcntl.ioctl(descriptor, LOOP_SET_FD, backing)
        except OSError as error:
            os.close(descriptor)
            if error.errno == errno.EBUSY:
                continue  # somebody was faster
            raise BuildError(f"{device} does not accept {file}: {error}") from error
        return device, descriptor
    raise BuildError(
        f"no free loop device for {file} after {TRIES} tries",
        hint="look at `losetup -l`, or use --populate=appliance",
    )
