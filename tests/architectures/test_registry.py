"""What the records say, against what others say of the same: dpkg, productmd, QEMU, programs."""

import contextlib
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.architectures import registry
from imagebuild.architectures.registry import ARCHITECTURES, BUILT, guest_of, loader_of, of_program
from imagebuild.config import naming
from imagebuild.errors import BuildError
from imagebuild.kinds import Controller, Firmware
from imagebuild.tools import command
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu import monitor
from imagebuild.tools.qemu.command_line import command_line
from imagebuild.tools.qemu.machine import Drive, Machine, Places
from imagebuild.tools.qemu.registry import CONTROLLERS, FIRMWARES
from tests.golden import check_golden
from tests.tools.machines import PLACES

TCG = Accelerator(name="tcg", slowness=6.0, reason="test")
# dpkg's own table: its name, GNU's, what config.guess says, bits, byte order (/usr/share/dpkg/cputable)
CPUTABLE = Path("/usr/share/dpkg/cputable")


def test_debian_calls_them_so() -> None:
    rows = [line.split() for line in CPUTABLE.read_text().splitlines() if line and line[0] != "#"]
    cpus = {row[0]: row[1] for row in rows}
    for record in ARCHITECTURES.values():
        assert record.multiarch == f"{cpus[record.debian]}-linux-gnu"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_productmd_knows_them(name: str) -> None:
    assert naming.is_arch(name)


def test_names_are_all_that_is_known_of_some() -> None:
    assert set(BUILT) == {"x86_64", "aarch64"}
    with pytest.raises(BuildError, match="architecture ppc64le: only names are known of it") as caught:
        guest_of("ppc64le")
    assert "x86_64, aarch64" in caught.value.hint
    with pytest.raises(BuildError, match="architecture vax: nothing is known of it"):
        loader_of("vax")


def test_efis_programs_are_called_as_the_packages_of_debian_have_them() -> None:
    # shim-signed, shim-helpers-*-signed and grub-efi-*-signed of Debian 12, amd64 and arm64
    x86, arm = loader_of("x86_64"), loader_of("aarch64")
    assert (x86.removable, x86.shim, x86.grub, x86.medium, x86.key_manager, x86.fallback, x86.entry_list) == (
        *("BOOTX64.EFI", "shimx64.efi", "grubx64.efi", "gcdx64.efi", "mmx64.efi", "fbx64.efi", "BOOTX64.CSV"),
    )
    assert (arm.removable, arm.shim, arm.grub, arm.medium, arm.key_manager, arm.fallback, arm.entry_list) == (
        *("BOOTAA64.EFI", "shimaa64.efi", "grubaa64.efi", "gcdaa64.efi", "mmaa64.efi", "fbaa64.efi"),
        "BOOTAA64.CSV",
    )
    assert (x86.platform, x86.cpu, arm.platform, arm.cpu) == ("x86_64-efi", "x86_64", "arm64-efi", "arm64")


def test_a_program_says_what_it_is_for() -> None:
    assert (
        of_program(Path("/usr/bin/env").read_bytes()[: registry.ELF_HEAD]) == registry.builder_architecture()
    )
    assert of_program(b"#!/bin/sh\n" + b"\0" * 20) is None
    assert of_program(b"\x7fELF") is None
    # s390x, which has no record and another byte order
    assert of_program(b"\x7fELF\x02\x02\x01".ljust(18, b"\0") + b"\x00\x16") is None


def test_a_guest_of_another_architecture_is_emulated_and_takes_its_time() -> None:
    kvm = Accelerator(name="kvm", slowness=1.0, reason="it works", measured="2026-11-27T00:00:00+00:00")
    assert kvm.of("x86_64") is kvm
    foreign = kvm.of("aarch64")
    assert (foreign.name, foreign.program, foreign.cores) == ("tcg", "qemu-system-aarch64", 1)
    assert foreign.slowness >= 10
    assert "aarch64 are emulated on a machine of x86_64" in foreign.reason
    assert foreign.suited(1).model == foreign.suited(0).model == "max,pauth-impdef=on"
    with pytest.raises(BuildError, match="only names are known"):
        kvm.of("ppc64le")


def machine(**changes: object) -> Machine:
    facts: dict[str, object] = {
        "disk": Path("/w/a,b.qcow2"),
        "controller": Controller.VIRTIO,
        "firmware": Firmware.UEFI,
        "cores": 2,
        "memory": 2 << 30,
    }
    return Machine(**(facts | changes))  # type: ignore[arg-type]  # a dictionary has no types for each


@pytest.mark.parametrize("firmware", [Firmware.UEFI, Firmware.UEFI_SECURE])
def test_the_command_line_of_aarch64_is_as_it_was(firmware: Firmware, request: pytest.FixtureRequest) -> None:
    guests = TCG.of("aarch64")
    described = machine(firmware=firmware, seed=Path("/w/seed.iso"), forward={2222: 22})
    flash = guest_of("aarch64").firmware[firmware].flash[0]
    text = shlex.join(command_line(described, guests, PLACES, flash)).replace(" -", "\n-") + "\n"
    check_golden(request, f"qemu-aarch64-{firmware}-tcg.txt", text)


def test_what_such_machines_do_not_have_is_said() -> None:
    assert FIRMWARES[Firmware.UEFI].reason_not_of("aarch64") is None
    with pytest.raises(BuildError, match="machines of aarch64 have no BIOS firmware") as caught:
        FIRMWARES[Firmware.BIOS].find_flash("aarch64")
    assert "uefi" in caught.value.hint
    assert CONTROLLERS[Controller.IDE].reason_not_in("aarch64") == "no machine of aarch64 has a disk on ide"
    assert CONTROLLERS[Controller.IDE].reason_not_in("x86_64") is None


@contextlib.contextmanager
def standing_still(described: Machine, place: Path) -> Iterator[Places]:
    """QEMU of aarch64, its processors not started, with the firmware that this machine has."""
    places = Places(serial=place / "serial", monitor=place / "qmp", variables=place / "variables.qcow2")
    flash = FIRMWARES[described.firmware].find_flash("aarch64")
    assert flash is not None
    command.run(["qemu-img", "convert", "-O", "qcow2", flash.variables, places.variables])
    process = command.Process([*command_line(described, TCG.of("aarch64"), places, flash), "-S"])
    try:
        until = time.monotonic() + 30
        while not places.monitor.exists():
            assert process.alive, process.complaint()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield places
    finally:
        process.end(grace=1)


@pytest.mark.parametrize("controller", [Controller.VIRTIO, Controller.VIRTIO_SCSI, Controller.NVME_4K])
@pytest.mark.parametrize("firmware", [Firmware.UEFI, Firmware.UEFI_SECURE])
def test_qemu_takes_the_machine(controller: Controller, firmware: Firmware, tmp_path: Path) -> None:
    for name in ("disk.qcow2", "other.qcow2"):
        command.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / name, "64M"])
    (tmp_path / "cd").write_bytes(b"\0" * 4096)
    drives = (Drive(file=tmp_path / "cd", kind="cd"), Drive(file=tmp_path / "other.qcow2", format="qcow2"))
    described = machine(
        disk=tmp_path / "disk.qcow2",
        controller=controller,
        firmware=firmware,
        memory=256 << 20,
        drives=drives,
    )
    with standing_still(described, tmp_path) as places:
        status = monitor.execute(places.monitor, "query-status", {}, seconds=20)
        blocks = monitor.execute(places.monitor, "query-block", {}, seconds=20)
    assert status["status"] == "prelaunch"
    assert {"disk", "drive0", "drive1"} <= {block["device"] for block in blocks}
