"""btrfs as kickstarts ask for it: a volume on one partition, and subvolumes of it.

`part btrfs.01`, `btrfs none --label=host btrfs.01`, `btrfs / --subvol --name=root LABEL=host` (or the bare
label, or the partition's name): pykickstart 3.78, commands/btrfs.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from imagebuild.kickstart import handlers
from imagebuild.kickstart.problems import Problems
from imagebuild.kickstart.requests import SizeRequest

PREFIX = "btrfs."
# btrfs-subvolume(8): a path from the top of the volume; here without what fstab(5) would have to escape
NAME = re.compile(r"[A-Za-z0-9_.@+-]+(/[A-Za-z0-9_.@+-]+)*")


@dataclass(frozen=True, kw_only=True)
class SubvolumeRequest:
    """A subvolume `name` of the volume on the partition `device`, mounted at `mount`."""

    name: str
    device: str
    mount: str
    line: int

    def as_request(self) -> SizeRequest:
        """Return it as what has a mount point and a line."""
        name = f"{self.device}.{self.name}".replace("/", ".")
        return SizeRequest(name=name, size=0, mount=self.mount, line=self.line)


def asked_for(
    handler: Any, parts: Sequence[SizeRequest], problems: Problems
) -> tuple[list[SizeRequest], list[SubvolumeRequest]]:
    """Return the partitions, of which those of btrfs have got label and mount point of their volume, and the
    subvolumes. What is wrong goes to `problems`.
    """
    if handler.autopart.seen:
        return list(parts), [
            SubvolumeRequest(name="root", device=part.name, mount="/", line=part.line)
            for part in parts
            if part.name.startswith(PREFIX)
        ]
    given = handlers.data(handler, "btrfs")
    members = {part.name: part for part in parts if part.name.startswith(PREFIX)}
    volumes = {}
    for volume in (each for each in given if not each.subvol):
        member = _member(volume, members, problems)
        if member is not None and member.name in volumes:
            problems.add(volume.lineno, f"btrfs: {member.name} is a volume already")
        elif member is not None:
            volumes[member.name] = replace(
                member, label=volume.label or "", mount=_mount(volume.mountpoint), line=volume.lineno
            )
    for name, part in members.items():
        if name not in volumes and not problems:
            problems.add(part.line, f"part {name}: no `btrfs` makes a volume of it")
    subvolumes = [
        found for each in given if each.subvol and (found := _subvolume(each, volumes, problems)) is not None
    ]
    return [volumes.get(part.name, part) for part in parts], subvolumes


def _member(volume: Any, members: dict[str, SizeRequest], problems: Problems) -> SizeRequest | None:
    if len(volume.devices) != 1:
        problems.add(volume.lineno, "btrfs: imagebuild makes a volume on one partition")
        return None
    if volume.devices[0] not in members:
        problems.add(volume.lineno, f"btrfs: there is no `part {volume.devices[0]}`")
        return None
    return members[volume.devices[0]]


def _subvolume(given: Any, volumes: dict[str, SizeRequest], problems: Problems) -> SubvolumeRequest | None:
    named = given.parent or given.devices[0]
    label = named.removeprefix("LABEL=")
    parents = [name for name, volume in volumes.items() if name == named or (label and volume.label == label)]
    if not parents:
        if not problems:
            problems.add(given.lineno, f"btrfs --subvol --name={given.name}: there is no volume {named}")
        return None
    if not NAME.fullmatch(given.name) or ".." in given.name.split("/"):
        problems.add(given.lineno, f"btrfs --subvol: {given.name!r} is not a usable name")
        return None
    if given.label:
        problems.add(given.lineno, "btrfs --subvol: --label is of the volume, a subvolume has none")
    return SubvolumeRequest(
        name=given.name, device=parents[0], mount=_mount(given.mountpoint), line=given.lineno
    )


def _mount(mountpoint: str) -> str:
    return "" if mountpoint == "none" else mountpoint
