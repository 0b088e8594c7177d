"""Any image file, ours or not: what format it is, what it holds, whether it meets the criteria; and a console on a throw-away copy."""

import contextlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuild import installation
from imagebuild.errors import BuildError, UsageError
from imagebuild.formats import Unpacked
from imagebuild.formats.table import FORMATS
from imagebuild.guest import Host
from imagebuild.hosts import Deployment
from imagebuild.hosts.table import commands_of
from imagebuild.kinds import Controller, Firmware, HostKind
from imagebuild.rig import Rig, booted
from imagebuild.tools import qemu
from imagebuild.tools.accelerator import Accelerator

# the first bytes of each format (file(1)'s magic; ISO 9660: the volume descriptor at sector 16)
MAGIC = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"\xfd7zXZ\x00", "raw.xz"),
    (0, b"\x28\xb5\x2f\xfd", "raw.zst"),
    (32769, b"CD001", "iso"),
    (510, b"\x55\xaa", "raw"),
)


@dataclass(frozen=True, kw_only=True)
class Peeked:
    """What a host says of itself: the deployment it has booted, and which programs upgrade it."""

    deployment: Deployment
    kind: HostKind


def recognise(file: Path) -> str:
    """Return an image's format by its content: a key of FORMATS, `raw` or `iso`. Raises UsageError."""
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    with contextlib.suppress(tarfile.TarError, OSError, EOFError), tarfile.open(file) as tar:
        names = {member.name.removeprefix("./") for member in tar}
        if "metadata.json" in names:
            return "vagrant-virtualbox" if "box.ovf" in names else "vagrant-libvirt"
    with file.open("rb") as stream:
        for offset, magic, name in MAGIC:
            stream.seek(offset)
            if stream.read(len(magic)) == magic:
                return name
    raise UsageError(f"{file} is no disk image that is known here", hint=f"known are: raw, iso, {', '.join(FORMATS)}")


@contextlib.contextmanager
def opened(file: Path, work: Path, firmware: Firmware, accelerator: Accelerator) -> Iterator[tuple[Unpacked, bool]]:
    """Yield the disk of an image as its users would boot it, and whether an installer ISO was installed first. Raises BuildError, UsageError."""
    name = recognise(file)
    if name == "iso":
        yield _installed(file, work, firmware, accelerator), True
        return
    unpacked = Unpacked(disk=file, format="raw", controller=Controller.VIRTIO) if name == "raw" else FORMATS[name].unpack(file, work)
    qemu.refuse_outside(unpacked.disk, unpacked.format, what=str(file))
    yield unpacked, False


def _installed(iso: Path, work: Path, firmware: Firmware, accelerator: Accelerator) -> Unpacked:
    evidence = work / "installation"
    evidence.mkdir()
    disk = work / "installed.qcow2"
    installation.install(installation.Bench(iso=iso, firmware=firmware, accelerator=accelerator, cores=accelerator.cores), disk, evidence)
    return Unpacked(disk=disk, format="qcow2", controller=Controller.VIRTIO)


def peek(rig: Rig) -> Peeked:
    """Boot an image once, and ask what it is. Raises BuildError when it does not come up."""
    with booted(rig) as boot:
        if boot.host is None:
            raise BuildError(f"{rig.artifact} does not say what it is: {boot.problem}", hint="give --commit to test it all the same")
        return _asked(boot.host)


def _asked(host: Host) -> Peeked:
    kind = HostKind.RPM_OSTREE if host.has("rpm-ostree") else HostKind.OSTREE
    host.commands = commands_of(kind)[0]
    deployment = host.booted()
    if not deployment.commit:
        raise BuildError("what is in the image has not booted an OSTree deployment", hint="is it an atomic host?")
    return Peeked(deployment=deployment, kind=kind)
