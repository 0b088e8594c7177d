"""Disks after power cuts, rebuilt from a recording, one after the other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from imagebuild.tools.power_cut import Cut, Replay
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.export import exported
from imagebuild.tools.write_log import WriteLog


def rebuilt(
    disk: Path, log: WriteLog, cuts: Sequence[Cut], work: Path, *, kept: bool = False
) -> Iterator[tuple[Cut, Path, Path]]:
    """Yield each cut with its disk: as a raw file that may be written to, and the qcow2 overlay of one whole
    disk that it is; the log is replayed into that disk only once, so the overlay ends with the next one.

    `kept`: the raw file is gone already, and the overlay is ready for a guest.
    """
    whole, overlay = work / "whole.raw", work / "cut.qcow2"
    disk_image.convert(disk, "qcow2", whole, "raw")
    replay = Replay(log, whole)
    for cut in sorted(cuts, key=lambda cut: cut.durable):
        replay.advance(cut.durable)
        disk_image.make_overlay(overlay, whole, "raw")
        with exported(overlay, "qcow2", writable=True) as shown:
            replay.write_rest(cut, shown)
            if not kept:
                yield cut, shown, overlay
        if kept:
            yield cut, shown, overlay
    whole.unlink()
