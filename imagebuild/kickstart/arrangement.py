"""A whole disk arranged: what is asked for, what the firmware needs, every size, checked."""

from collections.abc import Sequence
from typing import Any

from imagebuild.kickstart import handlers, mount_points
from imagebuild.kickstart.layout import LARGEST_MBR, Layout, Partition
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
) -> Layout:
    """Work out a layout from a parsed kickstart; mount points are where the links of `tree` lead.

    Raises BadKickstartError: what is not executed, or no host can have (line), what does not fit (sums).
    """
    parts, group, volumes = (
        automatic(handler, disk_size, name) if handler.autopart.seen else asked_for(handler, name)
    )
    problems = Problems(name)
    parts, volumes = (settle_all(requests, tree, name, problems) for requests in (parts, volumes))
    problems.refuse()
    table = _table(handler, parts, firmware, disk_size, name)
    required = (
        required_by_firmware(handler, table, firmware)
        if handler.autopart.seen or handlers.seen(handler, "reqpart")
        else []
    )
    _check_names([*required, *parts], group, volumes, name)
    partitions = place_partitions([*required, *parts], table, disk_size, name)
    _check_firmware(partitions, table, firmware, name)
    if not group:
        return Layout(table=table, partitions=partitions)
    # there is one: `_refuse_idle` took care of others
    physical = next((each for each in partitions if each.content == "lvm"), None)
    if physical is None:
        raise BadKickstartError(f"{name}: volgroup {group} has no physical volume")
    return Layout(
        table=table, partitions=partitions, group=group, volumes=divide_group(physical, group, volumes, name)
    )


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
    if not any(each.mount == "/boot" for each in partitions):
        problems.add(
            0,
            "there is no separate /boot, which the boot loader reads",
            "add `part /boot --size=300 --fstype=ext4`",
        )
    problems.refuse()
