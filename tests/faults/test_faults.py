"""A reduced amount of every fault that takes seconds, as `python -m tests.faults` tries them, from a fixed
seed; IMAGEBUILD_SEED is another one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data import ROOT
from tests.faults.experiments import EXPERIMENTS

SEED = os.environ.get("IMAGEBUILD_SEED", "20261128")
REDUCED = [name for name, experiment in EXPERIMENTS.items() if experiment.reduced is not None]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench") / "bench"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts, loop devices and namespaces need root")
@pytest.mark.parametrize("name", REDUCED)
def test_nothing_is_lost_and_nothing_wrong(name: str, bench: Path) -> None:
    argv: list[str | Path] = [sys.executable, "-m", "tests.faults", "--reduced", "--seed", SEED]
    argv += ["--only", name, "--bench", bench]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 lost, 0 wrong" in ended.stdout.splitlines()[-1], ended.stdout
