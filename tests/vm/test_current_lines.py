"""Lines of hosts of today: composed from their own suites, installed, booted to what a first boot shows."""

from pathlib import Path

import pytest

from imagebuild.smoke.criteria.test_boots import test_boots_the_released_commit as boots_the_released_commit
from imagebuild.smoke.criteria.test_container_storage import (
    test_container_storage_is_set_up as storage_is_set_up,
)
from imagebuild.smoke.criteria.test_no_failed_units import test_no_unit_has_failed as no_unit_has_failed
from imagebuild.smoke.criteria.test_root import test_etc_is_merged_or_transient as etc_is_merged
from imagebuild.smoke.criteria.test_root import test_sysroot_is_read_only as sysroot_is_read_only
from imagebuild.smoke.criteria.test_sanity import test_tmp_is_everybodys as tmp_is_everybodys
from imagebuild.wiring.builder import Builder
from tests.vm import current
from tests.vm.wiring import Lab


@pytest.fixture
def line(request: pytest.FixtureRequest, tmp_path: Path, build_host: Builder) -> Lab:
    return current.lab(request.param, tmp_path, build_host)


@pytest.mark.parametrize(
    "line",
    [
        # a tree is composed and a host booted: ten minutes
        pytest.param("debian-13", marks=pytest.mark.slow),
        # forky changes every day: what fails there today may be Debian's
        pytest.param("debian-14", marks=pytest.mark.slow),
    ],
    indirect=True,
)
def test_a_current_line_boots_as_its_tree_asks(line: Lab, tmp_path: Path) -> None:
    name = line.settings.the_ref().split("/")[1]
    disk = line.disk("cloud", line.text(f"debian-{name}-cloud.ks"))
    outcome = line.must(disk, line.pipeline.tree)
    tree = outcome.value(line.pipeline.tree)
    with line.booted(tree, outcome.value(disk).file, tmp_path / "evidence") as boot:
        assert boot.problem is None, boot.problem
        host = boot.host
        assert host is not None
        boots_the_released_commit(host, boot.expected)
        sysroot_is_read_only(host)
        etc_is_merged(host)
        tmp_is_everybodys(host)
        no_unit_has_failed(host, boot.expected)
        storage_is_set_up(host, boot.expected)
