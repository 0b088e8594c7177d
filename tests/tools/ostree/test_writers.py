"""Several who write to one repository: two pulls at once, handles whose configuration is stale, one writer at
a time. Real libostree.
"""

import contextlib
import functools
import http.server
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagebuild import steplog
from imagebuild.errors import BuildError
from imagebuild.tools import command, gpg
from imagebuild.tools.ostree import writer as ostree_writer
from imagebuild.tools.ostree.pull import Pull, Remote
from imagebuild.tools.ostree.repository import Repo
from tests.data import ROOT
from tests.tools.ostree.commits import FILES, QUICK, QuietHandler, make_commit


class Server:
    """A repository with two releases, each signed by its own key."""

    def __init__(self, place: Path, homedir: Path) -> None:
        (place / "work").mkdir(parents=True)
        self.repo = Repo.ensure(place / "source")
        self.commits: list[str] = []
        self.keys: list[Path] = []
        for number in range(2):
            # many small objects: what one pull calls back has time to run in the other's thread
            files = FILES | {f"usr/share/{number}/{name}": f"{number} {name}".encode() for name in range(40)}
            commit = make_commit(self.repo, place / "work", files, f"1.{number}")
            fingerprint = gpg.ensure_key(homedir, f"key {number} <key{number}@example.org>")
            key = place / f"key{number}.asc"
            gpg.export_key(homedir, fingerprint, key)
            self.repo.sign(commit, fingerprint, homedir)
            self.commits.append(commit)
            self.keys.append(key)
        self.repo.update_summary()

    @property
    def remote(self) -> Remote:
        return Remote(url=f"file://{self.repo.path}", keys=tuple(self.keys), verify=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with gpg.keyring(tmp_path_factory.mktemp("gnupg")) as homedir:
        yield Server(tmp_path_factory.mktemp("server"), homedir)


@contextlib.contextmanager
def served(repo: Repo) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(repo.path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


@pytest.mark.parametrize("runs", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_two_releases_are_pulled_at_once_again_and_again_without_a_crash(
    server: Server, tmp_path: Path, runs: int
) -> None:
    pairs = [str(word) for pair in zip(server.commits, server.keys, strict=True) for word in pair]

    def run(url: str, number: int) -> None:
        remotes, place = ("same", "own")[number % 2], tmp_path / str(number)
        place.mkdir()
        argv: list[str | Path] = [
            sys.executable,
            "-m",
            "tests.pull_together",
            remotes,
            place,
            *pairs,
            f"file://{server.repo.path}",
            url,
        ]
        command.run(argv, cwd=ROOT)

    with served(server.repo) as url, ThreadPoolExecutor(2) as threads:
        for result in [threads.submit(run, url, number) for number in range(runs)]:
            result.result()


def test_a_stale_handle_sets_its_remote_beside_the_other_one(server: Server, tmp_path: Path) -> None:
    first, second = Repo.ensure(tmp_path / "repo"), Repo(tmp_path / "repo")
    one, other = (Remote(url=server.remote.url, keys=(key,), verify=True) for key in server.keys)
    first.pull(one, server.commits[0], patience=QUICK)
    second.pull(other, server.commits[1], patience=QUICK)
    names = [
        line
        for line in (tmp_path / "repo" / "config").read_text().splitlines()
        if line.startswith("[remote ")
    ]
    assert len(set(names)) == 2, "the second handle wrote a configuration that it had read before"
    first.pull(one, server.commits[0], patience=QUICK)


@pytest.mark.parametrize("armoured", [True, False])
def test_keys_that_are_there_already_are_keys(server: Server, tmp_path: Path, armoured: bool) -> None:
    # two files of one directory of keys may hold the same key: nothing is imported of the second
    twin = tmp_path / "twin"
    if armoured:
        twin.write_bytes(server.keys[0].read_bytes())
    else:
        gpg.dearmored(server.keys[0], twin)
    repo = Repo.ensure(tmp_path / "repo")
    repo.pull(
        Remote(url=server.remote.url, keys=(server.keys[0], twin), verify=True),
        server.commits[0],
        patience=QUICK,
    )
    assert repo.has(server.commits[0])


@pytest.mark.parametrize(
    "content",
    [b"", b"no key\n", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n"],
)
def test_a_file_without_a_key_is_named(server: Server, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    for keys in ((tmp_path / "key",), (server.keys[0], tmp_path / "key")):
        with pytest.raises(BuildError, match=f"{tmp_path / 'key'}") as caught:
            Repo.ensure(tmp_path / "repo").pull(
                Remote(url=server.remote.url, keys=keys, verify=True), server.commits[0], patience=QUICK
            )
        assert "tree.gpg_keys" in caught.value.hint


def test_a_second_writer_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    Repo.ensure(tmp_path / "repo")
    order, log = [], tmp_path / "log"
    inside = threading.Event()

    def first() -> None:
        with Repo(tmp_path / "repo").writing():
            inside.set()
            time.sleep(0.5)
            order.append("first")

    def second() -> None:
        inside.wait()
        with steplog.writing_to(log), Repo(tmp_path / "repo").writing():
            order.append("second")

    with ThreadPoolExecutor(2) as threads:
        for result in [threads.submit(first), threads.submit(second)]:
            result.result()
    assert order == ["first", "second"]
    assert (
        log.read_text() == f"waiting: another step, or another program, is writing to {tmp_path / 'repo'}\n"
    )


def test_a_writer_in_another_process_is_waited_for_and_a_killed_one_is_not(tmp_path: Path) -> None:
    Repo.ensure(tmp_path / "repo")
    text = (
        "import sys, time\nfrom pathlib import Path\nfrom imagebuild.tools.ostree.repository import Repo\n"
        "with Repo(Path(sys.argv[1])).writing():\n    print('inside', flush=True)\n    time.sleep(60)\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", text, tmp_path / "repo"], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"inside\n"
    entered = threading.Event()

    def write() -> None:
        with Repo(tmp_path / "repo").writing():
            entered.set()

    waiting = threading.Thread(target=write)
    waiting.start()
    assert not entered.wait(0.5), "two write at the same time"
    program.send_signal(signal.SIGKILL)
    program.communicate()
    assert entered.wait(30)
    waiting.join()


def test_a_writer_that_writes_more_does_not_wait_for_itself(server: Server, tmp_path: Path) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    (tmp_path / "link").symlink_to(tmp_path / "repo")
    with repo.writing(), Repo(tmp_path / "link").writing():
        repo.pull(server.remote, server.commits[0], patience=QUICK)
        repo.set_ref("a/b", server.commits[0])
    assert repo.refs() == {"a/b": server.commits[0]}
    with ostree_writer.writing(tmp_path / "repo"):
        pass


def test_a_repository_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    # permissions mean nothing to root
    (repo.path / ".imagebuild-writer").unlink(missing_ok=True)
    (repo.path / ".imagebuild-writer").mkdir()
    with pytest.raises(BuildError, match="cannot be written to"):
        repo.set_ref("a/b", None)


# --- damage -------------------------------------------------------------------------------------------------


def objects(repo: Repo, suffix: str) -> list[Path]:
    return sorted((repo.path / "objects").glob(f"*/*.{suffix}"))


@pytest.mark.parametrize(
    ("suffix", "harm"),
    # what is in files is read by fsck
    [
        *(
            (suffix, harm)
            for suffix in ("dirtree", "dirmeta", "commit")
            for harm in ("missing", "empty", "cut")
        ),
        ("filez", "missing"),
    ],
)
@pytest.mark.parametrize("partial", [False, True])
def test_a_commit_that_only_passes_for_whole_is_pulled_again(
    server: Server, tmp_path: Path, suffix: str, harm: str, partial: bool
) -> None:
    repo, commit = Repo.ensure(tmp_path / "repo"), server.commits[0]
    repo.pull(server.remote, commit, patience=QUICK)
    count = repo.fsck(commit)
    if partial:
        repo.handle.mark_commit_partial(commit, True)
    # as many as there are: directories of directories among them
    for file in objects(repo, suffix):
        data = file.read_bytes()
        file.unlink()
        if harm != "missing":
            file.write_bytes(b"" if harm == "empty" else data[: len(data) // 2])
    log = tmp_path / "log"
    with steplog.writing_to(log):
        Repo(repo.path).pull(server.remote, commit, patience=QUICK)
    assert repo.fsck(commit) == count
    assert repo.has(commit)
    assert ("again" in log.read_text()) == (harm != "missing" or not (partial or suffix == "commit"))


def test_a_commit_that_is_whole_is_not_pulled_again(server: Server, tmp_path: Path) -> None:
    repo, log = Repo.ensure(tmp_path / "repo"), tmp_path / "log"
    with steplog.writing_to(log):
        repo.pull(server.remote, server.commits[0], patience=QUICK)
        repo.pull(server.remote, server.commits[0], patience=QUICK)
    assert "pulling again" not in log.read_text()


def test_what_an_interrupted_pull_left_damaged_is_pulled_again(server: Server, tmp_path: Path) -> None:
    repo, commit = Repo.ensure(tmp_path / "repo"), server.commits[0]
    repo.pull(server.remote, commit, patience=QUICK)
    for suffix, data in (("commit", None), ("dirtree", b"\0")):
        for file in objects(repo, suffix):
            file.unlink()
            if data is not None:
                file.write_bytes(data)
    repo.pull(server.remote, commit, patience=QUICK)
    assert repo.fsck(commit)


def test_damage_that_a_pull_does_not_mend_is_said(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, commit = Repo.ensure(tmp_path / "repo"), server.commits[0]
    repo.pull(server.remote, commit, patience=QUICK)
    lost = objects(repo, "dirmeta")[0]
    lost.unlink()
    monkeypatch.setattr(Pull, "_pull_once", lambda *_, **__: repo.handle.mark_commit_partial(commit, False))
    with pytest.raises(
        BuildError,
        match=f"commit {commit} is not whole in .*: object {lost.parent.name}{lost.name} is missing",
    ):
        repo.pull(server.remote, commit, patience=QUICK)


def test_a_repository_is_made_by_one_of_several_at_once(tmp_path: Path) -> None:
    for number in range(20):
        barrier = threading.Barrier(4)

        def make(place: Path, barrier: threading.Barrier = barrier) -> dict[str, str]:
            barrier.wait()
            return dict(Repo.ensure(place).refs())

        with ThreadPoolExecutor(4) as executor:
            assert [*executor.map(make, [tmp_path / str(number)] * 4)] == [{}] * 4


def test_a_repository_that_was_half_made_is_made_whole(tmp_path: Path) -> None:
    Repo.ensure(tmp_path / "whole")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config").write_bytes((tmp_path / "whole" / "config").read_bytes())
    assert Repo.ensure(tmp_path / "half").refs() == {}
