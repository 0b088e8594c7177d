"""How lorax ends: interrupted, killed, after too long; what is left then, and what is shown meanwhile."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from imagebuild import steplog
from imagebuild.cli import progress
from imagebuild.engine.directory import DirectoryStore
from imagebuild.errors import EvidenceError
from imagebuild.installers.lorax import backend as lorax
from imagebuild.installers.lorax import child as lorax_child
from imagebuild.installers.lorax import request as lorax_request
from imagebuild.model import Tree
from imagebuild.stages.installer import InstallerSpec, make_iso
from imagebuild.tools import command, own_place, temporary
from tests.data import ROOT
from tests.deadline import read_line
from tests.installers.lorax.lab import SOURCE, failure, fake, installer, kickstarts, needs_root, tree

__all__ = ["tree"]
# a library that can be driven, and the command of one that cannot
BOTH = pytest.mark.parametrize("generation", ["39.5", "26.9"])

# --- interrupts ---------------------------------------------------------------------------------------------

BUILD = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from imagebuild.cli import ending, progress
from imagebuild.installers.lorax import backend as lorax
from imagebuild.tools import command, temporary
from tests.installers.lorax.lab import *
import threading, contextvars
place = Path(sys.argv[1])
made = json.loads((place / "tree.json").read_text())
tree = Tree(**{{**made, "repo": Path(made["repo"]), "host_kind": made["host_kind"]}})
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, ending.interrupt)
temporary.adopt()
out = place / "out"
out.mkdir()
asked = request(place, tree, installer(place / "lorax"))
thread = threading.Thread(target=lorax.build, args=(out, asked), daemon=True)
thread.start()
try:
    thread.join()
except KeyboardInterrupt:
    ending.end_everything()
    os._exit(130)
"""


