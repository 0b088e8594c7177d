"""Commits in real repositories, signed by real keys."""

import http.server
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuild.tools import gpg
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.server import Patience

REF = "test/1/x86_64/host"
CREATED = 1_700_000_000
QUICK = Patience(attempts=2, pause=0.01, low_speed_seconds=2)
ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\x3e\x00" + b"\0" * 40
FILES: dict[str, bytes] = {
    "usr/lib/modules/6.1/vmlinuz": b"kernel",
    "usr/lib/modules/6.1/initramfs.img": b"initramfs",
    "usr/lib/ostree/ostree-prepare-root": b"hook",
    "usr/bin/ostree": ELF,
    "usr/lib/os-release": b'ID=test\nPRETTY_NAME="Test Host 1"\n',
    "usr/share/large": bytes(range(256)) * 4000,
    "usr/share/F\u0151tan\u00fas.crt": b"name",
}


@dataclass
class Source:
    repo: Repo
    commit: str
    key: Path
    homedir: Path

    @property
    def url(self) -> str:
        return f"file://{self.repo.path}"


def make_commit(
    repo: Repo,
    work: Path,
    files: dict[str, bytes],
    version: str | None = "1.1",
    *,
    links: Mapping[str, str] | None = None,
    timestamp: int = CREATED,
) -> str:
    archive = work / f"tree-{len(list(work.iterdir()))}.tar"
    with tarfile.open(archive, "w") as tar:
        for name, data in files.items():
            source = work / "file"
            source.write_bytes(data)
            info = tar.gettarinfo(str(source), name)
            info.uid = info.gid = 0
            info.mode = 0o4755 if name.endswith("ostree-prepare-root") else 0o644
            with source.open("rb") as stream:
                tar.addfile(info, stream)
        for name, target in {"usr/etc/link": "/usr/share/F\u0151tan\u00fas.crt", **(links or {})}.items():
            link = tarfile.TarInfo(name)
            link.mode = 0o777
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    staged = repo.commit_tree(archive, [])
    metadata = {"version": version} if version else {}
    return repo.commit(
        staged, REF, parent=repo.refs().get(REF), metadata=metadata, subject="test", timestamp=timestamp
    )


@pytest.fixture(scope="module")
def commit_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with gpg.keyring(tmp_path_factory.mktemp("gnupg")) as found:
        yield found


@pytest.fixture
def source(tmp_path: Path, commit_keys: Path) -> Source:
    work = tmp_path / "work"
    work.mkdir()
    repo = Repo.ensure(tmp_path / "source")
    commit = make_commit(repo, work, FILES)
    fingerprint = gpg.ensure_key(commit_keys, "right key <right@example.org>")
    key = tmp_path / "key.asc"
    gpg.export_key(commit_keys, fingerprint, key)
    repo.sign(commit, fingerprint, commit_keys)
    repo.update_summary()
    return Source(repo, commit, key, commit_keys)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
