"""What a kickstart asks of a disk: partitions and volumes with their sizes, before anything is worked out.

Sources: the kickstart documentation of pykickstart (part, reqpart, autopart, volgroup, logvol), and blivet's
`autopart` for what Anaconda makes of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pykickstart.version import F28

from imagebuild.kickstart import encryption, handlers, mount_points
from imagebuild.kickstart.encryption import Encryption
from imagebuild.kickstart.layout import FILE_SYSTEMS, GIB, MIB, MOUNTED
from imagebuild.kickstart.problems import BadKickstartError, Problems
from imagebuild.kinds import Firmware

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


@dataclass(frozen=True, kw_only=True)
class SizeRequest:
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
    encryption: Encryption | None = None


def asked_for(handler: Any, name: str) -> tuple[list[SizeRequest], str, list[SizeRequest]]:
    """Return the partitions, the group and the volumes that commands ask for. Raises BadKickstartError."""
    problems = Problems(name)
    groups, volumes = handlers.data(handler, "volgroup"), handlers.data(handler, "logvol")
    if len(groups) > 1 or (groups and len(groups[0].physvols) != 1):
        problems.add(groups[-1].lineno, "imagebuild executes one volgroup on one physical volume")
    group = groups[0].vgname if groups else ""
    parts, logvols = list[SizeRequest](), list[SizeRequest]()
    for part in handlers.data(handler, "part"):
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


def _refuse_idle(parts: Sequence[SizeRequest], used: Sequence[str], problems: Problems) -> None:
    """Refuse physical volumes that no group is made of: nothing would be made of them."""
    for part in parts:
        if part.fstype == "lvm" and part.name not in used:
            problems.add(part.line, f"part {part.name}: no volgroup is made of it")


def _part(part: Any, name: str) -> SizeRequest:
    mount, limit = part.mountpoint, part.maxSizeMB * MIB
    size = (part.size or 1) * MIB
    locked = encryption.of(part)
    if mount.startswith("btrfs.") and part.fstype not in ("", None, "btrfs"):
        raise BadKickstartError(f"{name}:{part.lineno}: part {mount} --fstype={part.fstype} is not btrfs")
    if mount.startswith(("pv.", "btrfs.")):
        return SizeRequest(
            name=mount,
            size=size,
            fstype="lvm" if mount.startswith("pv.") else "btrfs",
            grow=part.grow,
            limit=limit,
            line=part.lineno,
            encryption=locked,
        )
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
    return SizeRequest(
        name=role,
        size=size,
        fstype=fstype,
        mount=place,
        grow=part.grow,
        limit=limit,
        label=part.label or "",
        line=part.lineno,
        encryption=locked,
    )


def _role(mount: str) -> str:
    """Return the name of the partition that is mounted there; `root` is what is mounted at /, not at
    /root.
    """
    word = mount.strip("/").replace("/", "-") or "root"
    return f"at-{word}" if word in ("root", "biosboot", "efi", "swap") and mount.strip("/") else word


def settle_all(
    requests: Sequence[SizeRequest], tree: mount_points.TreeFiles | None, name: str, problems: Problems
) -> list[SizeRequest]:
    """Return requests at the places where a host has them; what no host can have goes to `problems`."""
    settled = list[SizeRequest]()
    for request in requests:
        with problems.gathering():
            settled.append(_settle(request, tree, name))
    return settled


def _settle(request: SizeRequest, tree: mount_points.TreeFiles | None, name: str) -> SizeRequest:
    """Return what is asked for, at the place where a host has it; what is not a usable mount point at all is
    refused by `_check_names`.
    """
    mount = mount_points.plain(request.mount)
    if PLACE.fullmatch(mount) and ".." not in mount.split("/"):
        mount = mount_points.settle(mount, tree, f"{name}:{request.line}: {request.mount}")
    return replace(request, mount=mount)


def _logvol(volume: Any, name: str) -> SizeRequest:
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
    return SizeRequest(
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


def required_by_firmware(handler: Any, table: str, firmware: frozenset[Firmware]) -> list[SizeRequest]:
    """Return what the firmware needs (reqpart, autopart)."""
    found = []
    if Firmware.BIOS in firmware and table == "gpt":
        found.append(SizeRequest(name="biosboot", size=BIOSBOOT_SIZE, fstype="biosboot"))
    if any(each.is_uefi for each in firmware):
        found.append(SizeRequest(name="efi", size=ESP_SIZE, fstype="efi", mount="/boot/efi"))
    required = handlers.seen(handler, "reqpart") and handler.reqpart.addBoot
    if required or (handler.autopart.seen and not getattr(handler.autopart, "noboot", False)):
        found.append(SizeRequest(name="boot", size=BOOT_SIZE, fstype="ext4", mount="/boot"))
    return found


def automatic(handler: Any, disk_size: int, name: str) -> tuple[list[SizeRequest], str, list[SizeRequest]]:
    """Return what `autopart` makes: a root that grows to its limit, and swap; plain, on a volume group, thin,
    or a subvolume (btrfs.py) of what takes the whole disk.
    """
    auto = handler.autopart
    scheme = next((word for word, number in auto.typeMap.items() if number == auto.type), "lvm")
    if scheme not in ("lvm", "plain", "partition", "thinp", "btrfs"):
        raise BadKickstartError(
            f"{name}:{auto.lineno}: autopart --type={scheme} is not executed by imagebuild"
        )
    locked = encryption.of(auto)
    if auto.fstype and auto.fstype not in ("ext4", "xfs"):
        raise BadKickstartError(
            f"{name}:{auto.lineno}: autopart --fstype={auto.fstype} is not executed by imagebuild (it knows"
            " ext4, xfs)"
        )
    least, most = AUTO_ROOT["atomic" if handler.version < F28 else "server"]
    root = SizeRequest(
        name="root",
        size=least,
        fstype=auto.fstype or "xfs",
        mount="/",
        grow=True,
        limit=most,
        line=auto.lineno,
    )
    swap = SizeRequest(
        name="swap", size=min(AUTO_SWAP, disk_size // 10) // MIB * MIB, fstype="swap", line=auto.lineno
    )
    more = [] if getattr(auto, "noswap", False) else [swap]
    if scheme in ("plain", "partition", "btrfs"):
        whole = replace(root, name="btrfs.01", mount="", fstype="btrfs", limit=0)
        return [
            replace(each, encryption=locked) for each in (whole if scheme == "btrfs" else root, *more)
        ], "", []  # fmt: skip
    physical = [
        SizeRequest(name="pv.01", size=MIB, fstype="lvm", grow=True, line=auto.lineno, encryption=locked)
    ]
    if scheme != "thinp":
        return physical, AUTO_GROUP, [root, *more]
    pool = SizeRequest(name=AUTO_POOL, size=least, grow=True, kind="thin-pool", line=auto.lineno)
    return physical, AUTO_GROUP, [*more, pool, replace(root, kind="thin", pool=AUTO_POOL)]
