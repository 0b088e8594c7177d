"""Linters are tests: the house stays in order or nothing lands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data import ROOT

SUFFIXES = {".py", ".md", ".ks", ".sh", ".yaml", ".toml", ".csv"}
BIN = Path(sys.executable).parent
SHELL = re.compile(rb"#! ?/(usr/)?bin/(env )?(sh|bash|dash|busybox sh)\b")


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["ruff", "check", "--no-cache", "imagebuild", "tests"], id="ruff"),
        pytest.param(["ruff", "format", "--check", "--no-cache", "imagebuild", "tests"], id="format"),
        pytest.param(["codespell"], id="codespell"),
        pytest.param(["mypy", "--no-error-summary", "--cache-dir=/dev/null"], id="mypy"),
        pytest.param(["lint-imports", "--no-cache"], id="import-linter"),
    ],
)
def test_linter(argv: list[str]) -> None:
    finished = subprocess.run(
        [BIN / argv[0], *argv[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def shell_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = [ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    # a copy of a checkout has no index
    files = names or [file for file in ROOT.rglob("*") if not {".venv", "build", ".git"} & {*file.parts}]
    return [file for file in files if file.is_file() and SHELL.match(file.read_bytes()[:40])]


def test_every_shell_file_is_clean() -> None:
    files = shell_files()
    assert {"bootstrap", "run"} <= {file.name for file in files}
    finished = subprocess.run(
        ["shellcheck", "--shell=sh", "--format=gcc", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_shell_files_are_narrow() -> None:
    wide = [
        f"{file.relative_to(ROOT)}:{number}: {len(line)} columns"
        for file in shell_files()
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if len(line) > 110
    ]
    assert not wide, "\n".join(wide)


def test_every_file_that_ends_in_sh_says_what_runs_it() -> None:
    texts = {file for place in ("imagebuild", "templates", "tests") for file in (ROOT / place).rglob("*.sh")}
    assert texts - {*shell_files()} == set()


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
