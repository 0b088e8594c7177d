"""What a guest writes to its disk is recorded, with the disk as it was before."""

from pathlib import Path

from imagebuild import files
from imagebuild.smoke.guest import Guest
from imagebuild.tools.qemu.running import Running

DISK, WRITES = "disk.qcow2", "writes.log"


def record(machine: Guest, place: Path, *, boots: bool = False) -> None:
    """Record what is written to a guest's disk from now on, until QEMU ends, or through all `boots` that
    follow. Raises BuildError.

    `place` gets DISK, the disk as it is now (qcow2), and WRITES (`write_log`).
    """
    log = place / WRITES

    def begin(running: Running) -> None:
        running.record_writes(log)

    running = machine.running
    if running is not None:
        # the disk stands still while it is copied; QEMU has written out what it had by then
        running.execute("stop")
    try:
        files.clone(machine.overlay, place / DISK)
        if running is not None:
            begin(running)
    finally:
        if running is not None:
            running.execute("cont")
    if boots:
        machine.at_power_on = begin
