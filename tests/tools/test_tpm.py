"""A machine's TPM: the real swtpm is started, and QEMU is told of it."""

import socket
import struct
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.kinds import Controller, Firmware
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu import tpm
from imagebuild.tools.qemu.command_line import command_line
from imagebuild.tools.qemu.machine import MIB, Machine, Places

# swtpm's include/swtpm/tpm_ioctl.h: PTM_GET_CAPABILITY is command 1; the answer is 8 bytes, big endian
GET_CAPABILITY = struct.pack(">I", 1)


def test_the_real_one_answers_on_its_socket_and_ends_with_the_block(tmp_path: Path) -> None:
    control = tmp_path / "control"
    with tpm.emulated(tmp_path / "state", control), socket.socket(socket.AF_UNIX) as line:
        line.connect(str(control))
        line.sendall(GET_CAPABILITY)
        assert struct.unpack(">Q", line.recv(8))[0] & 1, "PTM_CAP_INIT: it can be started as a TPM"
    assert not control.exists()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(BuildError, match="the emulated TPM does not start: "),
        tpm.emulated(tmp_path / "state", tmp_path / "no" / "control"),
    ):
        pass


@pytest.mark.parametrize("has", [True, False])
def test_a_machine_has_one_where_it_is_said(tmp_path: Path, has: bool) -> None:
    machine = Machine(
        disk=None, controller=Controller.VIRTIO, firmware=Firmware.BIOS, cores=1, memory=MIB,
        tpm=tmp_path if has else None,
    )  # fmt: skip
    places = Places(
        serial=Path("s"), monitor=Path("m"), variables=Path("v"), tpm=Path("/run/a,b") if has else None
    )
    argv = command_line(machine, Accelerator(name="tcg", slowness=1, reason=""), places, None)
    assert ("tpm-crb,tpmdev=tpm0" in argv) == has
    assert ("socket,id=tpm,path=/run/a,,b" in argv) == has
