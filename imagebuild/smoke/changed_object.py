"""An object of a host's repository is changed while the host is off, and the file that has it is read.

On a copy of its disk, in place, below everything that a kernel would do about it: e2fsprogs say where the
first block lies, and one byte of it becomes another.
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from imagebuild import files
from imagebuild.deploy.disk_map import read_map
from imagebuild.smoke.first_boot import guest
from imagebuild.smoke.host.errors import NotTestedError, RigError
from imagebuild.smoke.stops import ReadAgain
from imagebuild.tools import ext4
from imagebuild.tools.qemu import disk_image

if TYPE_CHECKING:
    from imagebuild.smoke.guest import Guest
    from imagebuild.smoke.trial import Trial

OBJECTS = PurePosixPath("/ostree/repo/objects")
EVIDENCE = "changed-object"


def read_changed(
    trial: "Trial", work: Path, machine: "Guest", path: str, checksum: str, ports: dict[int, int]
) -> ReadAgain:
    """Copy the machine's disk into `work`, change the object with that checksum on the copy, boot it, and
    read the file at `path`. Raises NotTestedError, RigError.
    """
    disk = work / "changed.raw"
    machine.host.succeeds("sync")
    # it stands still while its disk is copied, and while another host runs
    machine.pause()
    try:
        _copy_disk(machine, work / "changed.qcow2", disk)
        change_object(disk, checksum)
        subject = replace(trial.subject, disk=disk, format="raw", size=None, grow=0)
        with guest(replace(trial, subject=subject), trial.evidence / EVIDENCE, ports=ports) as (_, boot):
            if boot.host is None:
                if boot.rig:
                    raise RigError(f"with the changed object: {boot.problem}")
                return ReadAgain(problem=boot.problem)
            boot.host.note(f"# the object {checksum} was changed while the host was off")
            return ReadAgain(problem=None, answer=boot.host.run("env", "LC_ALL=C", "cat", path, quiet=True))
    finally:
        machine.resume()
        disk.unlink(missing_ok=True)


def _copy_disk(machine: "Guest", overlay: Path, disk: Path) -> None:
    """Copy what a machine that stands still has on its disk, as a raw disk, by way of a copy of its
    overlay.
    """
    if machine.running is not None:
        machine.running.flush()
    try:
        files.clone(machine.overlay, overlay)
        disk_image.convert(overlay, "qcow2", disk, "raw")
    finally:
        overlay.unlink(missing_ok=True)


def change_object(disk: Path, checksum: str) -> None:
    """Change the first byte of an object that is a file's content, on a raw disk. Raises NotTestedError where
    its place cannot be found.
    """
    path = str(OBJECTS / checksum[:2] / f"{checksum[2:]}.file")
    for area in read_map(disk):
        place = ext4.content_begins(disk, path, area.start) if area.content == "ext4" else None
        if place is not None:
            with disk.open("r+b") as stream:
                stream.seek(place)
                byte = stream.read(1)[0]
                stream.seek(place)
                stream.write(bytes([byte ^ 0xFF]))
            return
    raise NotTestedError(
        "no object can be changed while the host is off: its repository is not on an ext4 file system that"
        " can be looked into from outside"
    )
