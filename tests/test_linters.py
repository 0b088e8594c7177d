"""Linters are tests: the house stays in order or nothing lands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data import ROOT

SUFFIXES = {".py", ".md", ".ks", ".sh", ".yaml", ".toml", ".csv"}
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["ruff", "check", "--no-cache", "imagebuild", "tests"], id="ruff"),
        pytest.param(["mypy", "--no-error-summary", "--cache-dir=/dev/null"], id="mypy"),
        pytest.param(["lint-imports", "--no-cache"], id="import-linter"),
    ],
)
def test_linter(argv: list[str]) -> None:
    finished = subprocess.run(
        [BIN / argv[0], *argv[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_a_wrong_wiring_is_an_error_of_the_type_checker(tmp_path: Path) -> None:
    program = tmp_path / "wrong.py"
    program.write_text(
        "from pathlib import Path\n"
        "from imagebuild.engine.steps import Step, step\n"
        "def make_number(out: Path, text: str) -> int: return 1\n"
        "def use_text(out: Path, text: str) -> bytes: return bytes()\n"
        "number: Step[int] = step('number', make_number, 'one')\n"
        "fine = step('fine', use_text, 'two')\n"
        "wrong = step('wrong', use_text, number)\n"
    )
    finished = subprocess.run(
        [BIN / "mypy", "--cache-dir=/dev/null", "--strict", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in finished.stdout.splitlines() if ": error:" in line]
    assert errors, finished.stdout
    assert all("wrong.py:7" in line for line in errors), finished.stdout


def test_the_repository_stands_alone() -> None:
    # what is not in a plain clone cannot be read by whoever has one (`.ci/run` runs in a copy with nothing
    # beside it)
    elsewhere = re.compile(r"\.\./shared|[\"'(` ]shared/(data|[a-z-]+\.md)|\bROOT\.parent\b")
    files = [
        file
        for place in ("imagebuild", "tests", "docs", "kickstarts", "templates", "configs")
        for file in (ROOT / place).rglob("*")
    ]
    texts = [
        file
        for file in [*files, *ROOT.iterdir()]
        if file.is_file() and (file.suffix in SUFFIXES or file.name == "Jenkinsfile")
    ]
    found = [str(file) for file in texts if file != Path(__file__) and elsewhere.search(file.read_text())]
    assert not found
