"""A run that is ended in the middle of a real guest leaves nothing: no keys, no overlay, no program; nor does
a killed one, after gc.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.conftest import REF
from tests.vm.wiring import Lab

PROGRAM = Path(sys.executable).parent / "imagebuild"
# the guest has begun when its console says something; an emulated one of a busy machine takes its time
STARTED_SECONDS = 300.0


@pytest.fixture
def place() -> Iterator[Path]:
    # short, so that sockets lie there, too
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as found:
        yield Path(found)


def ours(place: Path) -> dict[int, str]:
    """Return the processes that were started with this TMPDIR, or one below it: all of a run's, whoever their
    parents are by now.
    """
    found = {}
    for each in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if each.name.isdigit() and f"TMPDIR={place}".encode() in (each / "environ").read_bytes():
                found[int(each.name)] = (
                    (each / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:100]
                )
    return found


def wait_until_gone(place: Path) -> dict[int, str]:
    deadline = time.monotonic() + 10
    while ours(place) and time.monotonic() < deadline:
        time.sleep(0.1)
    return ours(place)


@pytest.mark.slow  # the whole way is killed in the middle of a guest, too
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_ends_in_the_middle_of_a_guest_leaves_nothing(
    lab: Lab, tmp_path: Path, place: Path, number: signal.Signals
) -> None:
    disk = lab.pipeline.disks["cloud"]
    outcome = lab.must(disk)
    image, commit = outcome.value(disk).file, outcome.value(lab.pipeline.tree).commit
    environment = {**os.environ, "TMPDIR": str(place)}
    argv: list[str | Path] = [
        PROGRAM,
        "test",
        image,
        "--ref",
        REF,
        "--store",
        lab.store,
        "--output",
        tmp_path / "out",
        "--firmware",
        "bios",
    ]
    process = subprocess.Popen(
        [*argv, "--commit", commit, "--criteria", "artifact-boots"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    deadline = time.monotonic() + STARTED_SECONDS
    # the guest is a grandchild: pytest's, which runs the criteria
    while not any(
        "Linux version" in each.read_text(errors="replace") for each in (tmp_path / "out").rglob("serial.log")
    ):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert list(place.rglob("id_ed25519"))
    assert list(place.rglob("overlay.qcow2"))
    assert any("qemu-system" in each for each in ours(place).values())
    begun = time.monotonic()
    process.send_signal(number)
    if number is signal.SIGTERM:
        assert "imagebuild: SIGTERM: ending what runs" in process.stderr.readline()
        assert time.monotonic() - begun < 1
    with process:
        process.wait(30)
    assert not any("qemu-system" in each or "pytest" in each for each in wait_until_gone(place).values())
    if number is signal.SIGKILL:
        (tmp_path / "store").mkdir()
        subprocess.run(
            [PROGRAM, "gc", "--store", tmp_path / "store"], env=environment, check=True, capture_output=True
        )
    # GnuPG's agents, too: they have no parent that could take them along
    assert wait_until_gone(place) == {}
    assert list(place.iterdir()) == []
