"""Answers of hosts that are not what their programs promise: the host's failure, not ours."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell
from imagebuild.report import junit
from imagebuild.smoke.hosts import rpm_ostree
from imagebuild.tools.ssh import Answer


class Shell:
    """A host that gives one answer to everything."""

    def __init__(self, text: str) -> None:
        self._text = text

    def run(self, *_words: str, **_: Any) -> Answer:
        return Answer(status=0, output=self._text, complaint="", seconds=0.0)

    def succeeds(self, *_words: str, **_: Any) -> str:
        return self._text


@pytest.mark.parametrize(
    "text", ["", "x", "null", "{}", "[]", '{"deployments": 1}', '{"deployments": ["a"]}', "[" * 100_000]
)
def test_a_status_that_is_none_is_the_hosts_failure(text: str) -> None:
    with pytest.raises(AssertionError, match="rpm-ostree status --json"):
        rpm_ostree.RECORD.commands.deployments(Shell(text))


def test_a_status_with_other_kinds_of_values_is_read() -> None:
    text = '{"deployments": [{"checksum": 1, "origin": [], "requested-packages": "a", "booted": "yes"}]}'
    (found,) = rpm_ostree.RECORD.commands.deployments(Shell(text))
    assert (found.commit, found.requested, found.booted) == ("1", (), True)


def test_a_name_that_xml_does_not_have_is_written_without_it(tmp_path: Path) -> None:
    cell = Cell(
        artifact="a\x1b[2J\0",
        firmware=Firmware.UEFI,
        criterion="boots",
        state=State.FAILED,
        reason="\ud800\x07x",
        evidence="e\x1b",
        seconds=1.0,
    )
    junit.write_junit(tmp_path / "junit.xml", [(cell, tmp_path)])
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()  # our own
    assert [failure.get("message") for failure in root.iter("failure")] == ["failed: x"]
