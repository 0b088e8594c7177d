"""An object is changed below the file system, on a copy of the host's disk: real ext4, made by mke2fs."""

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imagebuild.deploy.disk_map import read_map
from imagebuild.smoke import changed_object
from imagebuild.smoke.host.errors import NotTestedError, RigError
from imagebuild.smoke.host.roots import MEASURE
from imagebuild.smoke.stops import ReadAgain
from imagebuild.tools import ext4
from imagebuild.tools.qemu import disk_image
from tests.smoke.boot_disks import START, make_disk
from tests.smoke.healthy_host import broken_host
from tests.smoke.trials import trial

CHECKSUM = "ab" + "12" * 31
PLACE = f"/ostree/repo/objects/ab/{CHECKSUM[2:]}.file"
CONTENT = b"content of an object\n"


def disk_with(place: Path, content: bytes | None) -> Path:
    """A disk whose only file system has that object."""
    objects = place / "root/ostree/repo/objects/ab"
    objects.mkdir(parents=True)
    if content is not None:
        (objects / f"{CHECKSUM[2:]}.file").write_bytes(content)
    return make_disk(place / "root", place / "disk.raw")


def test_one_byte_becomes_another_and_nothing_else(tmp_path: Path) -> None:
    disk = disk_with(tmp_path, CONTENT)
    before = disk.read_bytes()
    stat = ext4.describe(disk, PLACE, START)
    changed_object.change_object(disk, CHECKSUM)
    after = disk.read_bytes()
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1
    assert ext4.read_file(disk, PLACE, START) == bytes([CONTENT[0] ^ 0xFF]) + CONTENT[1:]
    assert ext4.describe(disk, PLACE, START) == stat, "no kernel can tell by the inode"


@pytest.mark.parametrize("content", [None, b""])
def test_an_object_without_a_place_is_not_tested(content: bytes | None, tmp_path: Path) -> None:
    disk = disk_with(tmp_path, content)
    with pytest.raises(NotTestedError, match="is not on an ext4 file system"):
        changed_object.change_object(disk, CHECKSUM)


class FakeGuest:
    """A guest whose disk is an overlay of nothing."""

    def __init__(self, raw: Path) -> None:
        self.host, self.done = broken_host({"sync": ""}), list[str]()
        self.overlay = raw.with_name("overlay.qcow2")
        disk_image.convert(raw, "raw", self.overlay, "qcow2")
        self.running: Any = self

    def pause(self) -> None:
        self.done.append("pause")

    def resume(self) -> None:
        self.done.append("resume")

    def flush(self) -> None:
        self.done.append("flush")


@pytest.mark.parametrize(("problem", "rig"), [("", False), ("it hung", False), ("QEMU broke", True)])
def test_the_host_itself_keeps_its_object(
    problem: str, rig: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is booted is the copy; the guest that it was made of stands still, and goes on afterwards."""
    machine: Any = FakeGuest(disk_with(tmp_path, CONTENT))
    booted: list[bytes] = []

    @contextmanager
    def guest(tried: Any, evidence: Path, **_: Any) -> Any:
        assert "resume" not in machine.done, "one guest at a time"
        assert (tried.subject.format, evidence.name) == ("raw", "changed-object")
        booted.append(ext4.read_file(tried.subject.disk, PLACE, START))
        host = None if problem else broken_host({"cat /usr/share/x": None})
        yield None, type("Boot", (), {"host": host, "problem": problem, "rig": rig})

    monkeypatch.setattr(changed_object, "guest", guest)
    work = tmp_path / "work"
    work.mkdir()

    def read() -> ReadAgain:
        made = trial(tmp_path)
        return changed_object.read_changed(made, work, machine, "/usr/share/x", CHECKSUM, {})

    if rig:
        with pytest.raises(RigError, match="QEMU broke"):
            read()
    else:
        again = read()
        assert again.problem == (problem or None)
        assert (again.answer.status if again.answer else None) == (None if problem else 1)
    assert booted == [bytes([CONTENT[0] ^ 0xFF]) + CONTENT[1:]]
    assert machine.done == ["pause", "flush", "resume"]
    assert list(work.iterdir()) == [], "a disk of some GiB is not left lying"
    copy = tmp_path / "own.raw"
    disk_image.convert(machine.overlay, "qcow2", copy, "raw")
    assert ext4.read_file(copy, PLACE, START) == CONTENT
    assert any(area.content == "ext4" for area in read_map(copy))


def test_the_kernel_is_asked_for_the_digest_of_a_file(tmp_path: Path) -> None:
    """The program that a host runs: a file without fs-verity has no digest, whatever the kernel."""
    file = tmp_path / "image"
    file.write_bytes(b"x")
    asked = subprocess.run(
        [sys.executable, "-", file], input=MEASURE, capture_output=True, text=True, check=False
    )
    assert (asked.returncode, asked.stdout) == (1, "")
    # errno(3): no such ioctl, not supported here, or no data
    assert re.search(r"OSError: \[Errno (25|95|61)\]", asked.stderr), asked.stderr
