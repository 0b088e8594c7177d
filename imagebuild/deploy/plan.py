"""A kickstart, parsed by pykickstart, becomes a Plan: what the installed system is to be, with every size worked out.

Sizes are bytes unless a name says otherwise; the sources are the kickstart documentation of pykickstart, and
UEFI 2.10 section 5 for the partition table.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pykickstart.constants import KS_SCRIPT_POST

from imagebuild.deploy.kickstart import BadKickstartError, parse, refuse_unknown
from imagebuild.model import Firmware

MIB = 1024 * 1024
SECTOR = 512
ALIGNMENT = MIB
EXTENT = 4 * MIB  # lvm.conf(5), allocation/physical_extent_size
PE_START = MIB  # lvm.conf(5), devices/default_data_alignment
GPT_BACKUP = MIB  # the last 33 sectors hold the backup table; kept to the alignment

# type GUIDs: UEFI 2.10, table 5-7, and the Discoverable Partitions Specification
GPT_TYPES = {
    "biosboot": "21686148-6449-6E6F-744E-656564454649",
    "efi": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "lvm": "E6D6D379-F507-44C2-A23C-238F2A3DF928",
    "data": "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
}
MBR_TYPES = {"efi": "ef", "lvm": "8e", "data": "83"}

FILE_SYSTEMS = frozenset({"xfs", "ext4", "efi", "biosboot", "lvmpv"})


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One partition, in bytes from the start of the disk. `name` is unique; `content` what it holds: a file system, lvm, biosboot."""

    name: str
    number: int
    start: int
    size: int
    content: str
    mount: str = ""
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One linear logical volume of the group, `size` bytes (whole extents)."""

    name: str
    size: int
    fstype: str
    mount: str
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Script:
    """A %post section: run inside the installed system."""

    text: str
    interpreter: str
    must_succeed: bool
    line: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the installed system is to be."""

    disk_size: int
    table: str
    partitions: tuple[Partition, ...]
    group: str
    volumes: tuple[Volume, ...]
    osname: str
    remote: str
    url: str
    ref: str
    verify: bool
    append: tuple[str, ...]
    timeout: int
    firmware: frozenset[Firmware]
    lang: str
    keyboard: str
    timezone: str
    utc: bool
    root_locked: bool
    root_password: str
    hostname: str
    selinux: str
    enabled: tuple[str, ...]
    disabled: tuple[str, ...]
    scripts: tuple[Script, ...]
    seed: str

    def partition(self, content: str) -> Partition | None:
        """Return the first partition with that content."""
        return next((each for each in self.partitions if each.content == content), None)

    def mounts(self) -> list[tuple[str, str, str]]:
        """Return (mount point, device name, file system), parents first. A device name is a partition's or a volume's."""
        found = [(each.mount, each.name, each.content) for each in self.partitions if each.mount]
        found += [(each.mount, each.name, each.fstype) for each in self.volumes if each.mount]
        return sorted(found, key=lambda each: (each[0].count("/") if each[0] != "/" else 0, each[0]))

    def uuid(self, role: str) -> str:
        """Return the UUID of a part of the disk: the same for the same commit and role, so that builds can be compared."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"imagebuild:{self.seed}:{role}"))

    def volume_id(self, role: str) -> str:
        """Return a FAT volume id (8 hexadecimal digits) for a role."""
        return self.uuid(role)[:8].upper()


def read(text: str, syntax: str, *, disk_size: int, firmware: frozenset[Firmware], seed: str, name: str = "kickstart") -> Plan:
    """Turn a kickstart into a plan for a disk of `disk_size` bytes; `seed` is what UUIDs are derived from (the commit).

    Raises BadKickstartError: a command or option that is not executed (with its line), sizes that do not fit (with the sums).
    """
    handler = parse(text, syntax, name)
    refuse_unknown(handler, name)
    partitions, table = _partitions(handler, disk_size, name)
    group, volumes = _volumes(handler, partitions, name)
    setup, loader = handler.ostreesetup, handler.bootloader
    if not setup.seen:
        raise BadKickstartError(f"{name}: there is no ostreesetup: nothing to install")
    _check_firmware(partitions, table, firmware, name)
    plan = Plan(
        disk_size=disk_size, table=table, partitions=partitions, group=group, volumes=volumes,
        osname=setup.osname, remote=setup.remote or setup.osname, url=setup.url, ref=setup.ref, verify=not setup.nogpg,
        append=tuple((loader.appendLine or "").split()), timeout=loader.timeout if loader.timeout is not None else 5, firmware=firmware,
        lang=handler.lang.lang or "C.UTF-8", keyboard=handler.keyboard.keyboard or handler.keyboard.vc_keymap or "us",
        timezone=handler.timezone.timezone or "Etc/UTC", utc=bool(handler.timezone.isUtc),
        root_locked=bool(handler.rootpw.lock), root_password=handler.rootpw.password if handler.rootpw.isCrypted and not handler.rootpw.lock else "",
        hostname=next((each.hostname for each in handler.network.network if each.hostname), ""),
        selinux=_selinux(handler), enabled=tuple(handler.services.enabled), disabled=tuple(handler.services.disabled),
        scripts=tuple(_scripts(handler, name)), seed=seed,
    )  # fmt: skip
    if "/" not in [mount for mount, _, _ in plan.mounts()]:
        raise BadKickstartError(f"{name}: nothing is mounted at /")
    return plan


def _selinux(handler: Any) -> str:
    # pykickstart.constants: SELINUX_DISABLED 0, ENFORCING 1, PERMISSIVE 2
    return {0: "disabled", 1: "enforcing", 2: "permissive"}.get(handler.selinux.selinux, "")


def _scripts(handler: Any, name: str) -> Iterator[Script]:
    for script in handler.scripts:
        if script.type != KS_SCRIPT_POST or not script.inChroot:
            raise BadKickstartError(f"{name}:{script.lineno}: only %post sections inside the installed system are executed by imagebuild")
        if script.logfile:
            raise BadKickstartError(f"{name}:{script.lineno}: %post --log is not executed by imagebuild")
        yield Script(text=script.script, interpreter=script.interp, must_succeed=bool(script.errorOnFail), line=script.lineno)


# --- sizes ------------------------------------------------------------------------------------------------------------


def _partitions(handler: Any, disk_size: int, name: str) -> tuple[tuple[Partition, ...], str]:
    parts = handler.partition.partitions
    table = "gpt" if handler.clearpart.disklabel == "gpt" or any(part.fstype == "biosboot" for part in parts) else "mbr"
    available = disk_size - ALIGNMENT - (GPT_BACKUP if table == "gpt" else 0)
    fixed = sum((part.size or 1) * MIB for part in parts)
    growing = [part for part in parts if part.grow]
    if fixed > available:
        raise BadKickstartError(
            _does_not_fit(name, "the disk", disk_size, available, [(part.mountpoint, (part.size or 1) * MIB) for part in parts])
        )
    if len(growing) > 1:
        raise BadKickstartError(f"{name}:{growing[1].lineno}: two partitions grow; imagebuild executes one")
    if table == "mbr" and len(parts) > 4:
        raise BadKickstartError(f"{name}:{parts[4].lineno}: an MBR holds four partitions; use clearpart --disklabel=gpt")
    start, found = ALIGNMENT, list[Partition]()
    for number, part in enumerate(parts, start=1):
        size = (part.size or 1) * MIB
        if part.grow:
            size = min(size + available - fixed, part.maxSizeMB * MIB if part.maxSizeMB else disk_size) // MIB * MIB
        found.append(_partition(part, number, start, size, name))
        start += size
    return tuple(found), table


def _partition(part: Any, number: int, start: int, size: int, name: str) -> Partition:
    mount = part.mountpoint
    if mount.startswith("pv."):
        return Partition(name=mount, number=number, start=start, size=size, content="lvm")
    fstype = part.fstype or ("biosboot" if mount == "biosboot" else "xfs")
    if fstype not in FILE_SYSTEMS or not (mount.startswith("/") or fstype == "biosboot"):
        raise BadKickstartError(
            f"{name}:{part.lineno}: part {mount} --fstype={fstype} is not executed by imagebuild (it knows {', '.join(sorted(FILE_SYSTEMS))})"
        )
    if mount == "/boot" and fstype == "xfs":
        raise BadKickstartError(f"{name}:{part.lineno}: /boot as xfs cannot be promised to be readable by the tree's GRUB; use ext4")
    return Partition(
        name=fstype if fstype in ("biosboot", "efi") else (mount.strip("/").replace("/", "-") or "root"),
        number=number, start=start, size=size, content=fstype, mount="" if fstype == "biosboot" else mount, label=part.label or "",
    )  # fmt: skip


def _volumes(handler: Any, partitions: Sequence[Partition], name: str) -> tuple[str, tuple[Volume, ...]]:
    groups = handler.volgroup.vgList
    if not groups:
        return "", ()
    if len(groups) > 1 or len(groups[0].physvols) != 1:
        raise BadKickstartError(f"{name}:{groups[-1].lineno}: imagebuild executes one volgroup on one physical volume")
    group = groups[0]
    physical = next((each for each in partitions if each.name == group.physvols[0]), None)
    if physical is None:
        raise BadKickstartError(f"{name}:{group.lineno}: there is no `part {group.physvols[0]}`")
    extents = (physical.size - PE_START) // EXTENT
    wanted = [(each, _extents(each, extents, name)) for each in handler.logvol.lvList]
    total = sum(count for _, count in wanted)
    if total > extents:
        raise BadKickstartError(
            _does_not_fit(
                name,
                f"volume group {group.vgname}",
                physical.size,
                extents * EXTENT,
                [(each.name, count * EXTENT) for each, count in wanted],
            )
        )
    volumes = []
    for each, count in wanted:
        size = (count + (extents - total if each.grow else 0)) * EXTENT
        volumes.append(
            Volume(
                name=each.name,
                size=min(size, each.maxSizeMB * MIB) if each.maxSizeMB and each.grow else size,
                fstype=each.fstype or "xfs",
                mount=each.mountpoint,
                label=each.label or "",
            )
        )
    return group.vgname, tuple(volumes)


def _extents(volume: Any, available: int, name: str) -> int:
    if volume.fstype not in ("xfs", "ext4", ""):
        raise BadKickstartError(f"{name}:{volume.lineno}: logvol --fstype={volume.fstype} is not executed by imagebuild")
    if volume.percent:
        return int(available * volume.percent // 100)
    return int(-(-(volume.size or 1) * MIB // EXTENT))


def _does_not_fit(name: str, what: str, size: int, available: int, parts: Sequence[tuple[str, int]]) -> str:
    sums = " + ".join(f"{part} {count // MIB}" for part, count in parts)
    total = sum(count for _, count in parts) // MIB
    return f"{name}: {what} is too small: {sums} = {total} MiB, but of {size // MIB} MiB {available // MIB} MiB can be used"


def _check_firmware(partitions: Sequence[Partition], table: str, firmware: frozenset[Firmware], name: str) -> None:
    contents = {each.content for each in partitions}
    if Firmware.UEFI in firmware and "efi" not in contents:
        raise BadKickstartError(
            f"{name}: UEFI is wanted but there is no ESP",
            hint="add `part /boot/efi --fstype=efi --size=64`, or take uefi out of images.*.firmware",
        )
    if Firmware.BIOS in firmware and table == "gpt" and "biosboot" not in contents:
        raise BadKickstartError(
            f"{name}: BIOS is wanted on GPT but there is no BIOS boot partition", hint="add `part biosboot --fstype=biosboot --size=1`"
        )
    if not any(each.mount == "/boot" for each in partitions):
        raise BadKickstartError(
            f"{name}: there is no separate /boot, which the boot loader reads", hint="add `part /boot --size=300 --fstype=ext4`"
        )


def plan_of(file: Path, syntax: str, *, disk_size: int, firmware: frozenset[Firmware], seed: str) -> Plan:
    """Read a kickstart file into a plan."""
    return read(file.read_text(), syntax, disk_size=disk_size, firmware=firmware, seed=seed, name=file.name)
