"""Lines of hosts of today: composed from their own suites, installed, booted to what a first boot shows."""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild import steplog
from imagebuild.composers import registry as composers
from imagebuild.composers.composer import Job
from imagebuild.config.places import cache_directory
from imagebuild.pipeline import wire
from imagebuild.release_line import reading
from imagebuild.smoke.criteria.test_boots import test_boots_the_released_commit as boots_the_released_commit
from imagebuild.smoke.criteria.test_container_storage import (
    test_container_storage_is_set_up as storage_is_set_up,
)
from imagebuild.smoke.criteria.test_no_failed_units import test_no_unit_has_failed as no_unit_has_failed
from imagebuild.smoke.criteria.test_root import test_etc_is_merged_or_transient as etc_is_merged
from imagebuild.smoke.criteria.test_root import test_sysroot_is_read_only as sysroot_is_read_only
from imagebuild.smoke.criteria.test_sanity import test_tmp_is_everybodys as tmp_is_everybodys
from imagebuild.stages.tree import pin
from imagebuild.wiring.builder import Builder
from tests.data import ROOT
from tests.vm.wiring import Lab


@pytest.fixture
def line(request: pytest.FixtureRequest, tmp_path: Path, build_host: Builder) -> Lab:
    """The line's own pipeline; what the suite's packages unpack to is cached between runs."""
    config = reading.load(ROOT / "configs" / f"{request.param}.yaml", tmp_path)
    assert config.compose is not None
    job = Job(directory=tmp_path / "compose", ref=config.the_ref(), tree=config.tree, cache=cache_directory())
    with steplog.writing_to(tmp_path / "compose.log"):
        composers.compose(job, config.compose)
    host = replace(build_host, repo=tmp_path / "repo")
    pipeline = wire(config, pin(config.tree, config.the_ref()), host)
    return Lab(settings=config, host=host, pipeline=pipeline, store=tmp_path)


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
        assert not boot.problem, boot.problem
        host = boot.host
        assert host is not None
        boots_the_released_commit(host, boot.expected)
        sysroot_is_read_only(host)
        etc_is_merged(host)
        tmp_is_everybodys(host)
        no_unit_has_failed(host, boot.expected)
        storage_is_set_up(host, boot.expected)
