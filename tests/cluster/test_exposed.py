"""What a head and a worker let others reach: without certificates nothing but this machine's loopback, and
never a page.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from imagebuild.cluster import security
from imagebuild.errors import UsageError
from tests.cluster.lab import ROOT, Lab, free_port, lab, wait_until


def listening(pid: int) -> set[str]:
    """Return the addresses that a process listens on."""
    said = subprocess.run(["ss", "-Hltnp"], check=True, capture_output=True, text=True).stdout
    return {line.split()[3] for line in said.splitlines() if f"pid={pid}," in line}


def asked(address: str, page: str) -> bytes:
    """Return what an address answers to a browser; nothing when it hangs up."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), 5) as link:
        link.sendall(f"GET {page} HTTP/1.0\r\n\r\n".encode())
        return link.recv(1000)
    return b""


def test_without_certificates_a_worker_is_reached_from_this_machine_only(tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with lab(tmp_path / "lab", tls=False) as made:
        made.port = port
        made.start_head()
        log = tmp_path / "worker"
        with log.open("wb") as stream:
            worker = subprocess.Popen(
                [sys.executable, "-m", "imagebuild", "worker", str(made.address), "--store", tmp_path / "s"],
                stdout=stream,
                stderr=stream,
                env=environment,
            )
        made.processes["plain"] = worker
        wait_until(lambda: " works for " in log.read_text(), 120)
        for name in ("head", "plain"):
            found = listening(made.processes[name].pid)
            assert found
            assert not [each for each in found if not re.match(r"127\.|\[::1\]", each)], found


def test_a_worker_that_others_could_reach_without_certificates_is_refused() -> None:
    address = security.parse_address("tcp://127.0.0.1:8786")
    security.check_listen(address, "127.0.0.1")
    security.check_listen(security.parse_address("tls://head"), "0.0.0.0")
    with pytest.raises(UsageError, match="a worker is for this machine alone"):
        security.check_listen(address, "0.0.0.0")


def test_no_dashboard_is_no_page(tmp_path: Path) -> None:
    with lab(tmp_path / "lab") as made:
        made.start_head()
        made.start_worker("one")
        for name in ("head", "one"):
            for address in listening(made.processes[name].pid):
                assert address.startswith("127.")
                # its own port speaks TLS; the web server has nothing
                for page in ("/status", "/info/main/workers.html", "/json/counts.json", "/metrics"):
                    assert not re.match(rb"HTTP/\S+ (?!404)", asked(address, page)), (address, page)


def test_the_dashboard_is_on_loopback(cluster: Lab) -> None:
    for address in listening(cluster.processes["head"].pid):
        assert address.startswith("127."), address
