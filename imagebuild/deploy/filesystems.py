"""File systems of a plan on a target that has block devices: made, mounted at /sysroot, unmounted. By the
tree's own programs.
"""

from pathlib import PurePosixPath
from typing import Protocol

from imagebuild.deploy import btrfs, luks, lvm
from imagebuild.deploy.target import SYSROOT, Argv, Sandbox, place_of
from imagebuild.kickstart.layout import SECTOR
from imagebuild.kickstart.plan import Plan


class BlockTarget(Sandbox, Protocol):
    """A sandbox in which the plan's partitions and volumes are block devices."""

    def device(self, name: str) -> str:
        """Return the device path of a partition or volume of the plan."""


class MappedTarget(BlockTarget, Protocol):
    """One whose volumes are mapped by device-mapper; `devices` is what `device` looks into."""

    devices: dict[str, str]


def lvm_options(device: str) -> list[str]:
    """Return options that make LVM look at one device only, and leave udev alone (lvm.conf(5))."""
    settings = (
        f'devices {{ dir="/dev" scan=["/dev"] filter=["a|^{device}$|","a|^/dev/mapper/|","r|.*|"]'
        ' use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source="none" } global {'
        " event_activation=0 use_lvmlockd=0 use_lvmpolld=0 } activation { udev_sync=0 udev_rules=0"
        " monitoring=0 } backup { backup=0 archive=0 }"
    )
    return [f"--config={settings}"]


def thin_volumes(plan: Plan, device: str) -> list[Argv]:
    """Return the commands that make a group with thin volumes (lvmthin(7)): only device-mapper can, so their
    ids are LVM's own.
    """
    options = lvm_options(device)
    commands: list[Argv] = [
        ["pvcreate", *options, "--yes", "--force", "--zero=y", "--dataalignment=1m", device],
        ["vgcreate", *options, "--yes", "--physicalextentsize=4m", plan.group, device],
    ]
    for each in plan.volumes:
        kind = {
            "linear": [f"--size={each.size}b", f"--name={each.name}", plan.group],
            "thin-pool": ["--type=thin-pool", f"--size={each.size}b", f"--name={each.name}", plan.group],
            "thin": [
                "--type=thin",
                f"--virtualsize={each.size}b",
                f"--name={each.name}",
                f"--thinpool={each.pool}",
                plan.group,
            ],
        }[each.kind]
        commands.append(["lvcreate", *options, "--yes", "--zero=n", "--wipesignatures=n", *kind])
    return commands


def mkfs(plan: Plan, name: str, fstype: str, device: str) -> Argv:
    """Return the command that makes one file system."""
    label = ["-L", plan.label(name)] if plan.label(name) else []
    if fstype == "xfs":
        sector = [] if plan.sector_size == SECTOR else ["-s", f"size={plan.sector_size}"]
        return ["mkfs.xfs", "-q", "-f", "-K", *sector, "-m", f"uuid={plan.uuid(name)}", *label, device]
    if fstype == "btrfs":
        sector = ["--sectorsize", str(plan.sector_size)] if plan.sector_size != SECTOR else []
        return ["mkfs.btrfs", "-q", "-f", "--nodiscard", *sector, "-U", plan.uuid(name), *label, device]
    if fstype == "swap":
        return ["mkswap", "-U", plan.uuid(name), *label, device]
    return [
        "mkfs.ext4",
        "-q",
        "-F",
        *blocks(plan),
        *features(plan, name),
        "-U",
        plan.uuid(name),
        "-E",
        f"hash_seed={plan.uuid(name + ' hash')},nodiscard",
        *label,
        device,
    ]


def blocks(plan: Plan) -> list[str]:
    """Return mke2fs' options for the disk's logical block: small file systems get blocks of 1 KiB otherwise
    (mke2fs.conf(5)), less than a disk with 4 KiB reads.
    """
    return [] if plan.sector_size == SECTOR else ["-b", str(plan.sector_size)]


def features(plan: Plan, name: str) -> list[str]:
    """Return mke2fs' options for what a file system has besides the tree's own defaults (ext4(5), verity):
    the kernel refuses to check a file where the file system does not say that it may.
    """
    return ["-O", "verity"] if plan.verity and name == plan.root()[0] else []


def make(plan: Plan, target: BlockTarget) -> None:
    """Make every file system of the plan, swap included; the ESP is made with the boot loader."""
    # mke2fs takes this time for its own (libext2fs, ext2fs_initialize)
    target.run(
        *[mkfs(plan, name, fstype, target.device(name)) for name, fstype in plan.made().items()],
        env={"E2FSPROGS_FAKE_TIME": str(max(1, plan.epoch))},
    )
    btrfs.make_subvolumes(plan, target)


