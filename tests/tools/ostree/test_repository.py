"""Pulling: exactly one commit, checked; what is damaged, unsigned or unreachable is refused with its name.
Real repositories, real keys.
"""

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.config.tree import TreeConfig
from imagebuild.errors import BuildError, UsageError
from imagebuild.stages import tree as stage
from imagebuild.stages.toolbox import make_toolbox
from imagebuild.tools import command, gpg
from imagebuild.tools.ostree import server as ostree_server
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.server import Patience
from tests.data import ROOT
from tests.tools.ostree.commits import ELF, FILES, QUICK, REF, QuietHandler, Source, make_commit


def config(source: Source, **changes: object) -> TreeConfig:
    known: dict[str, object] = {
        "url": source.url,
        "gpg_keys": (str(source.key),),
        "osname": "os",
        "remote": "os",
        "update_url": "https://example.org",
        "update_gpg_key": "/k",
        "attempts": 1,
    }
    return TreeConfig.model_validate(known | changes)


def remote(source: Source, url: str | None = None) -> Remote:
    return Remote(url=url or source.url, keys=(source.key,), verify=True)


@pytest.fixture
def served(source: Source) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(source.repo.path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_tree_is_pulled_and_described(source: Source, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    settings = config(source)
    pinned = stage.pin(settings, REF)
    assert pinned.commit == source.commit
    tree = stage.pull_tree(out, pinned, settings, tmp_path / "repo")
    assert (tree.version, tree.arch, tree.kernel, tree.host_kind) == ("1.1", "x86_64", "6.1", "ostree")
    assert tree.pretty_name == "Test Host 1"
    assert Repo(tmp_path / "repo").refs() == {REF: source.commit}


def test_a_tree_of_another_architecture_than_the_lines_is_refused(source: Source, tmp_path: Path) -> None:
    settings = config(source)
    pinned = stage.pin(settings, REF)
    with pytest.raises(BuildError, match="is a tree for x86_64, and the configuration says aarch64"):
        stage.pull_tree(tmp_path, pinned, settings, tmp_path / "repo", "aarch64")


def test_a_tree_is_pulled_over_http(source: Source, served: str, tmp_path: Path) -> None:
    assert ostree_server.resolve(served, REF, patience=QUICK) == source.commit
    repo = Repo.ensure(tmp_path / "repo")
    repo.pull(remote(source, served), source.commit, patience=QUICK)
    assert repo.fsck(source.commit) > len(FILES)


def test_only_the_pinned_commit_is_pulled(source: Source, tmp_path: Path) -> None:
    newer = make_commit(source.repo, tmp_path / "work", FILES | {"usr/new": b"new"}, "1.2")
    repo = Repo.ensure(tmp_path / "repo")
    repo.pull(remote(source), source.commit, patience=QUICK)
    assert repo.has(source.commit)
    assert not repo.has(newer)


def test_an_unknown_ref_names_near_ones(source: Source, served: str) -> None:
    for url in (source.url, served):
        with pytest.raises(UsageError, match="no ref test/1/x86_64/hots") as caught:
            ostree_server.resolve(url, "test/1/x86_64/hots", patience=QUICK)
        assert REF in caught.value.hint


@pytest.mark.parametrize("ref", ["", "../x", "a//b", "/a", "a b", "a;b"])
def test_what_is_no_ref_is_refused(source: Source, ref: str) -> None:
    with pytest.raises(UsageError, match="is not a ref"):
        ostree_server.resolve(source.url, ref)


def test_an_unreachable_server_is_said_after_all_attempts(source: Source, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"cannot reach http://127\.0\.0\.1:9/"):
        ostree_server.resolve("http://127.0.0.1:9", REF, patience=QUICK)
    with pytest.raises(BuildError, match=r"cannot fetch from http://127\.0\.0\.1:9"):
        Repo.ensure(tmp_path / "repo").pull(
            remote(source, "http://127.0.0.1:9"), source.commit, patience=QUICK
        )


def test_a_directory_that_is_no_repository_is_said(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="there is no OSTree repository"):
        ostree_server.resolve(f"file://{tmp_path}", REF, patience=QUICK)


def test_an_unsigned_commit_is_refused_unless_allowed_by_hand(source: Source, tmp_path: Path) -> None:
    unsigned = make_commit(source.repo, tmp_path / "work", FILES | {"usr/new": b"new"}, "1.2")
    with pytest.raises(BuildError, match=f"commit {unsigned} is not signed") as caught:
        Repo.ensure(tmp_path / "repo").pull(remote(source), unsigned, patience=QUICK)
    assert "allow_unsigned" in caught.value.hint
    trusting = Repo.ensure(tmp_path / "trusting")
    trusting.pull(Remote(url=source.url, keys=(), verify=False), unsigned, patience=QUICK)
    assert trusting.has(unsigned)


def test_a_commit_signed_by_another_key_is_refused(source: Source, tmp_path: Path) -> None:
    other = gpg.ensure_key(source.homedir, "wrong key <wrong@example.org>")
    wrong = tmp_path / "wrong.asc"
    gpg.export_key(source.homedir, other, wrong)
    with pytest.raises(BuildError, match=f"commit {source.commit} is not signed by a key"):
        Repo.ensure(tmp_path / "repo").pull(
            Remote(url=source.url, keys=(wrong,), verify=True), source.commit, patience=QUICK
        )


PULL = """
import sys
from pathlib import Path
from imagebuild.errors import BuildError
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
place, url, key, commit = sys.argv[1:]
try:
    Repo.ensure(Path(place)).pull(Remote(url=url, keys=(Path(key),), verify=True), commit)
except BuildError as error:
    print(error.message, error.hint, sep="|")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize(("size", "said"), [("16k", " is full, where libostree makes a keyring"), ("8m", "")])
def test_temporary_files_without_room_are_no_wrong_signature(
    source: Source, tmp_path: Path, size: str, said: str
) -> None:
    """GPGME says `No data` where its keyring does not fit."""
    place = tmp_path / "small"
    place.mkdir()
    script = 'mount -t tmpfs -o "size=$1" t "$TMPDIR" && shift && exec "$@"'
    pull: list[str | Path] = [
        sys.executable,
        "-c",
        PULL,
        tmp_path / "repo",
        source.url,
        source.key,
        source.commit,
    ]
    told = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", size, *pull],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "TMPDIR": str(place)},
    ).stdout  # fmt: skip
    assert said in told
    assert bool(said) == bool(told)
    assert not said or f"{place} is full" in told


def test_unsigned_content_that_is_here_already_is_refused_too(source: Source, tmp_path: Path) -> None:
    unsigned = make_commit(source.repo, tmp_path / "work", FILES | {"usr/new": b"new"}, "1.2")
    repo = Repo.ensure(tmp_path / "repo")
    repo.pull(Remote(url=source.url, keys=(), verify=False), unsigned, patience=QUICK)
    with pytest.raises(BuildError, match="is not signed"):
        repo.pull(remote(source), unsigned, patience=QUICK)


def _object_of(source: Source, path: str) -> tuple[str, Path]:
    entry = next(entry for entry in source.repo.walk(source.commit) if str(entry.path) == path)
    return entry.checksum, source.repo.object_path(1, entry.checksum)


@pytest.mark.parametrize("way", ["file", "http"])
@pytest.mark.parametrize("harm", ["flipped", "truncated", "missing"])
def test_damaged_content_is_refused_and_the_object_named(
    source: Source, served: str, tmp_path: Path, way: str, harm: str
) -> None:
    checksum, file = _object_of(source, "/usr/share/large")
    data = bytearray(file.read_bytes())
    if harm == "flipped":
        data[len(data) // 2] ^= 1
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] if harm == "truncated" else data)
    with pytest.raises(BuildError) as caught:
        Repo.ensure(tmp_path / "repo").pull(
            remote(source, served if way == "http" else None), source.commit, patience=QUICK
        )
    assert checksum in caught.value.message or f"{checksum[:2]}/{checksum[2:]}" in caught.value.message, (
        caught.value.message
    )


def test_fsck_names_a_damaged_object_and_its_file(source: Source, tmp_path: Path) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    repo.pull(remote(source), source.commit, patience=QUICK)
    checksum, file = _object_of(source, "/usr/share/large")
    file = repo.object_path(1, checksum)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.chmod(0o644)
    file.unlink()
    file.write_bytes(data)
    with pytest.raises(BuildError, match=checksum) as caught:
        repo.fsck(source.commit)
    assert str(file) in caught.value.hint


def test_an_interrupted_pull_goes_on(source: Source, tmp_path: Path) -> None:
    _, file = _object_of(source, "/usr/share/large")
    away = file.rename(tmp_path / "away")
    repo = Repo.ensure(tmp_path / "repo")
    with pytest.raises(BuildError):
        repo.pull(remote(source), source.commit, patience=QUICK)
    assert not repo.has(source.commit)
    away.rename(file)
    repo.pull(remote(source), source.commit, patience=QUICK)
    assert repo.fsck(source.commit)


class StallingHandler(QuietHandler):
    def do_GET(self) -> None:  # noqa: N802  # http.server calls it
        if self.path.endswith(".filez"):
            threading.Event().wait(6)
        super().do_GET()


def test_a_server_that_stalls_is_given_up(source: Source, tmp_path: Path) -> None:
    handler = functools.partial(StallingHandler, directory=str(source.repo.path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        patience = Patience(attempts=1, low_speed_bytes=1000, low_speed_seconds=2)
        with pytest.raises(BuildError, match="stalled"):
            Repo.ensure(tmp_path / "repo").pull(remote(source, url), source.commit, patience=patience)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("lost", "complaint"),
    [
        ("usr/lib/modules/6.1/vmlinuz", "needs one kernel"),
        ("usr/lib/modules/6.1/initramfs.img", "no initramfs"),
        ("usr/lib/ostree/ostree-prepare-root", "no ostree-prepare-root"),
        ("usr/bin/ostree", "is it a host"),
    ],
)
def test_a_tree_that_cannot_be_a_host_says_what_it_lacks(
    source: Source, tmp_path: Path, lost: str, complaint: str
) -> None:
    commit = make_commit(
        source.repo, tmp_path / "work", {name: data for name, data in FILES.items() if name != lost}
    )
    with pytest.raises(BuildError, match=complaint):
        stage.describe_tree(source.repo, stage.Pin(ref=REF, commit=commit))


def test_a_tree_without_version_is_refused(source: Source, tmp_path: Path) -> None:
    commit = make_commit(source.repo, tmp_path / "work", FILES, None)
    with pytest.raises(BuildError, match="no usable metadata `version`"):
        stage.describe_tree(source.repo, stage.Pin(ref=REF, commit=commit))


@pytest.mark.parametrize("timestamp", [1 << 32, (1 << 63) - 1, (1 << 64) - 1])
def test_a_commit_of_no_time_is_refused(source: Source, tmp_path: Path, timestamp: int) -> None:
    commit = make_commit(source.repo, tmp_path / "work", FILES, timestamp=timestamp)
    with pytest.raises(BuildError, match="has a time that file systems cannot hold"):
        stage.describe_tree(source.repo, stage.Pin(ref=REF, commit=commit))


@pytest.mark.parametrize(
    ("programs", "arch"),
    [
        ({"usr/bin/ostree": ELF}, "x86_64"),
        ({"usr/bin/ostree": b"#!/bin/sh\n", "usr/bin/bash": ELF}, "x86_64"),
        ({"usr/bin/ostree": ELF[:18] + b"\xb7\0" + ELF[20:]}, "aarch64"),
        ({"usr/bin/ostree": ELF[:18] + b"\xff\xff" + ELF[20:]}, "unknown"),
        ({"usr/bin/ostree": ELF[:10]}, "unknown"),
        ({"usr/bin/ostree": b"", "usr/bin/bash": b"\x7fEL"}, None),
    ],
)
def test_the_architecture_is_what_the_programs_are_for(
    source: Source, tmp_path: Path, programs: dict[str, bytes], arch: str | None
) -> None:
    files = {name: data for name, data in FILES.items() if name != "usr/bin/ostree"} | programs
    pinned = stage.Pin(ref=REF, commit=make_commit(source.repo, tmp_path / "work", files))
    if arch is None:
        with pytest.raises(BuildError, match="is it a host"):
            stage.describe_tree(source.repo, pinned)
    else:
        assert stage.describe_tree(source.repo, pinned).arch == arch


@pytest.mark.parametrize("harm", ["flipped", "truncated", "missing", "empty"])
def test_a_damaged_file_is_said_when_it_is_read(source: Source, harm: str) -> None:
    _, file = _object_of(source, "/usr/share/large")
    data = bytearray(file.read_bytes())
    file.unlink()
    if harm == "flipped":
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    if harm != "missing":
        file.write_bytes(data[: {"truncated": len(data) // 2, "empty": 0}.get(harm, len(data))])
    with pytest.raises(BuildError):
        source.repo.read(source.commit, "usr/share/large")


def test_a_commit_that_is_not_there_is_said(source: Source) -> None:
    for ask in (
        source.repo.parent,
        source.repo.timestamp,
        source.repo.metadata,
        lambda commit: source.repo.read(commit, "usr/bin/ostree"),
    ):
        with pytest.raises(BuildError, match=f"commit {'0' * 64} cannot be read"):
            ask("0" * 64)


def test_a_missing_key_is_named(source: Source, tmp_path: Path) -> None:
    settings = config(source, gpg_keys=("/nowhere/key.asc",))
    with pytest.raises(BuildError, match=r"/nowhere/key\.asc does not exist"):
        stage.pull_tree(tmp_path, stage.pin(settings, REF), settings, tmp_path / "repo")


@pytest.mark.skipif(os.geteuid() != 0, reason="unpacking a squashfs with its owners needs root")
def test_the_toolbox_holds_the_tree_and_a_whole_bare_repo(source: Source, tmp_path: Path) -> None:
    settings = config(source)
    tree = stage.pull_tree(tmp_path, stage.pin(settings, REF), settings, tmp_path / "repo")
    results = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        results.append(make_toolbox(tmp_path / name, tree).image)
    assert results[0].read_bytes() == results[1].read_bytes(), (
        "the toolbox depends on something else than the commit"
    )
    root = tmp_path / "mounted"
    command.run(["unsquashfs", "-quiet", "-no-progress", "-d", root, results[0]])
    repo = Repo(root / "imagebuild" / "repo")
    assert repo.fsck(source.commit) == source.repo.fsck(source.commit)
    assert (root / "usr/lib/ostree/ostree-prepare-root").stat().st_mode & 0o7777 == 0o4755
    inodes = {
        file.stat().st_ino
        for file in (root / "imagebuild/repo/objects").rglob("*.file")
        if not file.is_symlink()
    }
    assert (root / "usr/share/large").stat().st_ino in inodes, "the content is stored twice"
