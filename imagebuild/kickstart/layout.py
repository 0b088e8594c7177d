"""Where everything lies on a disk: partitions and volumes, every size worked out from what the kickstart asks
for.

Sizes are bytes. Sources: the kickstart documentation of pykickstart (part, reqpart, autopart, volgroup,
logvol), blivet's `autopart` and `partitioning` for what Anaconda makes of them, and UEFI 2.10 section 5 for
the partition table.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pykickstart.version import F28

from imagebuild.kickstart import commands, mount_points
from imagebuild.kickstart.problems import BadKickstartError, Problems
from imagebuild.kinds import Firmware

MIB = 1024 * 1024
GIB = 1024 * MIB
SECTOR = 512
ALIGNMENT = MIB
EXTENT = 4 * MIB  # lvm.conf(5), allocation/physical_extent_size
PE_START = MIB  # lvm.conf(5), devices/default_data_alignment
LARGEST_MBR = 2 * 1024 * GIB  # 32 bits of sectors
GPT_BACKUP = MIB  # the last 33 sectors hold the backup table; kept to the alignment
FILE_SYSTEMS = frozenset({"xfs", "ext4", "efi", "biosboot", "lvmpv", "swap"})
MOUNTED = frozenset({"xfs", "ext4", "efi"})

# lvm(8), VALID NAMES; file systems' places are those of fstab(5) without what would need escapes
WORD = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]*")
PLACE = re.compile(r"/[A-Za-z0-9_./+-]*")

# what Anaconda makes by itself (blivet.platform.X86, EFI; pyanaconda's installclasses): /boot 1 GiB, an ESP
# of 200 MiB
BOOT_SIZE = GIB
ESP_SIZE = 200 * MIB
BIOSBOOT_SIZE = MIB
AUTO_GROUP = "atomicos"
AUTO_POOL = "pool00"
# the Atomic install class of 2016, and of RHEL 7: root 1 … 3 GiB; from Fedora 28 on it follows Server: 2 … 15
# GiB (anaconda, pyanaconda/installclasses)
AUTO_ROOT = {"atomic": (GIB, 3 * GIB), "server": (2 * GIB, 15 * GIB)}
# blivet.autopart.swap_suggestion: as much as the memory of 2 … 8 GiB machines, but a tenth of the disk at
# most
AUTO_SWAP = 2 * GIB
# lvm.conf(5), allocation/thin_pool_*; lvmthin(7): 0.1 % of the pool, 2 MiB at least; here whole extents
POOL_METADATA = 1000


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One partition, in bytes from the start of the disk. `name` is unique; `content` what it holds: a file
    system, lvm, biosboot, swap.
    """

    name: str
    number: int
    start: int
    size: int
    content: str
    mount: str = ""
    label: str = ""


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
    """A whole disk: `table` is gpt or mbr, `group` the volume group on the partition whose content is lvm."""

    table: str
    partitions: tuple[Partition, ...]
    group: str = ""
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What the kickstart asks for: a size, which may grow up to `limit` (0: no limit)."""

    name: str
    size: int
    fstype: str = ""
    mount: str = ""
    grow: bool = False
    limit: int = 0
    label: str = ""
    line: int = 0
    kind: str = "linear"
    pool: str = ""
    percent: int = 0


def lay_out(
    handler: Any,
    disk_size: int,
    firmware: frozenset[Firmware],
    name: str,
    tree: mount_points.Tree | None = None,
) -> Layout:
    """Work out a layout from a parsed kickstart; mount points are where the links of `tree` lead.

    Raises BadKickstartError: what is not executed, or no host can have (line), what does not fit (sums).
    """
    parts, group, volumes = (
        _autopart(handler, disk_size, name) if handler.autopart.seen else _asked(handler, name)
    )
    problems = Problems(name)
    parts, volumes = (_settled_all(requests, tree, name, problems) for requests in (parts, volumes))
    problems.refuse()
    table = _table(handler, parts, firmware, disk_size, name)
    required = (
        _required(handler, table, firmware)
        if handler.autopart.seen or commands.seen(handler, "reqpart")
        else []
    )
    _check_names([*required, *parts], group, volumes, name)
    partitions = _place([*required, *parts], table, disk_size, name)
    _check_firmware(partitions, table, firmware, name)
    if not group:
        return Layout(table=table, partitions=partitions)
    # there is one: `_refuse_idle` took care of others
    physical = next((each for each in partitions if each.content == "lvm"), None)
    if physical is None:
        raise BadKickstartError(f"{name}: volgroup {group} has no physical volume")
    return Layout(
        table=table, partitions=partitions, group=group, volumes=_divide(physical, group, volumes, name)
    )


def _table(
    handler: Any, parts: Sequence[_Request], firmware: frozenset[Firmware], disk_size: int, name: str
) -> str:
    automatic = (
        handler.autopart.seen or commands.seen(handler, "reqpart")
    ) and handler.clearpart.disklabel != "msdos"
    if disk_size >= LARGEST_MBR and automatic:
        return "gpt"
    wanted = handler.clearpart.disklabel == "gpt" or any(part.fstype == "biosboot" for part in parts)
    if wanted or (automatic and Firmware.UEFI in firmware):
        return "gpt"
    if disk_size >= LARGEST_MBR:
        raise BadKickstartError(
            f"{name}: an MBR reaches no further than 2 TiB; use clearpart --disklabel=gpt"
        )
    return "mbr"


# --- what is asked for --------------------------------------------------------------------------------------


def _asked(handler: Any, name: str) -> tuple[list[_Request], str, list[_Request]]:
    problems = Problems(name)
    groups, volumes = commands.data(handler, "volgroup"), commands.data(handler, "logvol")
    if len(groups) > 1 or (groups and len(groups[0].physvols) != 1):
        problems.add(groups[-1].lineno, "imagebuild executes one volgroup on one physical volume")
    group = groups[0].vgname if groups else ""
    parts, logvols = list[_Request](), list[_Request]()
    for part in commands.data(handler, "part"):
        with problems.gathering():
            parts.append(_part(part, name))
    for volume in volumes:
        if volume.vgname != group:
            problems.add(volume.lineno, f"logvol {volume.name}: there is no `volgroup {volume.vgname}`")
        with problems.gathering():
            logvols.append(_logvol(volume, name))
    if groups and not problems and not any(part.name == groups[0].physvols[0] for part in parts):
        problems.add(groups[0].lineno, f"there is no `part {groups[0].physvols[0]}`")
    if not problems:
        _refuse_idle(parts, groups[0].physvols if groups else (), problems)
    problems.refuse()
    return parts, group, logvols


def _refuse_idle(parts: Sequence[_Request], used: Sequence[str], problems: Problems) -> None:
    """Refuse physical volumes that no group is made of: nothing would be made of them."""
    for part in parts:
        if part.fstype == "lvm" and part.name not in used:
            problems.add(part.line, f"part {part.name}: no volgroup is made of it")


def _part(part: Any, name: str) -> _Request:
    mount, limit = part.mountpoint, part.maxSizeMB * MIB
    size = (part.size or 1) * MIB
    if mount.startswith("pv."):
        return _Request(name=mount, size=size, fstype="lvm", grow=part.grow, limit=limit, line=part.lineno)
    fstype = part.fstype or (mount if mount in ("biosboot", "swap") else "xfs")
    # what is neither mounted nor used as such would be another thing than was asked for: `part /var
    # --fstype=swap` is swap
    if fstype not in (MOUNTED if mount.startswith("/") else ("biosboot", "swap")):
        raise BadKickstartError(
            f"{name}:{part.lineno}: part {mount} --fstype={fstype} is not executed by imagebuild (it knows"
            f" {', '.join(sorted(FILE_SYSTEMS))})"
        )
    role = fstype if fstype in ("biosboot", "efi", "swap") else _role(mount)
    place = "" if fstype in ("biosboot", "swap") else mount
    return _Request(
        name=role,
        size=size,
        fstype=fstype,
        mount=place,
        grow=part.grow,
        limit=limit,
        label=part.label or "",
        line=part.lineno,
    )


def _role(mount: str) -> str:
    """Return the name of the partition that is mounted there; `root` is what is mounted at /, not at
    /root.
    """
    word = mount.strip("/").replace("/", "-") or "root"
    return f"at-{word}" if word in ("root", "biosboot", "efi", "swap") and mount.strip("/") else word


def _settled_all(
    requests: Sequence[_Request], tree: mount_points.Tree | None, name: str, problems: Problems
) -> list[_Request]:
    settled = list[_Request]()
    for request in requests:
        with problems.gathering():
            settled.append(_settled(request, tree, name))
    return settled


def _settled(request: _Request, tree: mount_points.Tree | None, name: str) -> _Request:
    """Return what is asked for, at the place where a host has it; what is not a usable mount point at all is
    refused by `_check_names`.
    """
    mount = mount_points.plain(request.mount)
    if PLACE.fullmatch(mount) and ".." not in mount.split("/"):
        mount = mount_points.settle(mount, tree, f"{name}:{request.line}: {request.mount}")
    return replace(request, mount=mount)


def _logvol(volume: Any, name: str) -> _Request:
    where = f"{name}:{volume.lineno}: logvol {volume.name}"
    fstype = "" if volume.thin_pool else volume.fstype or ("swap" if volume.mountpoint == "swap" else "xfs")
    if fstype not in ("", "xfs", "ext4", "swap"):
        raise BadKickstartError(f"{where} --fstype={volume.fstype} is not executed by imagebuild")
    if volume.mountpoint.startswith("/") and fstype in ("", "swap"):
        raise BadKickstartError(
            f"{where}: {'swap' if fstype else 'a thin pool'} cannot be mounted at {volume.mountpoint}"
        )
    if volume.mountpoint == "swap" and fstype != "swap":
        raise BadKickstartError(f"{where} --fstype={volume.fstype} is not swap")
    if volume.thin_volume and not volume.pool_name:
        raise BadKickstartError(f"{where}: a thin volume needs --poolname")
    kind = "thin-pool" if volume.thin_pool else "thin" if volume.thin_volume else "linear"
    return _Request(
        name=volume.name,
        size=(volume.size or 1) * MIB,
        fstype=fstype,
        mount="" if volume.mountpoint in ("swap", "none") else volume.mountpoint,
        grow=volume.grow,
        limit=volume.maxSizeMB * MIB,
        label=volume.label or "",
        line=volume.lineno,
        kind=kind,
        pool=volume.pool_name,
        percent=volume.percent or 0,
    )


def _required(handler: Any, table: str, firmware: frozenset[Firmware]) -> list[_Request]:
    """Return what the firmware needs (reqpart, autopart)."""
    found = []
    if Firmware.BIOS in firmware and table == "gpt":
        found.append(_Request(name="biosboot", size=BIOSBOOT_SIZE, fstype="biosboot"))
    if Firmware.UEFI in firmware:
        found.append(_Request(name="efi", size=ESP_SIZE, fstype="efi", mount="/boot/efi"))
    required = commands.seen(handler, "reqpart") and handler.reqpart.addBoot
    if required or (handler.autopart.seen and not getattr(handler.autopart, "noboot", False)):
        found.append(_Request(name="boot", size=BOOT_SIZE, fstype="ext4", mount="/boot"))
    return found


def _autopart(handler: Any, disk_size: int, name: str) -> tuple[list[_Request], str, list[_Request]]:
    """Return what `autopart` makes: a root that grows to its limit, and swap; plain, on a volume group, or
    thin.
    """
    auto = handler.autopart
    scheme = next((word for word, number in auto.typeMap.items() if number == auto.type), "lvm")
    if scheme == "btrfs":
        raise BadKickstartError(f"{name}:{auto.lineno}: autopart --type=btrfs is not executed by imagebuild")
    if auto.fstype and auto.fstype not in ("ext4", "xfs"):
        raise BadKickstartError(
            f"{name}:{auto.lineno}: autopart --fstype={auto.fstype} is not executed by imagebuild (it knows"
            " ext4, xfs)"
        )
    least, most = AUTO_ROOT["atomic" if handler.version < F28 else "server"]
    root = _Request(
        name="root",
        size=least,
        fstype=auto.fstype or "xfs",
        mount="/",
        grow=True,
        limit=most,
        line=auto.lineno,
    )
    swap = _Request(
        name="swap", size=min(AUTO_SWAP, disk_size // 10) // MIB * MIB, fstype="swap", line=auto.lineno
    )
    more = [] if getattr(auto, "noswap", False) else [swap]
    if scheme in ("plain", "partition"):
        return [root, *more], "", []
    physical = [_Request(name="pv.01", size=MIB, fstype="lvm", grow=True, line=auto.lineno)]
    if scheme != "thinp":
        return physical, AUTO_GROUP, [root, *more]
    pool = _Request(name=AUTO_POOL, size=least, grow=True, kind="thin-pool", line=auto.lineno)
    return physical, AUTO_GROUP, [*more, pool, replace(root, kind="thin", pool=AUTO_POOL)]


# --- sizes --------------------------------------------------------------------------------------------------


def _place(parts: Sequence[_Request], table: str, disk_size: int, name: str) -> tuple[Partition, ...]:
    available = disk_size - ALIGNMENT - (GPT_BACKUP if table == "gpt" else 0)
    total = sum(part.size for part in parts)
    if total > available:
        raise _does_not_fit(
            name, "the disk", disk_size, available, [(part.mount or part.name, part.size) for part in parts]
        )
    if table == "mbr" and len(parts) > 4:
        raise BadKickstartError(
            f"{name}:{parts[4].line}: an MBR holds four partitions; use clearpart --disklabel=gpt"
        )
    start, found = ALIGNMENT, list[Partition]()
    for number, (part, size) in enumerate(
        zip(parts, _grow(parts, available - total, MIB), strict=True), start=1
    ):
        found.append(
            Partition(
                name=part.name,
                number=number,
                start=start,
                size=size,
                content=part.fstype,
                mount=part.mount,
                label=part.label,
            )
        )
        start += size
    return tuple(found)


def _divide(physical: Partition, group: str, volumes: Sequence[_Request], name: str) -> tuple[Volume, ...]:
    extents = (physical.size - PE_START) // EXTENT
    rounded = [
        replace(each, size=0 if each.percent else -(-each.size // EXTENT) * EXTENT) for each in volumes
    ]
    # a percentage is of what the others leave (blivet.partitioning, LVRequest)
    left = extents - sum(each.size for each in rounded if each.kind != "thin") // EXTENT
    rounded = [
        replace(each, size=max(left, 0) * each.percent // 100 * EXTENT) if each.percent else each
        for each in rounded
    ]
    for each in rounded:
        if not each.size:
            raise BadKickstartError(
                f"{name}:{each.line}: logvol {each.name}: {each.percent} % of what is left in {group} is"
                " nothing"
            )
    solid = [each for each in rounded if each.kind != "thin"]
    pools = [each for each in solid if each.kind == "thin-pool"]
    # a pool's metadata volume and its spare
    metadata = sum(2 * _metadata(each.size) for each in pools)
    total = sum(each.size for each in solid) + metadata
    if total > extents * EXTENT:
        asked = [(each.name, each.size) for each in solid] + (
            [("thin pool metadata", metadata)] if metadata else []
        )
        raise _does_not_fit(name, f"volume group {group}", physical.size, extents * EXTENT, asked)
    spare = extents * EXTENT - total
    if any(each.grow for each in pools):
        # what Anaconda leaves free in a thin group: a fifth, 1 … 100 GiB (blivet.partitioning)
        spare -= 2 * (_metadata(spare) + EXTENT) + min(max(extents * EXTENT // 5, GIB), 100 * GIB)
    sizes = dict(zip([each.name for each in solid], _grow(solid, max(spare, 0), EXTENT), strict=True))
    for each in rounded:
        if each.kind == "thin":
            if each.pool not in sizes:
                raise BadKickstartError(
                    f"{name}:{each.line}: logvol {each.name}: there is no thin pool {each.pool!r}"
                )
            sizes[each.name] = (
                min(sizes[each.pool], each.limit or sizes[each.pool]) // EXTENT * EXTENT
                if each.grow
                else each.size
            )
    return tuple(
        Volume(
            name=each.name,
            size=sizes[each.name],
            fstype=each.fstype,
            mount=each.mount,
            label=each.label,
            kind=each.kind,
            pool=each.pool,
        )
        for each in rounded
    )


def _metadata(pool: int) -> int:
    return max(EXTENT, -(-pool // POOL_METADATA // EXTENT) * EXTENT)


def _grow(requests: Sequence[_Request], spare: int, unit: int) -> list[int]:
    """Return the sizes when `spare` bytes go to those that grow, in proportion to what they asked for
    (blivet.partitioning, Chunk).
    """
    sizes = [request.size for request in requests]
    growing = [index for index, request in enumerate(requests) if request.grow]
    while growing and spare >= unit:
        weight = sum(requests[index].size for index in growing)
        shares = {index: spare * requests[index].size // weight // unit * unit for index in growing}
        if not any(shares.values()):
            shares[growing[-1]] = spare // unit * unit
        for index, share in shares.items():
            limit = requests[index].limit
            room = max(0, limit // unit * unit - sizes[index]) if limit else share
            given = min(share, room)
            sizes[index] += given
            spare -= given
        growing = [
            index
            for index in growing
            if not requests[index].limit or sizes[index] + unit <= requests[index].limit
        ]
    return sizes


def _check_names(parts: Sequence[_Request], group: str, volumes: Sequence[_Request], name: str) -> None:
    """Refuse what would clash or mislead: names and places go into LVM's metadata, fstab, and commands."""
    problems, seen = Problems(name), set[str]()
    for each in [*parts, *volumes]:
        what = each.mount or each.name
        if not WORD.fullmatch(each.name) or (
            each.mount and (not PLACE.fullmatch(each.mount) or ".." in each.mount.split("/"))
        ):
            problems.add(each.line, f"{what} is not a usable name or mount point")
        twice = {each.name, each.mount} & seen
        if twice - {""}:
            problems.add(each.line, f"{what}: {', '.join(sorted(twice - {''}))} is there twice")
        seen |= {each.name, each.mount}
        if (each.mount == "/boot/efi") != (each.fstype == "efi"):
            problems.add(each.line, f"{what}: an ESP is mounted at /boot/efi, and nothing else is")
    if group and not WORD.fullmatch(group):
        problems.add(0, f"volgroup {group!r} is not a usable name")
    problems.refuse()


