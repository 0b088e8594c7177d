"""A medium of lorax' kind, which says nothing on the serial console, is driven by its own menu's keys and
followed by Anaconda's log.

Anaconda itself cannot be had here: a stand-in writes its lines, and the disk (anaconda.sh).
"""

import hashlib
from pathlib import Path

import pytest

from imagebuild import files, steplog
from imagebuild.installers.unattended import remaster
from imagebuild.kinds import Firmware
from imagebuild.model import Tree
from imagebuild.smoke import installation
from imagebuild.smoke.installation import InstallerBench
from imagebuild.tools import iso
from tests.vm import lorax_medium
from tests.vm.wiring import Lab

KICKSTART = (
    "text\nlang C\nkeyboard us\ntimezone UTC\nrootpw --lock\nzerombr\nclearpart"
    " --all\nautopart\n{end}\n%packages\n%end\n"
)
MIB = 1 << 20


@pytest.mark.parametrize(
    ("firmware", "end"),
    [(Firmware.BIOS, "reboot"), pytest.param(Firmware.UEFI, "poweroff", marks=pytest.mark.slow)],
)
def test_a_medium_that_is_not_on_the_serial_console_is_installed(
    lab: Lab, tree: Tree, firmware: Firmware, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, published, evidence = tmp_path / "made.iso", tmp_path / "published.iso", tmp_path / "evidence"
    evidence.mkdir()
    kickstart = tmp_path / "my.ks"
    kickstart.write_text(KICKSTART.format(end=end))
    lorax_medium.make(tree, made, tmp_path)
    # as the pipeline does it: nothing is booted by itself, and somebody must choose
    remaster.add_kickstart(made, kickstart, published, syntax="F26", default=False)
    before = files.sha256(published)
    bench = InstallerBench(
        iso=published,
        firmware=firmware,
        accelerator=lab.host.accelerator,
        cores=1,
        memory=1024 * MIB,
        disk_size=64 * MIB,
        network=False,
    )
    notes = list[str]()
    monkeypatch.setattr(steplog, "note", notes.append)
    phases = installation.install(bench, tmp_path / "disk.qcow2", evidence)
    # with -no-reboot QEMU ends in both cases
    assert ("the guest restarted it" if end == "reboot" else "the guest switched it off") in notes[-1], notes
    assert {"installer", "configuration", "complete"} <= set(phases), phases
    assert "Linux version" not in (evidence / "serial.log").read_text(errors="replace"), (
        "the kernel was to say nothing there"
    )
    assert "AnaConfigurationThread" in (evidence / "anaconda.log").read_text()
    assert files.sha256(published) == before, "the medium that was tested is the one that is published"
    written = _disk(tmp_path)
    told = f"inst.ks=hd:LABEL={iso.volume_id(published)}:/ks.cfg"
    assert f"installed under {firmware.upper()}" in written
    assert told in written, written
    assert hashlib.sha256(kickstart.read_bytes()).hexdigest() in written


def _disk(work: Path) -> str:
    from imagebuild.tools.qemu import disk_image

    raw = work / "disk.raw"
    disk_image.convert(work / "disk.qcow2", "qcow2", raw, "raw")
    with raw.open("rb") as stream:
        return stream.read(4096).rstrip(b"\0").decode()
