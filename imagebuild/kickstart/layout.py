"""Where everything lies on a disk: partitions and volumes, in bytes.

Sources: UEFI 2.10 section 5 for the partition table, lvm.conf(5) for extents."""

from dataclasses import dataclass

from imagebuild.kickstart.encryption import Encryption

MIB = 1024 * 1024
GIB = 1024 * MIB
SECTOR = 512
SECTORS = (512, 4096)  # what disks have as their logical block: NVM Express calls it the LBA format
ALIGNMENT = MIB
EXTENT = 4 * MIB  # lvm.conf(5), allocation/physical_extent_size
PE_START = MIB  # lvm.conf(5), devices/default_data_alignment
LUKS_HEADER = 16 * MIB  # cryptsetup-luksFormat(8), --offset: what LUKS 2 takes by default
LARGEST_MBR = 2 * 1024 * GIB  # 32 bits of sectors
GPT_BACKUP = MIB  # the last 33 sectors hold the backup table; kept to the alignment
FILE_SYSTEMS = frozenset({"xfs", "ext4", "btrfs", "efi", "biosboot", "lvmpv", "swap"})
MOUNTED = frozenset({"xfs", "ext4", "btrfs", "efi"})


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One partition, in bytes from the start of the disk. `name` is unique; `content` what it holds, inside
    of its encryption if it has one: a file system, lvm, biosboot, swap.
    """

    name: str
    number: int
    start: int
    size: int
    content: str
    mount: str = ""
    label: str = ""
    encryption: Encryption | None = None


@dataclass(frozen=True, kw_only=True)
class Subvolume:
    """A subvolume `name` of the btrfs file system on the partition `device`; not mounted where `mount` is
    empty.
    """

    name: str
    device: str
    mount: str


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One logical volume of the group, `size` bytes (whole extents). `kind`: linear, thin-pool, or thin (of
    `pool`).
    """

    name: str
    size: int
    fstype: str
    mount: str
    label: str = ""
    kind: str = "linear"
    pool: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A whole disk: `table` is gpt or mbr, `group` the volume group on the partition whose content is lvm.

    `sector_size`: the logical block of the disk that this is for, in bytes (SECTORS); on a disk with another
    one neither the partition table nor the file systems can be read.
    """

    table: str
    partitions: tuple[Partition, ...]
    group: str = ""
    volumes: tuple[Volume, ...] = ()
    sector_size: int = SECTOR
    subvolumes: tuple[Subvolume, ...] = ()

    def mounts(self) -> list[str]:
        """Return every mount point."""
        mounted = [each.mount for each in self.partitions] + [each.mount for each in self.volumes]
        return [mount for mount in [*mounted, *(each.mount for each in self.subvolumes)] if mount]
