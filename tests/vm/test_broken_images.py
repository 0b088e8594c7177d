"""Criteria fail on a really broken image: the named ones, and no others."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from imagebuild import graph, steps
from imagebuild.config import Config
from imagebuild.errors import CriteriaError
from imagebuild.model import Firmware, Kickstart, State, Tree
from imagebuild.pipeline import Host, Pipeline
from imagebuild.progress import View
from imagebuild.report import cells_of
from imagebuild.stages.convert import convert_qcow2
from imagebuild.stages.disk import DiskSpec, install_disk
from imagebuild.stages.kickstart import render, values
from imagebuild.stages.smoke import SmokeSpec, smoke_test
from imagebuild.stages.toolbox import make_toolbox
from imagebuild.steps import Step
from imagebuild.store import Store
from tests.vm.conftest import BUDGET

BREAK = """
%post --erroronfail
systemctl mask docker.service
printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n[Install]\\nWantedBy=multi-user.target\\n' > /etc/systemd/system/broken.service
systemctl enable broken.service
%end
"""


def write_broken(out: Path, tree: Tree, text: str) -> Kickstart:
    """Write a kickstart whose %post breaks the host."""
    del tree
    (out / "kickstart.ks").write_text(text)
    return Kickstart(file=out / "kickstart.ks", syntax="F28")


def smoke_of(text: str, settings: Config, host: Host, pipeline: Pipeline, firmware: Firmware = Firmware.BIOS) -> Pipeline:
    """Wire a smoke test of a disk that another kickstart installs."""
    image = settings.images["cloud"]
    assert image.formats.qcow2 is not None
    toolbox = steps.step("toolbox", make_toolbox, pipeline.tree, tools={"mksquashfs": graph_tool("mksquashfs")})
    kickstart = steps.step("kickstart broken", write_broken, pipeline.tree, text)
    spec = DiskSpec(size=image.disk_size, firmware=image.firmware, populate=host.populate)
    disk = steps.step("disk broken", install_disk, pipeline.tree, toolbox, kickstart, spec)
    download = steps.step("qcow2 broken", convert_qcow2, pipeline.tree, disk, "Broken", image.formats.qcow2)
    smoke = SmokeSpec(firmware=firmware, storage=settings.storage, remote=settings.tree.remote)
    verdict = steps.step("smoke broken", smoke_test, pipeline.tree, download, smoke, settings.smoke, steps.Unkeyed(host.accelerator))
    return dataclasses.replace(pipeline, verdicts=(verdict,), images=(download,))


def graph_tool(program: str) -> str:
    """The version as the pipeline writes it: the same key, so the toolbox is shared."""
    from imagebuild.tools import command

    return command.version(program)


def test_a_masked_service_and_a_failing_unit_fail_their_criteria_only(
    settings: Config, build_host: Host, pipeline: Pipeline, store: Path
) -> None:
    text = render(settings.kickstarts["cloud"], values(settings.the_ref(), settings.tree)) + BREAK
    broken = smoke_of(text, settings, build_host, pipeline)
    (verdict,) = broken.verdicts
    outcome = _build(verdict, store)
    assert isinstance(outcome.failed.get(verdict), CriteriaError), outcome.failed
    states = {cell.criterion: (cell.state, cell.reason) for cell, _ in cells_of(broken, outcome)}
    failed = {criterion for criterion, (state, _) in states.items() if state is State.FAILED}
    assert failed == {"container-service-starts", "containers-run", "no-unit-has-failed"}, states
    assert {state for state, _ in states.values()} == {State.PASSED, State.FAILED}
    assert "docker.service does not start" in states["container-service-starts"][1]
    assert "broken.service" in states["no-unit-has-failed"][1]


def test_an_image_that_does_not_boot_says_how_far_it_got(settings: Config, build_host: Host, pipeline: Pipeline, store: Path) -> None:
    text = render(settings.kickstarts["cloud"], values(settings.the_ref(), settings.tree))
    # the root file system that the kernel is told of does not exist
    text += "\n%post --erroronfail\nsed -i 's,root=/dev/mapper/atomicos-root,root=/dev/mapper/nothing rd.timeout=5,' /boot/loader/grub.cfg\n%end\n"
    broken = smoke_of(text, settings, build_host, pipeline)
    (verdict,) = broken.verdicts
    outcome = _build(verdict, store)
    assert isinstance(outcome.failed.get(verdict), CriteriaError), outcome.failed
    cells = {cell.criterion: cell for cell, _ in cells_of(broken, outcome)}
    assert cells["artifact-boots"].state is State.FAILED
    assert "got as far as the initramfs" in cells["artifact-boots"].reason, cells["artifact-boots"].reason
    assert "screen.png" in cells["artifact-boots"].reason
    assert {cell.state for name, cell in cells.items() if name != "artifact-boots"} == {State.NOT_TESTED}
    assert all(cell.reason for cell in cells.values())


def _build(goal: Step[Any], store: Path) -> graph.Outcome:
    with ThreadPoolExecutor(2) as executor:
        return graph.build([goal], Store(store), executor, budget=BUDGET, listener=View(Console()))
