"""A whole disk arranged: what is asked for, what the firmware needs, every size, checked."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from imagebuild.kickstart import btrfs, handlers, mount_points
from imagebuild.kickstart.layout import LARGEST_MBR, SECTOR, SECTORS, Layout, Partition, Subvolume
from imagebuild.kickstart.problems import BadKickstartError, Problems
from imagebuild.kickstart.requests import (
    PLACE,
    WORD,
    SizeRequest,
    asked_for,
    automatic,
    required_by_firmware,
    settle_all,
)
from imagebuild.kickstart.sizes import divide_group, place_partitions
from imagebuild.kinds import Firmware


def lay_out(
    handler: Any,
    disk_size: int,
    firmware: frozenset[Firmware],
    name: str,
    tree: mount_points.TreeFiles | None = None,
    *,
    sector_size: int = SECTOR,
) -> Layout:
    """Work out a layout from a parsed kickstart; mount points are where the links of `tree` lead.

    Raises BadKickstartError: what is not executed, or no host can have (line), what does not fit (sums).
    """
    parts, group, volumes = (
        automatic(handler, disk_size, name) if handler.autopart.seen else asked_for(handler, name)
    )
    problems = Problems(name)
    parts, subvolumes = btrfs.asked_for(handler, parts, problems)
    parts, volumes, mounted = (
        settle_all(requests, tree, name, problems)
        for requests in (parts, volumes, [each.as_request() for each in subvolumes])
    )
    problems.refuse()
    table = _table(handler, parts, firmware, disk_size, name)
    required = (
        required_by_firmware(handler, table, firmware)
        if handler.autopart.seen or handlers.seen(handler, "reqpart")
        else []
    )
    _check_names([*required, *parts], group, [*volumes, *mounted], name)
    partitions = place_partitions([*required, *parts], table, disk_size, name)
    _check_firmware(partitions, table, firmware, name)
    _check_sectors(sector_size, table, firmware, name)
    layout = Layout(
        table=table,
        partitions=partitions,
        sector_size=sector_size,
        subvolumes=tuple(
            Subvolume(name=each.name, device=each.device, mount=place.mount)
            for each, place in zip(subvolumes, mounted, strict=True)
        ),
    )
    if not group:
        return layout
    # there is one: `_refuse_idle` took care of others
    physical = next((each for each in partitions if each.content == "lvm"), None)
    if physical is None:
        raise BadKickstartError(f"{name}: volgroup {group} has no physical volume")
    return replace(layout, group=group, volumes=divide_group(physical, group, volumes, name))


def _table(
    handler: Any, parts: Sequence[SizeRequest], firmware: frozenset[Firmware], disk_size: int, name: str
) -> str:
    automatic = (
        handler.autopart.seen or handlers.seen(handler, "reqpart")
    ) and handler.clearpart.disklabel != "msdos"
    if disk_size >= LARGEST_MBR and automatic:
        return "gpt"
    wanted = handler.clearpart.disklabel == "gpt" or any(part.fstype == "biosboot" for part in parts)
    if wanted or (automatic and any(each.is_uefi for each in firmware)):
        return "gpt"
    if disk_size >= LARGEST_MBR:
        raise BadKickstartError(
            f"{name}: an MBR reaches no further than 2 TiB; use clearpart --disklabel=gpt"
        )
    return "mbr"


def _check_names(parts: Sequence[SizeRequest], group: str, volumes: Sequence[SizeRequest], name: str) -> None:
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


def _check_firmware(
    partitions: Sequence[Partition], table: str, firmware: frozenset[Firmware], name: str
) -> None:
    problems, contents = Problems(name), {each.content for each in partitions}
    if any(each.is_uefi for each in firmware) and "efi" not in contents:
        problems.add(
            0,
            "UEFI is wanted but there is no ESP",
            "add `part /boot/efi --fstype=efi --size=64`, or leave only bios in images.*.firmware",
        )
    if Firmware.BIOS in firmware and table == "gpt" and "biosboot" not in contents:
        problems.add(
            0,
            "BIOS is wanted on GPT but there is no BIOS boot partition",
            "add `part biosboot --fstype=biosboot --size=1`",
        )
    if any(each.mount == "/boot" and each.content == "btrfs" for each in partitions):
        problems.add(
            0,
            "/boot is on btrfs, which the boot loader that is made here does not read",
            "add `part /boot --size=1024 --fstype=ext4`",
        )
    if not any(each.mount == "/boot" for each in partitions):
        problems.add(
            0,
            "there is no separate /boot, which the boot loader reads",
            "add `part /boot --size=300 --fstype=ext4`",
        )
    problems.refuse()


def _check_sectors(sector_size: int, table: str, firmware: frozenset[Firmware], name: str) -> None:
    """Refuse what cannot boot from a disk whose logical block is not 512 bytes: the BIOS' own calls and the
    block lists of GRUB's boot.img count in 512 (grub-core/boot/i386/pc/boot.S); its MBR is not read.
    """
    problems = Problems(name)
    if sector_size not in SECTORS:
        problems.add(0, f"the disk has sectors of {sector_size} bytes: there are layouts for 512 and 4096")
    if sector_size != SECTOR and Firmware.BIOS in firmware:
        problems.add(
            0,
            f"a disk with sectors of {sector_size} bytes cannot be booted under BIOS, which reads 512",
            "start the machine under UEFI, or take a disk (an emulation of one) with sectors of 512 bytes",
        )
    elif sector_size != SECTOR and table != "gpt":
        problems.add(
            0,
            f"a disk with sectors of {sector_size} bytes needs a GPT",
            "use clearpart --disklabel=gpt, or leave --disklabel out with reqpart",
        )
    problems.refuse()
