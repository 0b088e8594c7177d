"""Two refs on three machines that share nothing but a bucket, while a worker dies in the middle of a disk and
of a guest, then the head, then the client: the downloads and their metadata are those of one machine that
nobody disturbed.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.engine.store import remove
from imagebuild.release_line.model import Config
from imagebuild.tools import gpg
from imagebuild.tools.ostree.repository import Repo
from tests.engine.remotes import serving
from tests.same_releases import compare_releases
from tests.vm.conftest import REF
from tests.vm.machines import REAL, SIMULATED, Machines, events, machines
from tests.vm.matrix import PROGRAM, small_matrix

OTHER = "debian/12/x86_64/other-host"
REFS = (REF, OTHER)
USER = "imagebuild demo <imagebuild-demo@example.org>"
DAY, EPOCH = "20261128", "1790000000"
DISK, GUEST = "disk.install_disk", "smoke.smoke_disk"


@pytest.fixture
def origin(settings: Config, store: Path, tmp_path: Path) -> Iterator[Path]:
    """A repository with the demo's commits, and a second ref whose trees hold a file more: that is quicker
    than another package list, which the test with real guests has.
    """
    del settings
    composed, place = store / "compose" / "repo", tmp_path / "origin"
    _ostree(place, "init", "--mode=archive")
    _ostree(place, "pull-local", composed, REF, "--depth=-1")
    more = tmp_path / "more"
    (more / "usr" / "share" / "other-host").mkdir(parents=True)
    (more / "usr" / "share" / "other-host" / "README").write_text("another host\n")
    newest = _ostree(place, "rev-parse", REF)
    made = Repo(place)
    with gpg.keyring(store / "compose" / "gnupg") as home:
        key = gpg.ensure_key(home, USER)
        for base in (_ostree(place, "rev-parse", f"{newest}^"), newest):
            version = _ostree(place, "show", "--print-metadata-key=version", base).strip("'")
            stamp = _ostree(place, "log", base)
            stamp = re.findall(r"^Date: *(.*)$", stamp, re.MULTILINE)[0]
            _ostree(
                place, "commit", f"--branch={OTHER}", f"--tree=ref={base}", f"--tree=dir={more}",
                "--subject=other", f"--add-metadata-string=version={version}", f"--timestamp={stamp}",
                "--bootable", "--owner-uid=0", "--owner-gid=0",
            )  # fmt: skip
            made.sign(_ostree(place, "rev-parse", OTHER), key, home)
    yield place
    remove(place)


def _ostree(repo: Path, command: str, *arguments: str | Path) -> str:
    argv: list[str | Path] = ["ostree", command, f"--repo={repo}", *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def configurations(place: Path, origin: Path, compose: Path) -> list[Path]:
    """Return the configurations of both refs: a disk with an ext4 root and a qcow2 each, under UEFI; their
    commits come from `origin`.
    """
    text = small_matrix(place).read_text()
    for old, new in (
        ("debian-12-cloud.ks", "debian-12-aarch64-cloud.ks"),
        ("url: file://${store}/compose/repo", f"url: file://{origin}"),
        ("${store}/compose", str(compose)),
        # what a machine calls its own place is part of its configuration
        ("file://${store}/", f"file://{place}/published/"),
    ):
        assert old in text
        text = text.replace(old, new)
    made = [place / "one.yaml", place / "other.yaml"]
    for file, ref, name in zip(made, REFS, ("Atomic", "Other"), strict=True):
        # numbers are given in the order in which refs are tested: each has its own
        own = text.replace(f"refs: [{REF}]", f"refs: [{ref}]")
        file.write_text(own.replace("compose: Debian-Atomic-", f"compose: Debian-{name}-"))
    return made


def compose_other(line: Path, store: Path) -> None:
    """Compose the second line's tree, which has another package list."""
    text = line.read_text()
    assert "    - less\n" in text
    line.write_text(text.replace("    - less\n", "    - vim-tiny\n"))
    argv: list[str | Path] = [PROGRAM, "compose", "--config", line, "--store", store]
    composed = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert composed.returncode == 0, composed.stdout + composed.stderr


class Build:
    """One command for both refs."""

    def __init__(self, machines: Machines, lines: list[Path], output: Path) -> None:
        self._machines, self._lines, self._output, self._count = machines, lines, output, 0

    def start(self, name: str, *more: str) -> "subprocess.Popen[bytes]":
        """Start it on the machine of that name."""
        self._count += 1
        self.events = self._output.parent / f"events-{name}-{self._count}"
        return self._machines.start(
            name, "all", *(word for line in self._lines for word in ("--config", str(line))),
            "--store", self._machines.place / name / "store", "--output", self._output, "--date", DAY,
            "--respin", "0", "--populate", "offline", "--events", self.events, *more,
        )  # fmt: skip


# nine minutes, and two hours and a half where two guests share two processors: each goes all journeys. CI
# loses workers, the head and clients in tests/cluster, with small steps
@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "after", "seconds"),
    [
        pytest.param(SIMULATED, 3.0, 300.0, id="simulated"),
        pytest.param(REAL, 60.0, 9000.0, id="real"),
    ],
)
def test_whatever_dies_the_downloads_are_those_of_one_machine(
    program: tuple[str, ...],
    after: float,
    seconds: float,
    settings: Config,
    store: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del settings
    real = program == REAL
    origin = store / "compose" / "repo" if real else request.getfixturevalue("origin")
    lines = configurations(tmp_path, origin, store / "compose")
    if real:
        compose_other(lines[1], store)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    with (
        serving(monkeypatch) as bucket,
        machines(tmp_path / "machines", bucket.url, program) as cluster,
    ):
        disturbed = Build(cluster, lines, tmp_path / "disturbed")
        # a worker in the middle of a disk
        client = disturbed.start("client", *cluster.options)
        _kill_worker(cluster, cluster.worker_with(DISK, seconds))
        # a worker in the middle of a guest
        _kill_worker(cluster, cluster.worker_with(GUEST, seconds, after=after))
        # the head
        cluster.worker_with(GUEST, seconds, after=after)
        cluster.kill("head")
        assert client.wait(120) == 1
        assert "is gone" in cluster.log("client")
        del cluster.processes["client"]
        cluster.start_head()
        cluster.wait_for_workers()
        # the client
        disturbed.start("client", *cluster.options)
        cluster.worker_with(GUEST, seconds, after=after)
        cluster.kill("client")
        client = disturbed.start("client", *cluster.options)
        _end(cluster, client, seconds)
        client = disturbed.start("client", *cluster.options)
        assert client.wait(seconds) == 0
        assert not [event for event in events(disturbed.events) if event["event"] == "started"]
        del cluster.processes["client"]
        alone = Build(cluster, lines, tmp_path / "alone")
        _end(cluster, alone.start("alone"), seconds)
        fetched = bucket.count("GET", r"/blobs/")
    assert fetched
    compare_releases(tmp_path / "disturbed", tmp_path / "alone", count=2)


def _kill_worker(cluster: Machines, name: str) -> None:
    cluster.kill(name)
    cluster.start_workers(name)


def _end(cluster: Machines, client: "subprocess.Popen[bytes]", seconds: float) -> None:
    try:
        assert client.wait(seconds) == 0, cluster.log("client")[-8000:]
    finally:
        for name in [name for name, one in cluster.processes.items() if one is client]:
            del cluster.processes[name]
