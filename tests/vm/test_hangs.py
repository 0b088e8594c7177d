"""A real kernel that says nothing any more, and a QEMU that cannot start: both are told from a broken
image.
"""

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke import boot
from imagebuild.smoke.boot import follow_boot
from imagebuild.tools import accelerator, command, ssh
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu.machine import Kernel, Machine
from imagebuild.tools.qemu.running import started

TCG = Accelerator(name="tcg", slowness=1.0, reason="test")


BARE = Machine(disk=None, controller=Controller.VIRTIO, firmware=Firmware.BIOS, cores=1, memory=256 << 20)


def machine(**more: Any) -> Machine:
    return replace(BARE, **more)


@pytest.mark.skipif(not os.access("/boot", os.R_OK), reason="no kernel to be read")
def test_a_kernel_that_says_nothing_with_a_busy_processor_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first program never ends and never speaks: from outside that is a kernel that spins."""
    monkeypatch.setattr(boot, "STALL_SECONDS", 5.0)
    root = tmp_path / "root"
    root.mkdir()
    (root / "busybox").write_bytes(command.require("busybox").read_bytes())
    (root / "init").write_text("#!/busybox sh\nwhile :; do :; done\n")
    for name in ("busybox", "init"):
        (root / name).chmod(0o755)
    initrd = tmp_path / "initrd"
    with initrd.open("wb") as stream:
        command.run(
            ["sh", "-c", "printf 'busybox\\ninit\\n' | busybox cpio -o -H newc"], stdout=stream, cwd=root
        )
    kernel = Kernel(file=accelerator._builder_kernel(), initrd=initrd, arguments="console=ttyS0")
    serial = tmp_path / "serial.log"
    with started(machine(kernel=kernel), TCG, serial) as running:
        watched = follow_boot(running, ssh.free_port(), tmp_path, cores=1, slowness=3.0, serial=serial)
    assert (watched.hung, watched.rig) == (True, True), watched.problem
    assert "processor 0" in (watched.problem or "")
    assert "IP=" in (tmp_path / "registers.txt").read_text()


def test_a_qemu_that_cannot_start_is_an_error_of_the_rig(tmp_path: Path) -> None:
    serial = tmp_path / "serial.log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with started(machine(forward={port: 22}), TCG, serial) as running:
            watched = follow_boot(running, 1, tmp_path, cores=1, slowness=1.0, serial=serial)
    assert watched.rig
    assert "exit status 1" in (watched.problem or "")
    assert "Could not set up host forwarding rule" in (watched.problem or "")
