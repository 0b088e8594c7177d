"""Criteria fail on a really broken image: the named ones, and no others."""

import dataclasses
from typing import Any

from imagebuild import graph, steps
from imagebuild.errors import CriteriaError
from imagebuild.kinds import Firmware, Login, State
from imagebuild.model import Tree
from imagebuild.pipeline import Pipeline
from imagebuild.report import cells_of
from imagebuild.stages.smoke import Bench, SmokeSpec, smoke_disk
from imagebuild.steps import Step
from tests.vm.wiring import Lab

BREAK = """
%post --erroronfail
systemctl mask docker.service
printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n[Install]\\nWantedBy=multi-user.target\\n' > /etc/systemd/system/broken.service
systemctl enable broken.service
%end
"""


def smoke_of(text: str, lab: Lab, firmware: Firmware = Firmware.BIOS) -> Pipeline:
    """Wire a smoke test of a disk that another kickstart installs."""
    disk = lab.disk("broken", text)
    tree = lab.settings.tree
    smoke = SmokeSpec(
        firmware=firmware, login=Login.CLOUD_INIT, storage=lab.settings.storage, remote=tree.remote, update_url=tree.update_url,
        guest=lab.settings.smoke.model_copy(update={"tries": 1}),
    )  # fmt: skip
    bench = steps.Unkeyed(Bench(accelerator=lab.host.accelerator))
    previous: steps.Step[tuple[Tree, ...]] = steps.gather([])
    verdict = steps.step("smoke broken", smoke_disk, lab.pipeline.tree, disk, "Broken", previous, smoke, bench)
    return dataclasses.replace(lab.pipeline, verdicts=(verdict,), images=())


def test_a_masked_service_and_a_failing_unit_fail_their_criteria_only(lab: Lab) -> None:
    text = lab.text() + BREAK
    broken = smoke_of(text, lab)
    (verdict,) = broken.verdicts
    outcome = _build(verdict, lab)
    assert isinstance(outcome.failed.get(verdict), CriteriaError), outcome.failed
    states = {cell.criterion: (cell.state, cell.reason) for cell, _ in cells_of(broken, outcome)}
    failed = {criterion for criterion, (state, _) in states.items() if state is State.FAILED}
    assert failed == {"container-service-starts", "containers-run", "no-unit-has-failed"}, states
    assert {state for state, _ in states.values()} == {State.PASSED, State.FAILED, State.NOT_APPLICABLE}
    assert "docker.service does not start" in states["container-service-starts"][1]
    assert "broken.service" in states["no-unit-has-failed"][1]


def test_an_image_that_does_not_boot_says_how_far_it_got(lab: Lab) -> None:
    text = lab.text()
    # the root file system that the kernel is told of does not exist
    text += "\n%post --erroronfail\nsed -i 's,root=/dev/mapper/atomicos-root,root=/dev/mapper/nothing rd.timeout=5,' /boot/loader/grub.cfg\n%end\n"
    broken = smoke_of(text, lab)
    (verdict,) = broken.verdicts
    outcome = _build(verdict, lab)
    assert isinstance(outcome.failed.get(verdict), CriteriaError), outcome.failed
    cells = {cell.criterion: cell for cell, _ in cells_of(broken, outcome)}
    assert cells["artifact-boots"].state is State.FAILED
    assert "got as far as the initramfs" in cells["artifact-boots"].reason, cells["artifact-boots"].reason
    assert "screen.png" in cells["artifact-boots"].reason
    assert {cell.state for name, cell in cells.items() if name != "artifact-boots"} == {State.NOT_TESTED}
    assert all(cell.reason for cell in cells.values())


def _build(goal: Step[Any], lab: Lab) -> graph.Outcome:
    return lab.build(goal)
