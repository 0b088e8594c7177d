"""Under Secure Boot each refuses the next: the firmware, shim and GRUB, with real signatures of Debian's.

What they say is in a sentence at once; what is signed starts its kernel, locked down.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke.boot import Watched, follow_boot
from imagebuild.tools import ssh
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu.machine import MIB, Machine
from imagebuild.tools.qemu.running import started
from tests import signed_parts as parts
from tests.signed_disk import write_disk

TCG = Accelerator(name="tcg", slowness=10.0, reason="test")


def boot(disk: Path, place: Path) -> Watched:
    port = ssh.free_port()
    machine = Machine(
        disk=disk,
        controller=Controller.VIRTIO,
        firmware=Firmware.UEFI_SECURE,
        cores=1,
        memory=1024 * MIB,
        forward={port: 22},
    )
    serial = place / "serial.log"
    with started(machine, TCG, serial) as running:
        return follow_boot(running, port, place, cores=1, slowness=TCG.slowness, serial=serial)


def unsigned_shim(esp: Mapping[str, bytes], _: Path) -> Mapping[str, bytes]:
    return parts.changed(esp, "BOOTX64.EFI", (parts.SHIM_PLACE / "shimx64.efi").read_bytes())


def foreign_grub(esp: Mapping[str, bytes], place: Path) -> Mapping[str, bytes]:
    return parts.changed(esp, "grubx64.efi", parts.signed_by_nobody(parts.GRUB, place))


def changed_grub(esp: Mapping[str, bytes], _: Path) -> Mapping[str, bytes]:
    return parts.changed(esp, "grubx64.efi", parts.flipped(parts.GRUB.read_bytes()))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (unsigned_shim, "the firmware refuses the boot loader"),
        (foreign_grub, "shim refuses GRUB"),
        (changed_grub, "shim refuses GRUB"),
    ],
)
def test_a_loader_that_nobody_signed_is_refused_in_a_sentence_at_once(
    change: Callable[[Mapping[str, bytes], Path], Mapping[str, bytes]], sentence: str, tmp_path: Path
) -> None:
    disk = write_disk(change(parts.esp(), tmp_path), parts.kernel(), tmp_path)
    begun = time.monotonic()
    watched = boot(disk, tmp_path)
    assert f": {sentence}" in (watched.problem or "")
    assert not watched.rig
    # before nothing moves for as long as makes a hang
    assert time.monotonic() - begun < 250


def test_a_kernel_with_one_byte_changed_is_refused_by_grub(tmp_path: Path) -> None:
    disk = write_disk(parts.esp(), parts.flipped(parts.kernel()), tmp_path)
    watched = boot(disk, tmp_path)
    assert ": GRUB refuses the kernel" in (watched.problem or "")
    assert not watched.rig


def test_what_debian_signed_starts_its_kernel_locked_down(tmp_path: Path) -> None:
    watched = boot(write_disk(parts.esp(), parts.kernel(), tmp_path), tmp_path)
    console = (tmp_path / "serial.log").read_text(errors="replace")
    assert "the kernel panicked" in (watched.problem or "")
    assert "Kernel is locked down from EFI Secure Boot" in console
