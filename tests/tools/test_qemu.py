"""QEMU's command line, as it was."""

import itertools
import shlex
from pathlib import Path

import pytest

from imagebuild.architectures.architecture import Flash
from imagebuild.kinds import Controller, Firmware
from imagebuild.tools import oci
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu.command_line import command_line
from imagebuild.tools.qemu.machine import Machine, NetworkBoot
from imagebuild.tools.qemu.registry import CONTROLLERS, FIRMWARES
from tests.golden import check_golden
from tests.tools.machines import PLACES, TCG

KVM = Accelerator(name="kvm", slowness=1.0, reason="test")


@pytest.mark.parametrize("firmware", Firmware)
@pytest.mark.parametrize("accelerator", [TCG, KVM], ids=lambda each: each.name)
def test_the_command_line_is_as_it_was(
    firmware: Firmware, accelerator: Accelerator, request: pytest.FixtureRequest
) -> None:
    machine = Machine(
        disk=Path("/w/a,b.qcow2"),
        controller=Controller.VIRTIO,
        seed=Path("/w/seed.iso"),
        firmware=firmware,
        cores=2,
        memory=2 << 30,
        forward={2222: 22},
    )
    argv = command_line(machine, accelerator, PLACES, Flash(Path("/code.fd"), Path("/vars.fd")))
    check_golden(
        request, f"qemu-{firmware}-{accelerator.name}.txt", shlex.join(argv).replace(" -", "\n-") + "\n"
    )
    assert "-no-reboot" in argv
    assert any("a,,b.qcow2" in word for word in argv), "a comma in a path must be doubled"


@pytest.mark.parametrize(
    ("controller", "words"),
    [
        (Controller.IDE, ["pc", "ide-hd,bus=ide.0"]),
        (Controller.PVSCSI, ["q35", "pvscsi,id=scsi"]),
        (Controller.VIRTIO_SCSI, ["q35", "virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0"]),
    ],
)
def test_a_disk_is_on_the_controller_its_users_have(controller: Controller, words: list[str]) -> None:
    machine = Machine(
        disk=Path("/w/a.vmdk"), controller=controller, firmware=Firmware.BIOS, cores=1, memory=1 << 30
    )
    argv = command_line(machine, TCG, PLACES, None)
    assert all(any(argument.startswith(word) for argument in argv) for word in words), argv
    assert not any("virtio-blk" in argument for argument in argv)


def test_secure_boot_is_for_machines_whose_chip_set_can_lock_its_variables() -> None:
    secure = FIRMWARES[Firmware.UEFI_SECURE]
    refused = CONTROLLERS[Controller.IDE].reason_not_under(
        Firmware.UEFI_SECURE, needs_smm=secure.needs_smm("x86_64")
    )
    assert refused is not None
    assert "no System Management Mode" in refused
    for controller in (Controller.VIRTIO, Controller.PVSCSI):
        record = CONTROLLERS[controller]
        assert record.reason_not_under(Firmware.UEFI_SECURE, needs_smm=secure.needs_smm("x86_64")) is None
    assert CONTROLLERS[Controller.IDE].reason_not_under(Firmware.UEFI, needs_smm=False) is None


def test_a_machine_without_a_disk_boots_from_the_network() -> None:
    machine = Machine(
        disk=None,
        controller=Controller.VIRTIO,
        firmware=Firmware.BIOS,
        cores=1,
        memory=1 << 30,
        isolated=False,
        network_boot=NetworkBoot(directory=Path("/w/a,b"), file="grub.0"),
    )
    argv = command_line(machine, TCG, PLACES, None)
    assert "user,id=net,tftp=/w/a,,b,bootfile=grub.0" in argv
    assert "virtio-net-pci,netdev=net,bootindex=0" in argv
    assert "-nic" not in argv


def test_the_container_image_is_the_same_each_time() -> None:
    assert oci.busybox_archive() == oci.busybox_archive()


@pytest.mark.parametrize("firmware", Firmware)
@pytest.mark.parametrize("controller", Controller)
@pytest.mark.parametrize(
    "boot", [None, NetworkBoot(directory=Path("/w"), file="grub.0")], ids=["disk", "net"]
)
def test_a_guest_reaches_nothing_but_the_tests_address(
    firmware: Firmware, controller: Controller, boot: NetworkBoot | None
) -> None:
    """Unless a machine is made otherwise on purpose: there is one network, and nothing leads out of it but
    what is forwarded to the loopback interface (QEMU's invocation, `-netdev user`, restrict).
    """
    machine = Machine(
        disk=Path("/w/a.qcow2"),
        controller=controller,
        firmware=firmware,
        cores=1,
        memory=1 << 30,
        forward={2222: 22},
        services={80: 8080},
        network_boot=boot,
    )
    argv = command_line(machine, TCG, PLACES, Flash(Path("/code.fd"), Path("/vars.fd")))
    networks = [word for option, word in itertools.pairwise(argv) if option in ("-nic", "-netdev", "-net")]
    assert len(networks) == 1
    words = networks[0].split(",")
    assert words[0] == "user"
    assert "restrict=on" in words
    led = [word for word in words if word.startswith(("hostfwd=", "guestfwd="))]
    assert len(led) == 2
    assert all("127.0.0.1" in word for word in led)
