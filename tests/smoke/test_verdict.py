"""The file of a verdict is written and read in one place."""

from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell
from imagebuild.smoke import verdict

CELL = Cell(
    criterion="artifact-boots",
    artifact="a",
    firmware=Firmware.UEFI,
    state=State.WAIVED,
    reason="waived by Ada",
    evidence="serial.log",
    seconds=1.5,
    found=State.FAILED,
    carried=True,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    verdict.write(tmp_path / "new" / verdict.FILE, [CELL])
    assert verdict.read(tmp_path / "new" / verdict.FILE) == (CELL,)


def test_evidence_is_named_from_elsewhere() -> None:
    assert verdict.at(CELL, Path("evidence/a")).evidence == "evidence/a/serial.log"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "is not a verdict"),
        ('[{"criterion": "c"}]', "is not a verdict: 0.artifact"),
        ("[", "not a verdict"),
    ],
)
def test_anything_else_is_refused_by_the_files_name(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / verdict.FILE).write_text(text)
    with pytest.raises(BuildError, match=f"{verdict.FILE} {says}" if says[0] == "i" else says):
        verdict.read(tmp_path / verdict.FILE)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"verdict\.json is missing"):
        verdict.read(tmp_path / verdict.FILE)
