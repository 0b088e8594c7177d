"""The main job, through the command line as users run it; then again, when nothing is left to do."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.config.places import cache_directory
from imagebuild.engine.store import remove
from imagebuild.kinds import State
from imagebuild.release_line.model import Config
from imagebuild.smoke import seed
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.tools import accelerator, web
from tests.vm import shorter
from tests.vm.conftest import REF
from tests.vm.matrix import PROGRAM, small_matrix

AWAY = {
    "a-changed-object-is-not-read",
    "a-layered-package-can-be-removed",
    "a-layered-package-survives-an-upgrade",
    "etc-is-merged-or-transient",
    "falls-back",
    "layers-a-package",
    "secure-boot-is-on",
    "secure-boot-stays-on",
    "selinux-is-enforcing-and-files-are-labelled",
    "soft-reboots-into-the-new-deployment",
    "sysroot-is-read-only",
    "system-containers-survive-a-reboot",
    "upgrades-from-an-older-release",
    "upgrades-from-the-release-line-before",
    "vagrant-logs-in-with-the-insecure-key",
}
# the disk is tested while it is converted: this test is to be killed when that is over
LATER = {"smoke disk cloud uefi": "qcow2 cloud: done"}
STAGES = ("pull", "toolbox", "disk cloud", "qcow2 cloud", "smoke disk cloud uefi")


# the product as it is takes 45 minutes here, most of them boots: CI leaves five criteria to the night
PROGRAMS = [
    pytest.param((sys.executable, *shorter.PROGRAM), shorter.LEFT_OUT, id="shorter"),
    pytest.param((str(PROGRAM),), frozenset[str](), id="whole", marks=pytest.mark.slow),
]


def run(
    program: tuple[str, ...], configuration: Path, store: Path, output: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    argv: list[str | Path] = [
        *program,
        "all",
        "--config",
        configuration,
        "--ref",
        REF,
        "--store",
        store,
        "--output",
        output,
        *more,
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.fixture
def own_store(settings: Config, store: Path, tmp_path: Path) -> Iterator[Path]:
    """A store in which nothing is finished yet, beside the same composed tree."""
    del settings
    place = tmp_path / "store"
    place.mkdir()
    (place / "compose").symlink_to((store / "compose").resolve())
    yield place
    remove(place)


@pytest.mark.parametrize(("program", "left_out"), PROGRAMS)
def test_a_ref_becomes_a_booted_and_checked_qcow2(
    own_store: Path, tmp_path: Path, program: tuple[str, ...], left_out: frozenset[str]
) -> None:
    store, tested = own_store, set(criteria.names()) - left_out
    configuration, output = small_matrix(tmp_path), tmp_path / "release"
    killed_in = _kill_in_every_stage(program, configuration, store, output)
    assert killed_in == list(STAGES)
    finished = run(program, configuration, store, output)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for stage in killed_in[:-1]:
        assert f"{stage}: finished before" in finished.stdout, f"{stage} was built again:\n{finished.stdout}"
    cells = json.loads((output / "verdict.json").read_text())
    assert {cell["state"] for cell in cells} == {State.PASSED, State.NOT_APPLICABLE}, cells
    # the installed disk, and the download
    assert len(cells) == 2 * len(tested)
    assert {cell["criterion"] for cell in cells if cell["state"] == State.NOT_APPLICABLE} == AWAY
    carried = {cell["criterion"] for cell in cells if cell["carried"]}
    # the same disk on the same controller and firmware was booted once, and that is said
    assert carried == tested
    assert {cell["same_as"] for cell in cells} == {"", "disk cloud"}
    assert {cell["artifact"] for cell in cells if cell["carried"]} == {cell["artifact"] for cell in cells} - {
        "disk cloud"
    }
    assert "Images are identical" in next(cell["reason"] for cell in cells if cell["carried"])
    assert all(Path(cell["evidence"]).stat().st_size for cell in cells)
    (released,) = [file.parent for file in output.glob("*/COMPOSE_ID")]
    (image,) = released.glob("AtomicHost/x86_64/images/*.qcow2")
    assert image.name.startswith("Debian-AtomicHost-12-20")
    for place in released.glob("evidence/*"):
        evidence = {file.name for file in place.iterdir()}
        assert {
            "serial.log",
            "screen.png",
            "phases.json",
            "boots.json",
            "journal.txt",
            "journal.export",
            "systemd-analyze.txt",
        } <= evidence
        waits = re.search(r"DefaultTimeoutStartUSec=(.*)", (place / "systemd-analyze.txt").read_text())
        assert waits is not None
        assert accelerator.probe(cache_directory()).slowness < seed.SLOW or waits[1] != "1min 30s", waits[1]
    assert "upgrades-to-the-next-release" in (released / "report.html").read_text()
    assert (released / "junit.xml").stat().st_size
    _verify(released, store)

    begun = time.monotonic()
    again = run(program, configuration, store, output)
    assert again.returncode == 0, again.stderr
    assert "started" not in again.stdout, again.stdout
    assert f"released before: {released}" in again.stdout
    assert not _guests(store), "a virtual machine was started although nothing was to be done"
    assert time.monotonic() - begun < 60
    plan = run(program, configuration, store, output, "--plan")
    assert "build" not in [line.split()[0] for line in plan.stdout.splitlines()]


def _verify(released: Path, store: Path) -> None:
    """Verify the release as a stranger would: over HTTP, with the public key; every image is opened, and
    holds the signed commit.
    """
    with web.serving(web.directories({"/": [released.parent]})) as port:
        argv: list[str | Path] = [
            PROGRAM,
            "verify",
            f"http://127.0.0.1:{port}/{released.name}",
            "--key",
            store / "compose" / "signing-key.asc",
            "--json",
        ]
        finished = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = json.loads(finished.stdout)
    assert found["problems"] == []
    assert list(found["images"].values()) == [[found["commit"]]]


def _kill_in_every_stage(
    program: tuple[str, ...], configuration: Path, store: Path, output: Path
) -> list[str]:
    """Kill the pipeline once in each stage that is not finished yet; what was finished before must not be
    built again.
    """
    killed: list[str] = []
    for stage in STAGES:
        argv: list[str | Path] = [
            *program,
            "all",
            "--config",
            configuration,
            "--ref",
            REF,
            "--store",
            store,
            "--output",
            output,
        ]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if LATER.get(stage, f"{stage}: started") in line:
                time.sleep(1.5)
                os.kill(process.pid, signal.SIGKILL)
                killed.append(stage)
                break
            if f"{stage}: finished before" in line:
                os.kill(process.pid, signal.SIGINT)
                break
        process.stdout.close()
        process.wait(timeout=10)
        started = [line for line in lines if line.rstrip().endswith(": started")]
        assert not [line for line in started for earlier in killed[:-2] if f" {earlier}: started" in line], (
            lines
        )
        # the kernel writes what was dirty before it lets go of a file system
        deadline = time.monotonic() + 10
        while (_guests(store) or _loops(store)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not _guests(store), f"a guest outlived the pipeline that was killed in {stage}"
        assert not _loops(store), f"a loop device outlived the pipeline that was killed in {stage}"
    return killed


def _guests(store: Path) -> list[str]:
    """Return the guests of this build: others may run on the machine. Their consoles lie in its store."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"qemu-system-x86_64") and str(store).encode() in b" ".join(words):
            found.append(place.parent.name)
    return found


def _loops(store: Path) -> list[str]:
    listing = subprocess.run(
        ["losetup", "--list", "--noheadings", "--output=BACK-FILE"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return [line for line in listing.splitlines() if str(store) in line]


@pytest.mark.parametrize(
    "arguments", [["--ref", "debian/12/x86_64/nothing"], ["--config", "/nowhere.yaml"], []]
)
def test_wrong_usage_is_a_sentence(arguments: list[str], store: Path) -> None:
    finished = subprocess.run(
        [PROGRAM, "all", *arguments, "--store", store], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert finished.stderr.startswith("imagebuild: ")
