"""What a head and a worker let others reach: without certificates nothing but this machine's loopback, and
never a page.
"""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from imagebuild.cluster import security
from imagebuild.errors import UsageError
from tests.cluster.lab import ROOT, Lab, free_port, lab, wait_until


def listening(pid: int) -> set[str]:
    """Return the addresses that a process listens on."""
    said = subprocess.run(["ss", "-Hltnp"], check=True, capture_output=True, text=True).stdout
    return {line.split()[3] for line in said.splitlines() if f"pid={pid}," in line}


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
                with pytest.raises((OSError, urllib.error.URLError)) as caught:
                    urllib.request.urlopen(f"http://{address}/status", timeout=5)
                # its own port speaks TLS; the web server has nothing
                assert getattr(caught.value, "code", 404) == 404
                assert address.startswith("127.")


def test_the_dashboard_is_on_loopback(cluster: Lab) -> None:
    for address in listening(cluster.processes["head"].pid):
        assert address.startswith("127."), address
