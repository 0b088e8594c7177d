"""Releases that do not come up: the entry before them, chosen by hand in the boot menu, does."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuild.model import Tree
from imagebuild.smoke.first_boot import guest
from imagebuild.smoke.menu_choice import choose_by_hand
from imagebuild.smoke.releases import Releases, offering
from imagebuild.smoke.served import ServedRelease
from imagebuild.tools import temporary
from imagebuild.tools.qemu.running import Running
from tests.vm.power import trial_of
from tests.vm.wiring import Lab

pytestmark = pytest.mark.slow


def chooser(chosen: list[str], slowness: float) -> Callable[[Running], None]:
    """Return what chooses the second entry, and notes its title."""
    return lambda running: chosen.append(choose_by_hand(running, 1, slowness))


def test_the_old_entry_boots_when_the_new_release_does_not(lab: Lab, tmp_path: Path) -> None:
    disk = lab.pipeline.disks["cloud"]
    outcome = lab.must(disk, lab.pipeline.tree)
    tree: Tree = outcome.value(lab.pipeline.tree)
    trial = trial_of(lab, tree, outcome.value(disk).file, "raw", tmp_path / "evidence")
    candidate = ServedRelease(commit=tree.commit, version=tree.version)
    slowness = trial.bench.accelerator.slowness
    with temporary.directory("broken") as work, contextlib.ExitStack() as stack:
        offers = stack.enter_context(
            offering(work, lambda within: Releases(within, tree.repo, tree.ref, candidate, None))
        )
        releases = offers.releases
        assert releases is not None, offers.why_no_releases
        machine, boot = stack.enter_context(guest(trial, trial.evidence, ports=offers.ports))
        host = boot.host
        assert host is not None, boot.problem
        host.point_remote(trial.promise.refspec.partition(":")[0], releases.url, releases.key)
        for name, release, says in (
            ("restless", releases.restless, "switched itself off, or asked for a reboot"),
            ("lifeless", releases.lifeless, ""),
        ):
            releases.publish(release)
            answer = host.commands.upgrade(host)
            assert answer.status == 0, answer.complaint
            assert host.commands.deployments(host)[0].commit == release.commit
            with pytest.raises(AssertionError, match=f"after the reboot .{name}.: .*{says}"):
                host.reboot(name)
            # it would not get better
            again = machine.power_cycle(f"{name}-again")
            assert says in (again.problem or "")
            assert again.problem is not None
            chosen: list[str] = []
            machine.at_power_on = chooser(chosen, slowness)
            by_hand = machine.power_cycle(f"{name}-by-hand")
            machine.at_power_on = None
            print(f"{name}: {chosen}, {by_hand.phases}")
            assert by_hand.problem is None, by_hand.problem
            assert chosen[0].endswith("(ostree:1)")
            assert host.booted().commit == tree.commit
