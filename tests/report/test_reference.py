"""Generated documents are what would be generated now; the README's configuration can be read."""

import json
import re
from pathlib import Path

import pytest

from imagebuild.release_line import model, reading
from imagebuild.report import reference
from imagebuild.session.criteria import kinds_of_hosts, listed
from tests.data import ROOT


@pytest.mark.parametrize("name", ["configuration", "criteria"])
def test_a_generated_document_is_up_to_date(name: str, request: pytest.FixtureRequest) -> None:
    text = {
        "configuration": lambda: reference.configuration(json.loads(model.schema())),
        "criteria": lambda: reference.criteria(listed(), kinds_of_hosts()),
    }[name]()
    file = ROOT / "docs" / f"{name}.md"
    if request.config.getoption("--update-golden"):
        file.write_text(text)
    assert file.read_text() == text, (
        "run pytest tests/report/test_reference.py --update-golden, and read the difference"
    )


def test_every_key_of_a_configuration_is_documented() -> None:
    text = reference.configuration(json.loads(model.schema()))
    for part in ("`gpg_keys`", "`disk_size`", "`raw.xz`", "`volume_id`", "`previous_major`", "`memory`"):
        assert f"| {part} |" in text


def test_the_configuration_in_the_readme_is_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    file = tmp_path / "example.yaml"
    file.write_text(example)
    assert reading.load(file, tmp_path).builds("fedora/26/x86_64/atomic-host")
    assert len(example.splitlines()) <= 25


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100
