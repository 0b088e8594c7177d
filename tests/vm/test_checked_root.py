"""A host whose kernel checks every file that it reads: Debian 14 with composefs `verity`, from its tree to a
changed object and a soft reboot.

The tree is composed (seven minutes the first time, kept between runs), the disk is made in the appliance,
for this machine's kernel may have no fs-verity, and two hosts are booted: about 45 minutes without KVM.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.config.root import RootConfig
from imagebuild.kinds import Firmware, State
from imagebuild.smoke.attempts import run_once
from imagebuild.wiring.builder import Builder
from tests.vm import current
from tests.vm.power import trial_of
from tests.vm.wiring import Lab

# forky changes every day: what fails there today may be Debian's
pytestmark = pytest.mark.slow
CRITERIA = (
    "artifact-boots",
    "boots-the-released-commit",
    "no-unit-has-failed",
    "sysroot-is-read-only",
    "etc-is-merged-or-transient",
    "container-storage-is-set-up",
    "the-disk-grows",
    "a-changed-object-is-not-read",
    "upgrades-to-the-next-release",
    "soft-reboots-into-the-new-deployment",
)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, build_host: Builder) -> Lab:
    root = RootConfig(readonly=True, composefs="verity")
    return current.lab("debian-14", tmp_path_factory.mktemp("verity"), build_host, root=root)


def test_a_root_that_cannot_check_is_refused_before_a_disk_is_made(checked: Lab) -> None:
    """The kickstart that the line comes with gives / xfs."""
    disk = checked.disk("cloud-xfs", checked.text("debian-14-cloud.ks"))
    failed = checked.build(disk).failed
    ((step, error),) = failed.items()
    assert step.name == "plan cloud-xfs"
    assert "xfs has no fs-verity" in error.message
    assert "--fstype=ext4" in error.hint


def test_a_host_checks_what_it_reads(checked: Lab, tmp_path: Path) -> None:
    text = checked.text("debian-14-cloud.ks").replace("--fstype=xfs", "--fstype=ext4")
    disk = checked.disk("cloud-ext4", text)
    outcome = checked.must(disk, checked.pipeline.tree)
    tree = outcome.value(checked.pipeline.tree)
    made = outcome.value(disk)
    assert made.populated in ("native", "appliance")
    trial = trial_of(checked, tree, made.file, "raw", tmp_path / "evidence", firmware=Firmware.UEFI)
    cells = run_once(tmp_path, replace(trial, scope=replace(trial.scope, criteria=CRITERIA)))
    found = {cell.criterion: (cell.state, cell.reason) for cell in cells}
    assert {name: found[name][0] for name in CRITERIA} == dict.fromkeys(CRITERIA, State.PASSED), found
