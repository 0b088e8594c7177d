"""The line for aarch64 on a machine of another architecture: composed and installed through qemu-user, one
download booted by an emulated machine with UEFI, cloud-init and containers tested.
"""

import json
import time
from pathlib import Path

import pytest

from imagebuild import steplog
from imagebuild.config.places import cache_directory
from imagebuild.deploy.ways import choose_ways
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Firmware, Login, State
from imagebuild.model import Image
from imagebuild.smoke.criteria.registry import CRITERIA
from imagebuild.smoke.criterion import Asks, Group
from imagebuild.smoke.trial import Run, Scope
from imagebuild.stages.smoke import promise_of, smoke_file, subject_of
from imagebuild.tools import accelerator, command, emulation
from imagebuild.wiring.builder import Builder
from tests.vm import current

ARCH, LINE = "aarch64", "debian-12-aarch64"
BOOTED = ("artifact-boots", "boots-the-released-commit", "no-unit-has-failed")
GROUPS = {Group.CLOUD_INIT, Group.CONTAINERS}
WANTED = (
    *BOOTED,
    *(name for name, record in CRITERIA.items() if record.group in GROUPS and record.asks is Asks.FIRST_BOOT),
)


def reason_not_to_test() -> str | None:
    """Why this machine cannot: the packages are qemu-user-static, qemu-system-arm and qemu-efi-aarch64."""
    if (reason := emulation.reason_not_to_run(ARCH)) is not None:
        return reason
    return None if command.find("qemu-system-aarch64") else "qemu-system-aarch64 is not installed"


# 44 minutes of composing, kept for a day, and 3 minutes for the rest, on two cores beside other work
# (docs/architectures.md)
@pytest.mark.slow
def test_a_foreign_line_is_composed_installed_and_booted(tmp_path: Path) -> None:
    reason = reason_not_to_test()
    if reason is not None:
        pytest.skip(
            reason
        )  # what cannot be tested is said; `imagebuild doctor --config` says what to install
    began, seconds = time.monotonic(), dict[str, int]()

    def lap(name: str) -> None:
        seconds[name] = round(time.monotonic() - began)
        (tmp_path / "seconds.json").write_text(json.dumps(seconds))

    builder = Builder(
        repo=tmp_path / "repo",
        populate=choose_ways(None, ARCH)[0],
        accelerator=accelerator.probe(cache_directory()).of(ARCH),
    )
    lab = current.lab(LINE, tmp_path, builder)
    lap("composed")
    (download,) = (step for step in lab.pipeline.images if step.name == "qcow2 cloud")
    outcome = lab.must(download, lab.pipeline.tree)
    lap("installed and converted")
    tree, image = outcome.value(lab.pipeline.tree), outcome.value(download)
    assert tree.arch == ARCH
    assert isinstance(image, Image)
    # the tree's shim and GRUB lead to its kernel with the keys of the firmware
    assert image.firmware == {Firmware.UEFI, Firmware.UEFI_SECURE}, image.secure_boot
    out = tmp_path / "smoke"
    (out / "unpacked").mkdir(parents=True)
    subject = subject_of(image.name, FORMATS["qcow2"].unpack(image.file, out / "unpacked"), source=image.file)
    terms = lab.terms(storage=lab.settings.storage, login=Login.CLOUD_INIT)
    run = Run(bench=lab.bench(Firmware.UEFI), scope=Scope(criteria=WANTED))
    with steplog.writing_to(out / "log"):
        verdict = smoke_file(out, tree, subject, promise_of(tree, (), terms), run)
    lap("tested")
    states = {cell.criterion: cell.state for cell in verdict.cells}
    assert {name for name, state in states.items() if state is State.PASSED} == set(WANTED), states
    print(seconds)
