"""The kinds of things that every layer names: firmware, hosts, log-ins, controllers, states. Needs nothing:
the live installer reads it too.
"""

from enum import StrEnum


class Firmware(StrEnum):
    """What starts the boot loader."""

    BIOS = "bios"
    UEFI = "uefi"
    UEFI_SECURE = "uefi-secure"

    @property
    def is_uefi(self) -> bool:
        """Whether it starts programs from an ESP; with Secure Boot, only signed ones."""
        return self is not Firmware.BIOS


class BootMenu(StrEnum):
    """What GRUB's menu is made of: one that is generated for each deployment, or the boot loader entries."""

    GENERATED = "generated"
    ENTRIES = "entries"


class Login(StrEnum):
    """Who lets the tester in: a key that cloud-init takes from a seed, or Vagrant's well-known one that is
    baked in.
    """

    CLOUD_INIT = "cloud-init"
    VAGRANT = "vagrant"


class Controller(StrEnum):
    """The storage controller on which an artifact's users have its disk."""

    VIRTIO = "virtio"
    IDE = "ide"
    PVSCSI = "pvscsi"
    VIRTIO_SCSI = "virtio-scsi"
    NVME_4K = "nvme-4k"


class State(StrEnum):
    """What is known of one criterion on one artifact under one firmware."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    NOT_TESTED = "not tested"
    NOT_APPLICABLE = "not applicable"
    FLAKY = "flaky"
    WAIVED = "waived"
