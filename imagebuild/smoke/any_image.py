"""Any image file, ours or not: what format it is, what it holds, whether it meets the criteria; and a console
on a throw-away copy.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from imagebuild.errors import BuildError, UsageError
from imagebuild.formats import archives, bounded, layers, raw_4k, vhd
from imagebuild.formats.bounded import HOSTILE
from imagebuild.formats.box import describes_machine
from imagebuild.formats.format import Unpacked
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke import installation
from imagebuild.smoke.first_boot import booted
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.commands import Deployment
from imagebuild.smoke.hosts.registry import recognise as recognise_host
from imagebuild.smoke.trial import Trial
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu import disk_image

# on which controller the users of disks that are not written here have them: their firmware emulates IDE
CONTROLLERS = {"vpc": Controller.IDE, "vhdx": Controller.IDE, "vdi": Controller.IDE}
KNOWN = (
    "raw, qcow2, vmdk, vhd, vhdx, vdi, an installer ISO; any of them in xz, zst, gz, bz2, lz4; Vagrant boxes,"
    " OVA, and tar or zip archives of one"
)


@dataclass(frozen=True, kw_only=True)
class Peeked:
    """What a host says of itself: the deployment it has booted, and which programs upgrade it."""

    deployment: Deployment
    kind: str


def recognise(file: Path) -> str:
    """Return an image's format by its content: qcow2, raw.xz, iso, vagrant-libvirt, ova, raw.tar.gz … Raises
    UsageError, BuildError.
    """
    packed, kind = _look(file)
    if kind == "tar":
        paths = []
        for path, content, _ in _members(file, packed):
            paths.append(path)
            if describes_machine(paths) and (name := archives.name_of(paths)) is not None:
                return name
            with archives.usable(file.name):
                inner = layers.kind_of(content.read(layers.HEAD))
            kind = f"{inner}.tar" if inner is not None and kind == "tar" else kind
        if (name := archives.name_of(paths)) is not None:
            return name
    if kind == "raw" and not packed and vhd.has_footer(file):
        return vhd.FORMAT.name
    return ".".join((kind, *reversed(packed)))


def refused_for(file: Path) -> list[str]:
    """Return what the cloud or hypervisor that an image is made for would refuse it for, though it may boot
    elsewhere. Raises as `recognise`.
    """
    record = FORMATS.get(recognise(file))
    return record.problems(file) if record is not None and record.problems is not None else []


def _look(file: Path) -> tuple[tuple[str, ...], str]:
    """Return what a file is compressed with, and what is in it."""
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    packed, kind = layers.recognise(file)
    if kind is None:
        inside = f"what is in {file} ({', '.join(packed)})" if packed else str(file)
        raise UsageError(f"{inside} is not a disk image that is known here", hint=f"known formats: {KNOWN}")
    return packed, kind


def _members(file: Path, packed: Sequence[str]) -> Iterator[tuple[str, IO[bytes], int]]:
    return archives.members_of(file.name, lambda: bounded.stream_of(file, packed))


@contextlib.contextmanager
def opened(
    file: Path, work: Path, firmware: Firmware, accelerator: Accelerator
) -> Iterator[tuple[Unpacked, bool]]:
    """Yield the disk of an image as its users would boot it, and whether an installer ISO was installed
    first. Raises BuildError, UsageError.
    """
    unpacked = _unpacked(file, work, layers.DEEPEST)
    if unpacked.format == "iso":
        yield _installed(unpacked.disk, work, firmware, accelerator), True
        return
    disk_image.refuse_outside(unpacked.disk, unpacked.format, what=str(file))
    if unpacked.controller is Controller.NVME_4K and firmware is Firmware.BIOS:
        raise UsageError(
            f"{file.name} is for drives with blocks of {raw_4k.SECTOR} bytes, from which no BIOS boots",
            hint="give --firmware uefi",
        )
    yield unpacked, False


def _unpacked(file: Path, work: Path, depth: int) -> Unpacked:
    """Unpack an image until it is a disk (or an ISO), as its users would."""
    packed, kind = _look(file)
    if kind not in ("tar", "zip"):
        disk = layers.unpacked(file, packed, work)
        kind = "vpc" if kind == "raw" and vhd.has_footer(disk) else kind
        if kind in FORMATS:
            return FORMATS[kind].unpack(disk, work)
        if kind == "raw" and raw_4k.is_for_it(disk):
            return Unpacked(disk=disk, format=kind, controller=Controller.NVME_4K, sector_size=raw_4k.SECTOR)
        return Unpacked(disk=disk, format=kind, controller=CONTROLLERS.get(kind, Controller.VIRTIO))
    if depth == 0:
        raise BuildError(f"{file.name} is an archive in more than {layers.DEEPEST} others", hint=HOSTILE)
    members = (
        _members(file, packed) if kind == "tar" else archives.zipped(layers.unpacked(file, packed, work))
    )
    disk_inside = archives.disk_in(archives.extract(members, file.name, work), file.name)
    inner = _unpacked(disk_inside.file, work, depth - 1)
    return replace(
        inner, controller=disk_inside.controller or inner.controller, size=disk_inside.size or inner.size
    )


def _installed(iso: Path, work: Path, firmware: Firmware, accelerator: Accelerator) -> Unpacked:
    evidence = work / "installation"
    evidence.mkdir()
    disk = work / "installed.qcow2"
    installation.install(
        installation.InstallerBench(
            iso=iso, firmware=firmware, accelerator=accelerator, cores=accelerator.cores
        ),
        disk,
        evidence,
    )
    return Unpacked(disk=disk, format="qcow2", controller=Controller.VIRTIO)


def peek(trial: Trial) -> Peeked:
    """Boot an image once, and ask what it is. Raises BuildError when it does not come up."""
    with booted(trial) as boot:
        if boot.host is None:
            raise BuildError(
                f"{trial.subject.artifact} does not say what it is: {boot.problem}",
                hint="give --commit to test it all the same",
            )
        try:
            return _asked(boot.host)
        except AssertionError as error:
            raise BuildError(
                f"{trial.subject.artifact} does not say what it is: {error}",
                hint="give --commit to test it all the same",
            ) from error


def _asked(host: Host) -> Peeked:
    kind = recognise_host(lambda path: host.is_there(f"/{path}"))
    host.commands = kind.commands
    deployment = host.booted()
    if not deployment.commit:
        raise BuildError("the image did not boot an OSTree deployment", hint="is it an atomic host?")
    return Peeked(deployment=deployment, kind=kind.name)
