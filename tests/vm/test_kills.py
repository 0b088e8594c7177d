"""QEMU is killed at random moments of boots and upgrades, five times one after the other: each time the disk
is what its log says, is looked at, and boots.
"""

import contextlib
import os
import random
import time
from pathlib import Path

import pytest

from imagebuild.model import Tree
from imagebuild.smoke.first_boot import guest
from imagebuild.smoke.guest import Guest
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.commands import DEPLOY_SECONDS
from imagebuild.smoke.recording import DISK, WRITES
from imagebuild.smoke.releases import Releases, offering
from imagebuild.smoke.served import ServedRelease
from imagebuild.tools import temporary, write_log
from imagebuild.tools.power_cut import Replay
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.running import Running
from tests.vm.power import trial_of
from tests.vm.power_checks import KNOWN, Inspector
from tests.vm.wiring import Lab

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("IMAGEBUILD_SEED", "16"))
KILLS = 5
# after that many seconds of an upgrade, or of the boot
UPGRADING, BOOTING = (1.0, 90.0), (10.0, 120.0)


def rebuild(recorded: Path, disk: Path) -> None:
    """Write what a killed machine's log has onto its disk: QEMU's own file may lack what QEMU still held."""
    disk_image.convert(recorded / DISK, "qcow2", disk, "raw")
    log = write_log.read(recorded / WRITES, disk_size=disk.stat().st_size)
    Replay(log, disk).advance(len(log.requests))


def cut_off(machine: Guest, host: Host, seconds: float, *, in_boot: bool) -> None:
    """Kill QEMU in the middle of an upgrade, or of the boot that follows it at once."""
    upgrade = ("ostree", "admin", "upgrade", "--allow-downgrade")
    if not in_boot:
        host.succeeds("systemd-run", "--unit=cut-off", *upgrade)
        time.sleep(seconds)
        assert machine.running is not None
        machine.running.kill()
        return
    host.succeeds(*upgrade, seconds=DEPLOY_SECONDS)

    recording = machine.at_power_on
    assert recording is not None

    def record_and_kill(running: Running) -> None:
        recording(running)
        time.sleep(seconds)
        running.kill()

    machine.at_power_on = record_and_kill
    assert machine.power_cycle("cut-off").problem


def test_a_killed_guest_comes_up_again(lab: Lab, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    step = lab.pipeline.disks["cloud"]
    outcome = lab.must(step, lab.pipeline.tree)
    tree: Tree = outcome.value(lab.pipeline.tree)
    disk = outcome.value(step).file
    candidate = ServedRelease(commit=tree.commit, version=tree.version)
    inspector = Inspector(tmp_path / "mounted")
    with temporary.file("first.raw") as copy:
        disk_image.convert(disk, "raw", copy, "raw")
        inspector.learn(copy)
    with temporary.directory("kills") as work, contextlib.ExitStack() as stack:
        offers = stack.enter_context(
            offering(work, lambda within: Releases(within, tree.repo, tree.ref, candidate, None))
        )
        releases = offers.releases
        assert releases is not None, offers.why_no_releases
        known = (releases.candidate.commit, releases.next.commit)
        for number in range(KILLS + 1):
            trial = trial_of(lab, tree, disk, "raw", tmp_path / f"boot-{number}", grown=not number)
            recorded = tmp_path / f"recorded-{number}"
            recorded.mkdir()
            with guest(trial, trial.evidence, ports=offers.ports, record=recorded) as (machine, boot):
                host = boot.host
                assert host is not None, f"seed {SEED}, kill {number}: {boot.problem}"
                assert host.booted().commit in known
                if number == KILLS:
                    break
                host.point_remote(trial.promise.refspec.partition(":")[0], releases.url, releases.key)
                # there and back again, so that there is always something to do
                releases.publish(releases.next if number % 2 == 0 else releases.candidate)
                seconds = chance.uniform(*(BOOTING if number % 2 else UPGRADING))
                cut_off(machine, host, seconds, in_boot=bool(number % 2))
            disk = tmp_path / f"killed-{number}.raw"
            rebuild(recorded, disk)
            (tmp_path / f"killed-{number - 1}.raw").unlink(missing_ok=True)
            with temporary.file("looked-at.raw") as copy:
                disk_image.convert(disk, "raw", copy, "raw")
                said = inspector.problem(copy, lasting=False)
            print(f"kill {number} after {seconds:.0f} s: {said or 'whole'}", flush=True)
            assert said is None or said in KNOWN, f"seed {SEED}, kill {number}: {said}"