def mount(plan: Plan, target: BlockTarget, *, read_only: bool = False) -> None:
    """Mount the plan's file systems at SYSROOT, parents first."""
    # nouuid: the same commit's disk may be mounted by a step beside this one, with the same UUIDs
    options = (
        {"xfs": "ro,norecovery,nouuid", "ext4": "ro,noload", "btrfs": "ro,rescue=nologreplay"}
        if read_only
        else {"xfs": "rw,nouuid", "ext4": "rw", "btrfs": "rw"}
    )
    commands: list[Argv] = []
    for place, name, fstype in plan.file_systems():
        # a host's /home is bound into its deployment: in the physical root there is no place for it
        if fstype in options and (not read_only or is_looked_at(place)):
            where = place_of(place)
            commands += [["mkdir", "-p", where]] if place != "/" and not read_only else []
            chosen = options[fstype] + btrfs.mount_option(plan, place)
            commands.append(["mount", "-t", fstype, "-o", chosen, target.device(name), where])
    target.run(*commands)


def is_looked_at(mount: str) -> bool:
    """Whether a file system is mounted when a finished disk is only looked at: what first boots depend on is
    in the physical root, /boot and /var.
    """
    return mount in ("/", "/boot", "/boot/efi", "/var") or mount.startswith(("/var/", "/sysroot/"))


def unmount(plan: Plan, target: Sandbox, *, trim: bool) -> None:
    """Unmount everything at SYSROOT; `trim` gives back what is not used, so that the image stays sparse."""
    places = [place_of(mount) for mount, _, fstype in plan.file_systems() if fstype != "efi"]
    give_back: list[Argv] = [["fstrim", place] for place in places] if trim else []
    target.run(*give_back, ["sync"], ["umount", "-R", SYSROOT])


def grow(target: BlockTarget, name: str, fstype: str, place: PurePosixPath) -> None:
    """Grow a mounted file system to the size of its volume: resize2fs(8) wants the device, xfs_growfs(8)
    and btrfs-filesystem(8) the place.
    """
    if fstype == "xfs":
        target.run(["xfs_growfs", place])
    elif fstype == "btrfs":
        target.run(["btrfs", "filesystem", "resize", "max", place])
    else:
        target.run(["resize2fs", target.device(name)])


# --- volumes that device-mapper maps ------------------------------------------------------------------------


def make_mapped(plan: Plan, target: MappedTarget) -> None:
    """Make the volumes that only LVM can make, and every file system, and mount them."""
    if made_by_lvm(plan):
        target.run(*thin_volumes(plan, _physical(plan, target)))
    activate(plan, target)
    make(plan, target)
    mount(plan, target)


def made_by_lvm(plan: Plan) -> bool:
    """Whether the group is none that can be written into the disk: thin volumes need device-mapper, and so
    does what is inside of an encrypted partition.
    """
    return plan.thin() or (bool(plan.volumes) and luks.hides(plan, plan.volumes[0].name))


# on a busy machine the appliance's LVM was seen not to find the group that lies there, seconds after its disk
# was found: it is asked again, and what there is of the device goes to the log (which fails nothing)
ACTIVATE = r"""
device=$1; shift
n=0
until vgchange "$@"; do
    n=$((n + 1))
    ls -l "$device" >&2 || true
    head -c 1024 "$device" | od -A d -c | sed -n 1,12p >&2 || true
    if [ "$n" -ge 5 ]; then exit 5; fi
    sleep 2
done
"""


def activate(plan: Plan, target: MappedTarget) -> None:
    """Have device-mapper map the volumes of the plan's group."""
    if plan.volumes:
        device = _physical(plan, target)
        target.run(["sh", "-c", ACTIVATE, "sh", device, *lvm_options(device), "--activate=y", plan.group])
        target.devices |= {each.name: plan.mapped(each.name) for each in plan.volumes}


def close_mapped(plan: Plan, target: MappedTarget, *, trim: bool) -> None:
    """Unmount everything and take the volumes away."""
    unmount(plan, target, trim=trim)
    if plan.volumes:
        target.run(["vgchange", *lvm_options(_physical(plan, target)), "--activate=n", plan.group])


def _physical(plan: Plan, target: MappedTarget) -> str:
    return target.device(lvm.physical_volume(plan).name)
