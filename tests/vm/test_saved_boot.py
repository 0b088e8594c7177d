"""A criterion that boots nothing is tested again on the first boot that was saved: cold, again, broken."""

import json
import resource
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuild.config.places import template
from imagebuild.formats.format import Unpacked
from imagebuild.kinds import Controller, Firmware, State
from imagebuild.model import Disk, Tree, Verdict
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.first_boot import SAVED
from imagebuild.smoke.guest import WAKE
from imagebuild.smoke.saved_boot import KEY, LOCKS
from imagebuild.smoke.trial import Run, Scope
from imagebuild.stages.smoke import promise_of, smoke_file, subject_of
from tests.vm.wiring import Lab

# it looks at files and units of a host that has settled
ONE = "cloud-init-runs-the-user-script"
# of a cold run the short part: without containers and journeys (docs/guests.md)
COLD = tuple(name for name in criteria.at_first_boot() if not name.startswith("container"))
SHARE = 0.25


@dataclass
class Rounds:
    """Tests criteria of a disk again and again, each time as if their cells had been lost; `cpu` are the CPU
    seconds of the last run and of everything that it started.
    """

    lab: Lab
    tree: Tree
    disk: Disk
    place: Path
    firmware: Firmware
    cpu: float = 0.0
    runs: int = 0

    @property
    def saved(self) -> Path:
        """Where first boots are saved."""
        return self.place / "saved"

    def test(self, *names: str) -> Verdict:
        """Test these criteria."""
        self.runs += 1
        out = self.place / f"run-{self.runs}"
        out.mkdir()
        boot = Unpacked(disk=self.disk.file, format=self.disk.format, controller=Controller.VIRTIO)
        subject = subject_of("cloud", boot, source=self.disk.file)
        promise = promise_of(self.tree, (), self.lab.terms(storage=self.lab.settings.storage))
        # another host's machine-id: no second one is booted for it
        scope = Scope(criteria=names, machine_ids=("f" * 32,), cells=out / "cells", saved=self.saved)
        begun = _cpu()
        run = Run(bench=self.lab.bench(self.firmware), scope=scope)
        verdict = smoke_file(out, self.tree, subject, promise, run)
        self.cpu = _cpu() - begun
        return verdict


@pytest.fixture(params=[Firmware.BIOS, Firmware.UEFI])
def rounds(lab: Lab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rounds]:
    outcome = lab.must(lab.pipeline.disks["cloud"], lab.pipeline.tree)
    disk: Disk = outcome.value(lab.pipeline.disks["cloud"])
    tree: Tree = outcome.value(lab.pipeline.tree)
    yield Rounds(lab=lab, tree=tree, disk=disk, place=tmp_path, firmware=request.param)
    shutil.rmtree(tmp_path / "saved", ignore_errors=True)


@pytest.mark.slow
def test_one_criterion_again_boots_nothing(rounds: Rounds) -> None:
    cold = rounds.test(*COLD)
    took = rounds.cpu
    assert {cell.state for cell in cold.cells} <= {State.PASSED, State.NOT_APPLICABLE}
    assert len(json.loads((cold.evidence / "boots.json").read_text())) == 1
    (saved,) = [path for path in rounds.saved.iterdir() if path.name != LOCKS]
    assert stat.S_IMODE((saved / KEY).stat().st_mode) == 0o600

    again = rounds.test(ONE)
    print(f"cold {took:.0f} CPU s, again {rounds.cpu:.0f} CPU s, saved {_size(saved) / 1e6:.0f} MB")
    assert {cell.state for cell in again.cells} == {State.PASSED}
    assert "went on from the first boot" in (again.evidence / SAVED).read_text()
    assert not (again.evidence / "boots.json").exists(), "it was booted"
    assert rounds.cpu < SHARE * took
    _is_nowhere((saved / KEY).read_text(), cold.evidence.parent, again.evidence.parent)

    # one that does not come back is not used: it is booted, and that is said
    packed = saved / "overlay.qcow2.zst"
    packed.write_bytes(bytes(packed.stat().st_size))
    broken = rounds.test(ONE)
    assert {cell.state for cell in broken.cells} == {State.PASSED}
    assert "the saved first boot is not used" in (broken.evidence / SAVED).read_text()
    assert (broken.evidence / "boots.json").exists()
    assert [path.name for path in rounds.saved.iterdir() if path.name != LOCKS] == [saved.name]


def _is_nowhere(key: str, *places: Path) -> None:
    """Look for a private key in everything that a run has left."""
    secret = key.splitlines()[2].encode()
    for place in places:
        for file in place.rglob("*"):
            assert not file.is_file() or secret not in file.read_bytes(), file


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


TIMER = """[Timer]
OnCalendar=daily
Persistent=true
"""
FIRED = """[Service]
Type=oneshot
ExecStart=/usr/bin/touch /run/fired
"""
DAYS = 24 * 3600


@pytest.mark.slow
def test_a_guest_that_stood_still_for_days_catches_up_with_nothing(rounds: Rounds) -> None:
    script = template(WAKE).read_bytes()
    with rounds.lab.booted(rounds.tree, rounds.disk.file, rounds.place / "evidence") as boot:
        host = boot.host
        assert host is not None, boot.problem
        host.wait_for_the_boot()
        host.write("/run/systemd/system/fires.timer", TIMER)
        host.write("/run/systemd/system/fires.service", FIRED)
        host.succeeds("systemctl", "daemon-reload")
        host.succeeds("systemctl", "start", "fires.timer")
        now = int(host.succeeds("date", "+%s"))
        host.succeeds("sh", "-s", "--", str(now + 9 * DAYS), stdin=script)
        assert int(host.succeeds("date", "+%s")) >= now + 9 * DAYS
        time.sleep(10)
        assert not host.is_there("/run/fired")
        assert host.unit("fires.timer", "ActiveState")["ActiveState"] == "active"
        assert host.failed_units() == []
        # which it would have done
        host.succeeds("date", "-s", f"@{now + 18 * DAYS}")
        time.sleep(30)
        assert host.is_there("/run/fired")