def _does_not_fit(
    name: str, what: str, size: int, available: int, parts: Sequence[tuple[str, int]]
) -> BadKickstartError:
    sums = " + ".join(f"{part} {count // MIB}" for part, count in parts)
    total = sum(count for _, count in parts) // MIB
    return BadKickstartError(
        f"{name}: {what} is too small: {sums} = {total} MiB, but of {size // MIB} MiB {available // MIB} MiB"
        " can be used"
    )


def _check_firmware(
    partitions: Sequence[Partition], table: str, firmware: frozenset[Firmware], name: str
) -> None:
    problems, contents = Problems(name), {each.content for each in partitions}
    if Firmware.UEFI in firmware and "efi" not in contents:
        problems.add(
            0,
            "UEFI is wanted but there is no ESP",
            "add `part /boot/efi --fstype=efi --size=64`, or take uefi out of images.*.firmware",
        )
    if Firmware.BIOS in firmware and table == "gpt" and "biosboot" not in contents:
        problems.add(
            0,
            "BIOS is wanted on GPT but there is no BIOS boot partition",
            "add `part biosboot --fstype=biosboot --size=1`",
        )
    if not any(each.mount == "/boot" for each in partitions):
        problems.add(
            0,
            "there is no separate /boot, which the boot loader reads",
            "add `part /boot --size=300 --fstype=ext4`",
        )
    problems.refuse()
