"""How the command starts: with little, and where much is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import CONFIG
from tests.data import ROOT
from tests.tools.ostree.commits import Source

# distribution packages, and libraries that take long: none of them is for printing a help text
HEAVY = (
    *("gi", "guestfs", "pylorax", "s3fs", "moto", "pytest", "_pytest", "playwright"),
    *("mako", "in_toto_attestation", "google"),
)
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, Blocked())
sys.argv = ["imagebuild", *{arguments!r}]
from imagebuild.cli.main import main
main()
"""


def run_without(heavy: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    program = BLOCKED.format(heavy=heavy, arguments=arguments)
    argv = [sys.executable, "-c", program]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--help"], "promote"),
        (["all", "--help"], "--populate"),
        (["--version"], "imagebuild 0."),
        (["names", "--config", "configs/debian-12.yaml"], ".qcow2"),
        (["config", "configs/debian-12.yaml"], "no errors"),
        (["config", "--schema"], "TreeConfig"),
        (["criteria"], "containers-run"),
        (["man"], ".TH IMAGEBUILD"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_what_needs_little_starts_where_much_is_missing(arguments: list[str], part: str) -> None:
    finished = run_without(HEAVY, *arguments)
    assert finished.returncode == 0, finished.stderr
    assert part in finished.stdout


def test_what_is_missing_is_a_sentence(tmp_path: Path) -> None:
    finished = run_without(("gi",), "all", "--config", "configs/debian-12.yaml", "--store", str(tmp_path))
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert "python3-gi" in finished.stderr


def test_a_bug_leaves_its_traceback_in_a_file_that_the_message_names(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['imagebuild', 'hold']\n"
        "from imagebuild.cli import main\n"
        "@main.app.command('hold')\n"
        "def hold() -> None: raise ZeroDivisionError('one by nothing')\n"
        "main.main()"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    argv = [sys.executable, "-c", program]
    finished = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    (file,) = (tmp_path / "imagebuild" / "bugs").iterdir()
    assert str(file) in finished.stderr
    assert "ZeroDivisionError: one by nothing" in file.read_text()
    with_debug = program.replace("'hold']", "'--debug', 'hold']")
    argv = [sys.executable, "-c", with_debug]
    finished = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert "ZeroDivisionError: one by nothing" in finished.stderr
    assert "Traceback" in finished.stderr


def test_tables_are_printed_as_json(tmp_path: Path) -> None:
    finished = run_without((), "criteria", "--json")
    assert {row["name"] for row in json.loads(finished.stdout)} >= {"boots", "containers-run"} - {"boots"}
    (tmp_path / "builds").mkdir()
    finished = run_without((), "status", "--json", "--store", str(tmp_path))
    assert json.loads(finished.stdout) == []
    finished = run_without((), "doctor", "--json", "--store", str(tmp_path))
    assert all(set(row) >= {"what", "says", "fix", "needed", "good"} for row in json.loads(finished.stdout))


def test_a_build_is_planned_without_what_only_tests_and_extras_need(source: Source, tmp_path: Path) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(CONFIG.format(url=source.url, key=source.key, size="6 GiB"))
    extras = ("mako", "s3fs", "moto", "playwright", "lxml", "boto3", "aiohttp", "grimp", "mypy")
    store = str(tmp_path / "store")
    finished = run_without(extras, "all", "--plan", "--config", str(file), "--store", store)
    assert finished.returncode == 0, finished.stderr
    assert "build  disk cloud: never built" in finished.stdout


def test_the_help_is_whole_lines_without_types_of_switches() -> None:
    for arguments in (["--help"], ["all", "--help"], ["test", "--help"], ["iso", "--help"]):
        text = run_without((), *arguments).stdout
        assert "<bool>" not in text
        assert not [line for line in text.splitlines() if line.endswith("...") and "COMMAND" not in line]
