"""Fixtures of releasing: a line of releases, and servers to release to."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.publish.releasing import ARM, line_in
from tests.release_lab import Line


@pytest.fixture
def line(tmp_path: Path, homedir: Path) -> Line:
    return line_in(tmp_path, homedir)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def rsyncd(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real rsync daemon on the loopback interface."""
    place, port = tmp_path / "module", free_port()
    place.mkdir()
    uid = f"uid = {os.geteuid()}\ngid = {os.getegid()}\n" if os.geteuid() == 0 else ""
    (tmp_path / "rsyncd.conf").write_text(
        f"use chroot = no\naddress = 127.0.0.1\n{uid}[releases]\npath = {place}\nread only = no\n"
    )
    with subprocess.Popen(
        ["rsync", "--daemon", "--no-detach", f"--port={port}", f"--config={tmp_path}/rsyncd.conf"]
    ) as daemon:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"rsync://127.0.0.1:{port}/releases", place
        daemon.terminate()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on the loopback interface (moto)."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import fsspec  # after the environment is set

    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("releases")
    yield "s3://releases/stable"
    server.stop()


@pytest.fixture
def lines(tmp_path: Path, homedir: Path) -> tuple[Line, Line]:
    """A line on two architectures, with one output directory and one repository of commits."""
    line = line_in(tmp_path, homedir)
    arm = replace(line, place=tmp_path / "arm", ref=ARM, arch="aarch64", trees=[])
    line.changes["publish"] |= {"arches": ["x86_64", "aarch64"]}
    arm.repo, arm.output = line.repo, line.output
    return line, arm
