"""A disk with nothing on it: each firmware's words for that are seen at once, wherever it writes them."""

import re
import time
from pathlib import Path

import pytest

from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke.boot import follow_boot
from imagebuild.smoke.boot_menu import InstallationError, choose_entry
from imagebuild.smoke.installation import InstallerBench, powered_on
from imagebuild.tools import command, ssh
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu.machine import Machine
from imagebuild.tools.qemu.running import started

TCG = Accelerator(name="tcg", slowness=10.0, reason="test")


@pytest.mark.parametrize("firmware", Firmware)
def test_a_firmware_that_finds_nothing_to_boot_is_seen_at_once(firmware: Firmware, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    command.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"])
    port = ssh.free_port()
    machine = Machine(
        disk=disk,
        controller=Controller.VIRTIO,
        firmware=firmware,
        cores=1,
        memory=256 << 20,
        forward={port: 22},
    )
    with started(machine, TCG, tmp_path / "serial.log") as running:
        begun = time.monotonic()
        watched = follow_boot(
            running, port, tmp_path, cores=1, slowness=TCG.slowness, serial=tmp_path / "serial.log"
        )
        # within the stall limit it would be chance
        assert time.monotonic() - begun < 200
    assert "the firmware found nothing to boot" in (watched.problem or "")
    assert not watched.rig
    assert (firmware is Firmware.BIOS) == (tmp_path / "screen.txt").exists()
    if firmware is Firmware.BIOS:
        # whichever the look came upon: the second comes after the network was tried, too
        assert re.search("not a bootable disk|No bootable device", (tmp_path / "screen.txt").read_text())


def test_a_medium_that_no_bios_boots_is_seen_at_once(tmp_path: Path) -> None:
    iso = tmp_path / "empty.iso"
    iso.write_bytes(bytes(2 << 20))
    bench = InstallerBench(
        iso=iso, firmware=Firmware.BIOS, accelerator=TCG, cores=1, memory=256 << 20, disk_size=64 << 20
    )
    with powered_on(bench, tmp_path / "disk.qcow2", tmp_path / "serial.log") as running:
        begun = time.monotonic()
        with pytest.raises(InstallationError, match="the firmware found nothing to boot"):
            choose_entry(running, "u", TCG.slowness)
        assert time.monotonic() - begun < 200