@contextlib.contextmanager
def started(
    tmp_path: Path, tree: Tree, generation: str, clean_up: float
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a build as a process of its own; yield when its lorax has something mounted, so to speak."""
    import json

    place = fake(tmp_path, generation, "hang")
    fields = {**tree.__dict__, "repo": str(tree.repo), "host_kind": tree.host_kind}
    (tmp_path / "tree.json").write_text(json.dumps(fields))
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD.format(root=str(ROOT)), str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "IMAGEBUILD_TEST_CLEAN_UP": str(clean_up), "TMPDIR": str(tmp_path / "temporary")},
        start_new_session=True,
    )
    with process:
        try:
            wait_for(place / "mounted")
            yield process, place
        finally:
            # leaving `with` waits for it
            process.kill()


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"no {file}"
        time.sleep(0.02)


def still_running(place: Path) -> list[str]:
    """Return what runs there and does not end: a program that was killed needs a moment until it is gone."""
    deadline = time.monotonic() + 10
    while (found := running(place)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def running(place: Path) -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        found += [words] if str(place) in words and str(os.getpid()) != each.parent.name else []
    return found


@needs_root
@BOTH
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_lorax_cleans_up_and_leaves_nothing(
    tmp_path: Path, tree: Tree, generation: str, number: signal.Signals
) -> None:
    """Longer than everybody else is waited for, and what it waits for is said at once."""
    with started(tmp_path, tree, generation, clean_up=4) as (process, place):
        process.send_signal(number)
        assert process.stderr is not None
        said = read_line(process.stderr)
        assert not (place / "cleaned").exists(), "four seconds later"
        assert "waiting up to 45 s for lorax" in said
        assert process.wait(30) == 130
        assert (place / "cleaned").exists()
        assert not (place / "interrupted again").exists()
        assert list((place / "tmp").iterdir()) == []
        assert list((tmp_path / "temporary").iterdir()) == []
        assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith("lorax")]
        assert still_running(place) == []


@needs_root
def test_a_signal_to_the_whole_group_reaches_the_command_once(tmp_path: Path, tree: Tree) -> None:
    with started(tmp_path, tree, "26.9", clean_up=2) as (process, place):
        group = os.getpgid(
            next(
                int(each.parent.name)
                for each in Path("/proc").glob("[0-9]*/cmdline")
                if _is_child(each, tmp_path)
            )
        )
        for _ in range(3):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGINT)
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert (place / "cleaned").exists()
        assert not (place / "interrupted again").exists()


def _is_child(cmdline: Path, place: Path) -> bool:
    try:
        words = cmdline.read_bytes().split(b"\0")
    except OSError:
        return False
    return words[1:2] == [str(Path(lorax_child.__file__)).encode()] and str(place).encode() in words[2]


@needs_root
@BOTH
def test_a_killed_build_leaves_what_the_next_run_sweeps(
    tmp_path: Path, tree: Tree, generation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(tmp_path, tree, generation, clean_up=1) as (process, place):
        process.kill()
        process.wait()
        assert still_running(place) == [], "lorax outlives the build"
        assert list((place / "tmp").rglob("lorax-*"))
        # any run with that TMPDIR, although it may not have anything to do with lorax
        monkeypatch.setattr(own_place, "_given", tmp_path / "temporary")
        temporary.sweep()
        assert not list((place / "tmp").rglob("lorax-*"))
        assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith("lorax")]
        # the next one that uses it, and gc
        temporary.sweep(place / "tmp")
        assert list((place / "tmp").iterdir()) == []


def begin_to_count_when_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a minute be a moment, but not before lorax is in the middle of its work, however long that takes
    here.
    """
    wait = command.Process.wait

    def patient(process: command.Process, seconds: float | None = None) -> int:
        # only lorax itself has a deadline
        if seconds is not None:
            wait_for(tmp_path / "lorax" / "mounted")
        return wait(process, seconds)

    monkeypatch.setattr(command.Process, "wait", patient)
    monkeypatch.setattr(lorax, "MINUTE", 0.01)


@needs_root
@BOTH
def test_one_that_takes_too_long_is_interrupted(
    tmp_path: Path, tree: Tree, generation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_to_count_when_mounted(tmp_path, monkeypatch)
    error = failure(tmp_path, tree, generation, "hang", timeout_minutes=30)
    assert "lorax did not end within 30 minutes" in error.message
    assert "installer.lorax.timeout_minutes" in error.hint
    assert (tmp_path / "lorax" / "cleaned").exists()


@needs_root
def test_one_that_does_not_end_is_killed(tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_to_count_when_mounted(tmp_path, monkeypatch)
    monkeypatch.setattr(lorax_request, "CLEAN_UP_SECONDS", 1)
    monkeypatch.setattr(lorax, "PATIENCE_SECONDS", 3.0)
    monkeypatch.setenv("IMAGEBUILD_TEST_CLEAN_UP", "600")
    begun = time.monotonic()
    failure(tmp_path, tree, "26.9", "hang", timeout_minutes=30)
    assert time.monotonic() - begun < 20
    assert still_running(tmp_path / "lorax") == []


# --- what is shown ------------------------------------------------------------------------------------------


def test_the_child_and_the_log_mean_the_same_by_a_stage() -> None:
    assert lorax_child.STAGE == steplog.STAGE


def test_stages_are_said_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    stages = lorax_child.Stages()
    for message in (
        "Checking dependencies",
        "Checking dependencies",
        "something",
        "Downloading packages",
        "Checking dependencies",
    ):
        stages.look(message)
    assert (
        capsys.readouterr().out
        == "==> Checking dependencies\n==> Downloading packages\n==> Checking dependencies\n"
    )


def test_the_next_failure_is_moved_with_its_logs(tmp_path: Path) -> None:
    """`failed/` has what the message speaks of."""
    from imagebuild.engine.dispatch import Task, run_step

    store = DirectoryStore(tmp_path / "store")
    task = Task(
        kind="installer.make", key="k", components={}, function=broken, arguments=(), guests=0, without=()
    )
    with pytest.raises(EvidenceError) as caught:
        run_step(store, task)
    assert caught.value.evidence == tmp_path / "store/failed/installer.make-k/out/work/logs"
    assert (caught.value.evidence / "lorax.log").read_text() == "words"
    assert sorted(path.name for path in (caught.value.evidence.parent).iterdir()) == ["logs"]


@needs_root
def test_a_refused_iso_stays_as_evidence(tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    place, out = fake(tmp_path, "40.5.19"), tmp_path / "out"
    out.mkdir()
    spec = InstallerSpec(backend="lorax", product="Fedora", release="29", ways=("native",))
    config = installer(place).model_copy(update={"volume_id": "Fedora_29"})
    # whatever is wrong with it: here the label (lorax's x86.tmpl replaces what is neither letter, digit nor
    # underscore)
    medium = place / "pylorax" / "__init__.py"
    medium.write_text(
        medium.read_text().replace("outputdir, volid, 'grub'", "outputdir, volid.replace('_', '-'), 'grub'")
    )
    with (
        pytest.raises(EvidenceError, match="its volume id is 'Fedora-29', not 'Fedora_29'") as caught,
        steplog.writing_to(tmp_path / "log"),
    ):
        make_iso(out, tree, None, kickstarts(tmp_path), SOURCE, config, spec)
    image = out / f"{config.name}-{tree.version}.x86_64.iso"
    assert caught.value.evidence == image
    assert image.name in caught.value.hint
    assert sorted(file.name for file in out.iterdir()) == sorted([image.name, "facts.json", "treeinfo"])


def broken(out: Path) -> int:
    logs = out / "work" / "logs"
    logs.mkdir(parents=True)
    (logs / "lorax.log").write_text("words")
    (out / "work" / "request.json").write_text("secret")
    (out / "work" / "x").mkdir()
    raise lorax._kept("it broke", "", logs)


def test_progress_off_a_terminal_names_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    view = progress.View(Console())
    monkeypatch.setattr(view, "say", said.append)
    log = tmp_path / "log"
    log.write_text("x\n==> installing runtime packages\nmore\n==> half a li")
    view.rows = {"installer iso": progress._Row("running", log=log)}
    view.look()
    with log.open("a") as stream:
        stream.write("ne\nafter\n==> \x1b[31mred\x07\n")
    view.look()
    view.look()
    assert said == [
        "installer iso: installing runtime packages",
        "installer iso: half a line",
        "installer iso: red",
    ]
    log.unlink()
    view.look()


def test_a_terminal_shows_the_stage_before_the_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("==> creating the runtime image\nINFO pylorax.ltmpl: something\n")
    console = Console(force_terminal=True, width=120, color_system=None)
    view = progress.LiveView(console)
    view.rows = {"installer iso": progress._Row("running", log=log)}
    view.look()
    with console.capture() as shown:
        console.print(view)
    assert "creating the runtime image: INFO pylorax.ltmpl: something" in shown.get()
