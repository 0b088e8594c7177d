"""Images that name other files: they are refused before any program opens them, which inotify(7) would
tell.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.tools import command
from imagebuild.tools.qemu import disk_image

IN_OPEN = 0x20


class Watch:
    """Whether a file was opened since."""

    def __init__(self, file: Path) -> None:
        kernel = ctypes.CDLL(None, use_errno=True)
        self._handle = kernel.inotify_init1(os.O_NONBLOCK)
        assert kernel.inotify_add_watch(self._handle, bytes(file), IN_OPEN) >= 0

    def opened(self) -> bool:
        try:
            return bool(os.read(self._handle, 4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._handle)


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[tuple[Path, Watch]]:
    file = tmp_path / "secret"
    file.write_bytes(b"S" * (1 << 20))
    watch = Watch(file)
    yield file, watch
    watch.close()


def described(secret: Path) -> bytes:
    """A vmdk whose header has no capacity: QEMU then reads its embedded description, and opens what that
    names.
    """
    text = '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
    text += f'RW 2048 FLAT "{secret}" 0\n'
    header = b"KDMV" + struct.pack("<IIQQQQI", 1, 3, 0, 128, 1, 20, 512)
    return header.ljust(512, b"\0") + text.encode().ljust(20 * 512, b"\0")


def test_a_vmdk_opens_no_file_of_this_machine(tmp_path: Path, secret: tuple[Path, Watch]) -> None:
    image = tmp_path / "x.vmdk"
    image.write_bytes(described(secret[0]))
    with pytest.raises(BuildError, match="is not whole"):
        disk_image.refuse_outside(image, "vmdk", what="x")
    assert not secret[1].opened()
    # without the look at its header it would have been
    disk_image.info(image, "vmdk")
    assert secret[1].opened()


@pytest.mark.parametrize("option", ["backing_file={},backing_fmt=raw", "data_file={},data_file_raw=on"])
def test_a_qcow2_opens_no_file_of_this_machine(tmp_path: Path, option: str) -> None:
    (tmp_path / "secret").write_bytes(b"S" * (1 << 20))
    image = tmp_path / "x.qcow2"
    command.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", option.format(tmp_path / "secret"), image, "1M"]
    )
    watch = Watch(tmp_path / "secret")
    with pytest.raises(BuildError, match="is not whole"):
        disk_image.refuse_outside(image, "qcow2", what="x")
    assert not watch.opened()
    watch.close()


@pytest.mark.parametrize(
    ("kind", "options"), [("qcow2", ()), ("vmdk", ()), ("vmdk", ("-o", "subformat=streamOptimized"))]
)
def test_what_is_whole_is_taken(tmp_path: Path, kind: str, options: tuple[str, ...]) -> None:
    (tmp_path / "raw").write_bytes(b"x" * (1 << 20))
    command.run(
        ["qemu-img", "convert", "-f", "raw", "-O", kind, *options, tmp_path / "raw", tmp_path / "image"]
    )
    disk_image.refuse_outside(tmp_path / "image", kind, what="x")
