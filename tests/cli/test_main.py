"""The command line: exit codes, sentences, data on standard output."""

import functools
import json
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from imagebuild.cli import ending
from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import step
from imagebuild.session.build import Build, Quiet
from imagebuild.tools import command
from imagebuild.tools.ostree import succession
from imagebuild.tools.ostree.repository import Repo
from tests.cli.running import CONFIG, PROGRAM, run
from tests.data import ROOT
from tests.deadline import read_line
from tests.tools.ostree.commits import (
    Source,
    make_commit,
)  # fixtures


@pytest.fixture
def settings(source: Source, tmp_path: Path) -> Path:
    file = tmp_path / "test.yaml"
    file.write_text(CONFIG.format(url=source.url, key=source.key, size="6 GiB"))
    return file


def test_the_kickstart_is_printed(tmp_path: Path) -> None:
    finished = run("kickstart", "--ref", "debian/12/x86_64/atomic-host", "--store", tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "ostreesetup --osname=debian-atomic" in finished.stdout
    assert finished.stdout.startswith("# ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["kickstart", "--ref", "debian/12/x86_64/atomic-host", "--variant", "desktop"],
            "no kickstart for desktop",
        ),
        (["all"], "neither a ref nor a configuration is given"),
        (["all", "--ref", "nothing/1"], "no configuration builds the ref nothing/1"),
        (
            ["all", "--ref", "debian/12/x86_64/atomic-host", "--populate", "magic"],
            "--populate=magic is not possible here",
        ),
        (["config", "/nowhere.yaml"], "/nowhere.yaml: cannot be read"),
        (["config"], "there is nothing to check"),
        (["frobnicate"], "No such command"),
        (["compose", "--ref", "fedora/26/x86_64/atomic-host"], "has no `compose`"),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    store: list[str | Path] = ["--store", tmp_path] if arguments[0] not in ("config", "frobnicate") else []
    finished = run(*arguments, *store)
    assert finished.returncode == 2, finished.stderr
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_schema_is_printed() -> None:
    assert json.loads(run("config", "--schema").stdout)["title"] == "Config"


def test_every_error_of_a_configuration_is_printed(settings: Path) -> None:
    settings.write_text(
        settings.read_text().replace("osname: os", "os_name: os").replace("smoke: {user: test}", "smoke: {}")
    )
    finished = run("config", settings)
    assert finished.returncode == 2
    for key in ("tree.osname", "tree.os_name", "smoke.user"):
        assert f": {key}: " in finished.stderr


def test_the_plan_says_what_would_be_built(settings: Path, tmp_path: Path) -> None:
    finished = run("all", "--config", settings, "--store", tmp_path / "store", "--plan")
    assert finished.returncode == 0, finished.stderr
    assert "build  pull: never built" in finished.stdout
    assert not list((tmp_path / "store" / "artifacts").iterdir())


def test_a_ref_that_went_back_is_refused_before_anything_is_built(
    settings: Path, source: Source, tmp_path: Path
) -> None:
    """What was pulled before is remembered by the store's own repository."""
    newer, _ = succession.relative(
        source.repo,
        source.commit,
        version="12.2",
        parent=source.commit,
        timestamp=source.repo.timestamp(source.commit) + 60,
    )
    own = Repo.ensure(tmp_path / "store" / "repo")
    command.run(["ostree", "pull-local", f"--repo={own.path}", source.repo.path, newer])
    own.set_ref("test/1/x86_64/host", newer)
    finished = run("all", "--config", settings, "--store", tmp_path / "store", "--plan")
    assert finished.returncode == 1
    assert f"older than {newer}" in finished.stderr
    assert "tree.allow_downgrade: true" in finished.stderr
    settings.write_text(settings.read_text().replace("  osname: os", "  osname: os\n  allow_downgrade: true"))
    allowed = run("all", "--config", settings, "--store", tmp_path / "store", "--plan")
    assert allowed.returncode == 0, allowed.stderr
    assert "(tree.allow_downgrade)" in allowed.stdout + allowed.stderr


def test_where_nothing_can_be_written_is_no_bug(settings: Path) -> None:
    # sysfs has no files but the kernel's
    finished = run("all", "--config", settings, "--store", "/sys/imagebuild-store", "--plan")
    assert finished.returncode == 1
    assert "imagebuild: /sys/imagebuild-store: " in finished.stderr
    assert "this is a bug" not in finished.stderr
    assert "who may write there" in finished.stderr


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_job_is_one_step_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    asked: dict[str, Any] = {}

    def build(goals: object, store: object, executor: ThreadPoolExecutor, **options: Any) -> None:
        asked.update(options, threads=executor._max_workers)

    monkeypatch.setattr(graph, "build", build)
    wired = SimpleNamespace(
        pipeline=SimpleNamespace(release=step("goal", nothing, "x")),
        store=DirectoryStore(tmp_path),
        order=SimpleNamespace(cluster=None),
    )
    wired.result = lambda outcome: outcome
    Build.run(cast("Any", wired), Quiet(), jobs=jobs)
    assert (asked["one_at_a_time"], asked["threads"]) == ((True, 1) if jobs == 1 else (False, 4))


def nothing(out: Path, text: str) -> str:
    return text


def test_too_little_space_is_said_before_anything_starts(settings: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", small], check=True)
    else:
        pytest.skip("a small file system needs root")
    try:
        finished = run("all", "--config", settings, "--store", small / "store")
    finally:
        subprocess.run(["umount", small], check=True)
    assert finished.returncode == 1
    assert "not enough space" in finished.stderr
    assert "GiB are free" in finished.stderr
    assert "started" not in finished.stdout


def test_an_unsigned_commit_stops_the_build_with_exit_code_1(
    source: Source, settings: Path, tmp_path: Path
) -> None:
    unsigned = make_commit(source.repo, tmp_path / "work", {"usr/bin/ostree": b"x"})
    finished = run("all", "--config", settings, "--store", tmp_path / "store", "--output", tmp_path / "out")
    assert finished.returncode == 1
    assert f"pull: commit {unsigned} is not signed" in finished.stderr
    assert "log: " in finished.stderr
    assert "release was not started, because pull failed" in finished.stderr


def test_a_disk_that_cannot_fit_is_refused_with_the_sums(
    settings: Path, source: Source, tmp_path: Path
) -> None:
    settings.write_text(CONFIG.format(url=source.url, key=source.key, size="2 GiB"))
    finished = run("all", "--config", settings, "--store", tmp_path / "store", "--output", tmp_path / "out")
    assert finished.returncode == 1
    assert "volume group atomicos is too small: root 3000 = 3000 MiB" in finished.stderr


def test_garbage_collection_needs_a_store(tmp_path: Path) -> None:
    assert run("gc", "--store", tmp_path / "none").returncode == 2
    (tmp_path / "store").mkdir()
    assert "freed" in run("gc", "--store", tmp_path / "store").stdout


@pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM to a background job"])
def test_an_interrupt_ends_everything_within_five_seconds(settings: Path, tmp_path: Path, way: str) -> None:
    argv: list[str | Path] = [PROGRAM, "all", "--config", settings, "--store", tmp_path / "store"]
    # a shell without job control starts `command &` with SIGINT ignored
    before = [] if way == "Ctrl-C" else ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
    process = subprocess.Popen(
        [*before, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "pull: started" in line:
            break
    begun = time.monotonic()
    process.send_signal(signal.SIGINT if way == "Ctrl-C" else signal.SIGTERM)
    _, said = process.communicate(timeout=10)
    assert time.monotonic() - begun < 5
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said


class _Slow(SimpleHTTPRequestHandler):
    """A server of a repository whose files never come."""

    def do_GET(self) -> None:
        if self.path.endswith(".filez"):
            time.sleep(60)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_says_within_a_second_what_it_ends(
    source: Source, settings: Path, tmp_path: Path, number: signal.Signals
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Slow, directory=str(source.repo.path)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.write_text(
        settings.read_text().replace(source.url, f"http://127.0.0.1:{server.server_address[1]}")
    )
    (tmp_path / "t").mkdir()
    process = subprocess.Popen(
        [PROGRAM, "all", "--config", settings, "--store", tmp_path / "store"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path / "t")},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if "pull: started" in line:
            break
    time.sleep(1)
    begun = time.monotonic()
    process.send_signal(number)
    said = read_line(process.stderr)
    assert time.monotonic() - begun < 1
    assert said.startswith(f"imagebuild: {number.name}: ending pull")
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert list((tmp_path / "t").iterdir()) == []
    server.shutdown()
    server.server_close()


def test_what_an_interrupt_says() -> None:
    assert ending.sentence("SIGTERM", [], []) == "SIGTERM: ending what runs"
    assert (
        ending.sentence("SIGINT", ["smoke a", "pull"], ["qemu-img", "pytest", "qemu-img"])
        == "SIGINT: ending smoke a, pull; waiting up to 3 s for 2 qemu-img, pytest"
    )
