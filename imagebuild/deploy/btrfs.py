"""btrfs with subvolumes: made, mounted, and found by the kernel.

Sources: mkfs.btrfs(8), btrfs-subvolume(8), btrfs(5) for `subvol=`; bootparam(7) for `rootflags=`, which
systemd-fstab-generator(8) takes for the root file system.
"""

from pathlib import PurePosixPath
from typing import Protocol

from imagebuild.deploy.target import Argv, Sandbox
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan

# the whole volume, while its subvolumes are made
TOP = PurePosixPath("/run/btrfs")


class Devices(Sandbox, Protocol):
    """A sandbox in which the plan's partitions are block devices."""

    def device(self, name: str) -> str:
        """Return the device path of a partition of the plan."""


def has(plan: Plan) -> bool:
    """Whether anything of the plan is on btrfs."""
    return "btrfs" in plan.made().values()


def check_programs(plan: Plan, target: Sandbox) -> None:
    """Raise BuildError when a plan wants btrfs and the tree has not what makes it."""
    if has(plan) and not target.run(["sh", "-c", "command -v mkfs.btrfs || :"]).strip():
        raise BuildError(
            "the kickstart wants btrfs, but the tree has no mkfs.btrfs",
            hint=(
                "add btrfs-progs to the compose, and btrfs to its initramfs (mmdebstrap: `initramfs:"
                " [btrfs]`), or take xfs or ext4"
            ),
        )


def make_subvolumes(plan: Plan, target: Devices) -> None:
    """Make the subvolumes on file systems that were made just now."""
    devices = dict.fromkeys(each.device for each in plan.subvolumes)
    commands: list[Argv] = [["mkdir", "-p", TOP]] if devices else []
    for device in devices:
        commands.append(["mount", "-t", "btrfs", target.device(device), TOP])
        for each in (each for each in plan.subvolumes if each.device == device):
            place = TOP / each.name
            commands += [["mkdir", "-p", place.parent], ["btrfs", "subvolume", "create", place]]
        commands.append(["umount", TOP])
    if commands:
        target.run(*commands)


def mount_option(plan: Plan, mount: str) -> str:
    """Return what follows other mount options: which subvolume is mounted there; empty for none."""
    name = plan.subvolume(mount)
    return f",subvol={name}" if name else ""


def kernel_arguments(plan: Plan) -> list[str]:
    """Return what tells the kernel which subvolume the root file system is."""
    name = plan.subvolume("/")
    return [f"rootflags=subvol={name}"] if name else []
