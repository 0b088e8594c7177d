"""A configuration names a directory of criteria: read with it, in its steps' keys, asked of a release."""

import json
from pathlib import Path

import pytest

from imagebuild.engine import planning
from imagebuild.errors import UsageError
from imagebuild.pipeline import Pipeline
from imagebuild.release_line import reading
from imagebuild.release_line.model import Config
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.trial import Terms
from tests.data import ROOT
from tests.wiring import changed, wired

DEMO = (ROOT / "configs" / "debian-12.yaml").read_text()
RECORD = "artifacts: [vagrant]\nwarn_until: 2000-01-01\n"


def configured(
    place: Path, text: str = "#!/bin/sh\n", record: str = RECORD, key: str = "criteria: own\n"
) -> Config:
    (own := place / "own").mkdir(exist_ok=True)
    (own / "probe").write_text(text)
    (own / "probe").chmod(0o755)
    (own / "probe.yaml").write_text(record)
    file = place / "line.yaml"
    file.write_text(DEMO + key)
    return reading.load(file, place / "store")


def terms(pipeline: Pipeline) -> dict[str, Terms]:
    """Return what is promised of the host in each smoke test."""
    found: dict[str, Terms] = {}
    for step in planning.order([pipeline.release]):
        for argument in step.arguments:
            if isinstance(argument, Terms):
                found[step.name] = argument
    return found


def test_its_content_is_in_the_keys_of_what_tests_and_of_nothing_else(tmp_path: Path) -> None:
    before = wired(configured(tmp_path))
    after = wired(configured(tmp_path, "#!/bin/sh\ntrue\n"))
    names = {one.name for one in planning.order([before.release])}
    assert changed(before, after) == {name for name in names if name.startswith("smoke")} | {"release"}


def test_it_is_asked_of_the_images_that_its_record_names(tmp_path: Path) -> None:
    found = terms(wired(configured(tmp_path)))
    here = {name: one.site[0].here for name, one in found.items()}
    assert len(here) > 6
    assert {name for name, there in here.items() if there} == {name for name in here if "vagrant" in name}
    (waiver,) = found["smoke disk vagrant uefi"].waivers[:1]
    assert (waiver.criterion, waiver.who, waiver.expired) == ("probe", "its own record", True)


def test_no_release_goes_without_it(tmp_path: Path) -> None:
    config = configured(tmp_path)
    assert config.own_criteria == ("probe",)
    assert "probe" in criteria.required(atomic=True, site=config.own_criteria)
    # what is kept of a configuration has what stands for them
    kept = json.loads(config.model_dump_json())["criteria"]
    assert kept["directory"] == "own"
    assert len(kept["criteria"]["probe"]) == 64


@pytest.mark.parametrize(
    ("record", "key", "says"),
    [
        (RECORD, "criteria: nowhere\n", "criteria: "),
        (RECORD, "criteria: ../own\n", "must lie in the configuration's directory"),
        ("minuts: 1\n", "criteria: own\n", "own/probe.yaml: minuts: unknown key"),
        ("artifacts: [clowd]\n", "criteria: own\n", "criteria: probe: artifacts: nothing is called 'clowd'"),
    ],
)
def test_what_is_wrong_with_it_is_an_error_of_the_configuration(
    tmp_path: Path, record: str, key: str, says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        configured(tmp_path, record=record, key=key)
    assert says in caught.value.message
    assert "line.yaml:" in caught.value.message


def test_a_waiver_may_name_one(tmp_path: Path) -> None:
    waiver = "waivers:\n  - {criterion: CELL, who: Ada, why: it is new, until: 2100-01-01}\n"
    wired(configured(tmp_path, key="criteria: own\n" + waiver.replace("CELL", "probe")))
    with pytest.raises(UsageError, match="there is no criterion prob"):
        wired(configured(tmp_path, key="criteria: own\n" + waiver.replace("CELL", "prob")))
