"""What others know of a kind of file in a release, and of a download format that a disk is written as."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuild.architectures.registry import DEFAULT
from imagebuild.architectures.x86_64 import X86_64
from imagebuild.config.fields import Model
from imagebuild.errors import BuildError
from imagebuild.kinds import Controller
from imagebuild.model import Disk

# a cloud by the datasources of cloud-init that serve its users: one of each set must be in cloud-init's list
Clouds = tuple[frozenset[str], ...]
# a machine that only x86_64 has: its chip set, or its controller
X86_64_ONLY = frozenset({X86_64.name})
CLOUDS: Clouds = (frozenset({"NoCloud"}), frozenset({"ConfigDrive", "OpenStack"}), frozenset({"Ec2"}))


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is converted: the installed disk, the product's name for descriptions, ids that follow from the
    commit, a fixed time.
    """

    disk: Disk
    title: str
    os_id: str
    seed: str
    epoch: int
    arch: str = DEFAULT


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A disk as a user's hypervisor would open it: the file, its QEMU format, the controller it is attached
    to.

    `size` (bytes) is that of the disk the hypervisor makes of it, when it makes it larger; `sector_size` the
    logical block that it is laid out for, in bytes.
    """

    disk: Path
    format: str
    controller: Controller
    size: int | None = None
    sector_size: int = 512


@dataclass(frozen=True, kw_only=True)
class Magic:
    """The bytes that a file of a kind has at an offset, with nothing around it."""

    data: bytes
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class FileKind:
    """A kind of file that a release has.

    `suffix` ends its name; `title`, `text` and `command` are what the page says ({name} is the file, {box}
    Vagrant's name for it, {qemu} starts a guest of the architecture), `column` what heads its column of the
    report (empty: the suffix). `productmd` is its type and format there (productmd/images.py), `cosa` its
    name in coreos-assembler's meta.json; None: there is no word for it. `arches` are those that it is made
    for (empty: all). A file of it begins with `magic`, or is an archive whose members `members` accepts, or
    is named after its layers (raw.xz).
    """

    name: str
    suffix: str
    title: str
    command: str
    text: str = ""
    column: str = ""
    productmd: tuple[str, str] | None = None
    cosa: str | None = None
    arches: frozenset[str] = frozenset()
    magic: Magic | None = None
    members: Callable[[Collection[str]], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class Format(FileKind):
    """A download that is made of an installed disk.

    `write` is given the disk, an empty directory, the name without suffix and an instance of `options`;
    `unpack` what a user downloads and an empty directory, and does there what the user's program would do.
    `tools` are the programs that run, on so many `cores`; `reads` are the files of templates/ that it opens.
    `size` is what it takes at most, as a part of the tree's content; `clouds` are those that its users have.
    `problems` looks at a file of it, from wherever, and returns what its cloud or hypervisor would refuse it
    for, a sentence each; `unpack` raises BuildError for the same of our own. `sector_size`: of which disks it
    is made (their logical block, in bytes).
    """

    options: type[Model]
    write: Callable[[Source, Path, str, Any], Path]
    unpack: Callable[[Path, Path], Unpacked]
    tools: tuple[str, ...]
    cores: int = 2
    size: float = 0.6
    reads: tuple[str, ...] = ()
    clouds: Clouds = ()
    problems: Callable[[Path], list[str]] | None = None
    sector_size: int = 512


def refuse(name: str, problems: list[str]) -> None:
    """Raise BuildError when there is something that a file would be refused for."""
    if problems:
        raise BuildError(f"{name} is not what its users' programs take: {'; '.join(problems)}")
