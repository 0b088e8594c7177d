"""Faults prove the gate: each is caught by the criterion that is there for it, and no other criterion turns
red.

They take hours under emulation: `make test-all`, or `pytest tests/vm/test_faults.py`.
"""

import contextlib
from pathlib import Path

import pytest

from imagebuild.engine import planning
from imagebuild.errors import CriteriaError
from imagebuild.formats.format import Unpacked
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Controller, Firmware, State
from imagebuild.model import Cell, Disk, Toolbox, Tree
from imagebuild.smoke import verdict
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.trial import Promise, Run, Scope
from imagebuild.stages.smoke import promise_of, smoke_file, subject_of
from tests.vm.faults import ARTIFACT, FAULTS, broken
from tests.vm.namespaced import OTHER_MACHINES
from tests.vm.order_faults import ORDER
from tests.vm.wiring import Lab

EVERY = FAULTS | ORDER
RED = (State.FAILED, State.ERROR, State.FLAKY)


def promise_on(lab: Lab, tree: Tree) -> Promise:
    """What the pipeline promises of the cloud image."""
    return promise_of(tree, (), lab.terms(storage=lab.settings.storage))


def verdict_on(lab: Lab, disk: Path, out: Path, tree: Tree, *, journeys: bool) -> dict[str, Cell]:
    """Test a qcow2 disk against the criteria under UEFI; without a second try: a fault is not chance."""
    out.mkdir(parents=True, exist_ok=True)
    subject = subject_of("Broken", Unpacked(disk=disk, format="qcow2", controller=Controller.VIRTIO))
    scope = Scope(criteria=() if journeys else criteria.at_first_boot(), machine_ids=OTHER_MACHINES)
    bench = lab.bench(Firmware.UEFI)
    with contextlib.suppress(CriteriaError):
        smoke_file(out, tree, subject, promise_on(lab, tree), Run(bench=bench, scope=scope))
    return {cell.criterion: cell for cell in verdict.read(out / verdict.FILE)}


@pytest.mark.slow  # CI has those that namespaces can show (test_quiet_faults)
@pytest.mark.parametrize("name", list(EVERY))
def test_a_fault_is_caught_by_its_criterion_and_no_other(lab: Lab, tmp_path: Path, name: str) -> None:
    fault, step = EVERY[name], lab.pipeline.disks["cloud"]
    steps = {one.name: one for one in planning.order([lab.pipeline.release])}
    outcome = lab.must(step, steps["toolbox"], steps["plan cloud"], lab.pipeline.tree)
    tree: Tree = outcome.value(lab.pipeline.tree)
    toolbox: Toolbox = outcome.values[steps["toolbox"]]
    plan: Plan = outcome.values[steps["plan cloud"]]
    disk: Disk = outcome.value(step)
    with broken(tree, toolbox, plan, disk, fault, tmp_path) as file:
        cells = verdict_on(lab, file, tmp_path / "out", tree, journeys=fault.journeys)
    red = {criterion: cell.reason for criterion, cell in cells.items() if cell.state in RED}
    assert set(red) == set(fault.caught), red
    assert fault.says in red[fault.caught[0]], red
    assert all(cell.reason for cell in cells.values() if cell.state is not State.PASSED)
    if fault.dead:
        assert {cell.state for criterion, cell in cells.items() if criterion != ARTIFACT} == {
            State.NOT_TESTED
        }
        assert "screen.png" in red[ARTIFACT]
        assert (tmp_path / "out" / "evidence" / "screen.png").stat().st_size
    elif not fault.journeys:
        assert State.NOT_TESTED not in {cell.state for cell in cells.values()}, cells
