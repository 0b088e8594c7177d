"""A guest that does not get its processors is told from one whose image is broken."""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.engine import planning
from imagebuild.errors import CriteriaError
from imagebuild.formats.format import Unpacked
from imagebuild.kinds import Controller, Firmware, State
from imagebuild.model import Cell, Disk, Tree
from imagebuild.smoke.attempts import read_cells
from imagebuild.smoke.trial import Run, Scope
from imagebuild.stages.smoke import promise_of, smoke_file, subject_of
from imagebuild.tools import command, load
from imagebuild.tools.accelerator import Accelerator
from tests.vm.faults import ARTIFACT, Fault, broken
from tests.vm.wiring import Lab

# three minutes that CI does not have (tests/smoke/test_boot.py tells the two apart by their numbers)
pytestmark = pytest.mark.slow
# of each processor: a guest gets a twelfth of one, or less
HOGS = 12
# in the kernel for ever, on both processors, before anybody can log in
SPINS = r"""cat > $D/etc/systemd/system/fault.service <<'END'
[Unit]
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target ssh.service ssh.socket
[Service]
Type=oneshot
ExecStart=/bin/sh -c "dd if=/dev/zero of=/dev/null bs=64M & exec dd if=/dev/zero of=/dev/null bs=64M"
END
mkdir -p $D/etc/systemd/system/sysinit.target.wants
ln -s ../fault.service $D/etc/systemd/system/sysinit.target.wants/fault.service"""


def verdict_on(
    lab: Lab, disk: Path, form: str, out: Path, tree: Tree, *, tries: int, accelerator: Accelerator
) -> Cell:
    out.mkdir()
    subject = subject_of("Image", Unpacked(disk=disk, format=form, controller=Controller.VIRTIO))
    promise = promise_of(tree, (), lab.terms(storage=lab.settings.storage))
    bench = replace(lab.bench(Firmware.BIOS), accelerator=accelerator)
    scope = Scope(criteria=(ARTIFACT,), tries=tries)
    with contextlib.suppress(CriteriaError):
        smoke_file(out, tree, subject, promise, Run(bench=bench, scope=scope))
    (cell,) = read_cells(out / "evidence")
    return cell


def test_a_unit_that_spins_in_the_kernel_of_a_quiet_machine_is_the_images_fault(
    lab: Lab, tmp_path: Path
) -> None:
    """Takes 90 native seconds, twice: it is given less time than a whole boot needs."""
    step = lab.pipeline.disks["cloud"]
    steps = {one.name: one for one in planning.order([lab.pipeline.release])}
    outcome = lab.must(step, steps["toolbox"], steps["plan cloud"], lab.pipeline.tree)
    tree: Tree = outcome.value(lab.pipeline.tree)
    disk: Disk = outcome.value(step)
    fault = Fault(script=SPINS, caught=(ARTIFACT,), says="no ssh")
    toolbox, plan = outcome.values[steps["toolbox"]], outcome.values[steps["plan cloud"]]
    accelerator = replace(lab.host.accelerator, slowness=min(2.0, lab.host.accelerator.slowness))
    with broken(tree, toolbox, plan, disk, fault, tmp_path) as file:
        cell = verdict_on(lab, file, "qcow2", tmp_path / "out", tree, tries=1, accelerator=accelerator)
    assert cell.state is State.FAILED, cell.reason
    assert "no ssh within" in cell.reason


@pytest.mark.slow
def test_beside_hogs_a_good_image_is_an_error_and_then_passed(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = lab.pipeline.disks["cloud"]
    outcome = lab.must(step, lab.pipeline.tree)
    disk: Disk = outcome.value(step)
    over = threading.Event()
    wait = load.wait_for_quiet

    def quieter(cores: int) -> bool:
        over.set()
        return wait(cores)

    monkeypatch.setattr(load, "wait_for_quiet", quieter)
    # enough for a whole boot of a machine that is quiet
    accelerator = replace(lab.host.accelerator, slowness=min(2.0, lab.host.accelerator.slowness))
    tree = outcome.value(lab.pipeline.tree)
    with hogs(over):
        cell = verdict_on(
            lab, disk.file, disk.format, tmp_path / "out", tree, tries=2, accelerator=accelerator
        )
    (first,) = read_cells(tmp_path / "out" / "evidence" / "try-1")
    assert first.state is State.ERROR, first.reason
    assert "the build machine is too busy" in first.reason
    assert cell.state is State.PASSED, cell.reason


@contextlib.contextmanager
def hogs(over: threading.Event) -> Iterator[None]:
    """Many programs that want every processor, until it is over; each of a session of its own, which counts
    as much as a guest (sched(7)).
    """
    spin = ["/bin/sh", "-c", "while :; do :; done"]
    programs = [command.Process(spin) for _ in range(HOGS * max(2, os.cpu_count() or 2))]

    def end() -> None:
        over.wait()
        for program in programs:
            program.end(grace=0.5)

    ender = threading.Thread(target=end)
    ender.start()
    try:
        yield
    finally:
        over.set()
        ender.join()
