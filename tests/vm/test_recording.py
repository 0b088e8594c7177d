"""Writes are recorded by the QEMU of this machine, without a guest: what is read is what was written."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagebuild.tools import command, ext4, write_log
from imagebuild.tools.power_cut import Replay
from imagebuild.tools.qemu.machine import Places
from imagebuild.tools.qemu.running import Running
from tests.vm.ext4_recording import GENERATIONS, SIZE, record_ext4

MIB = 1 << 20


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A machine that stands still before its first instruction, its disk as `command_line` has it."""
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, str(MIB)], check=True)
    places = Places(serial=tmp_path / "serial", monitor=tmp_path / "qmp", variables=tmp_path / "vars")
    process = command.Process(
        [
            *("qemu-system-x86_64", "-S", "-machine", "q35", "-nodefaults", "-display", "none"),
            *("-drive", f"if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap,file={disk}"),
            *("-device", "virtio-blk-pci,drive=disk,serial=target,bootindex=1"),
            *("-qmp", f"unix:{places.monitor},server=on,wait=off"),
        ]
    )
    try:
        yield Running(process, places)
    finally:
        process.end(grace=0.2)


def write(running: Running, *commands: str) -> None:
    """Write through the disk's device, as a guest would."""
    (device,) = (block["qdev"] for block in running.execute("query-block") if block["device"] == "disk")
    for line in commands:
        arguments: dict[str, Any] = {"command-line": f'qemu-io -d {device} "{line}"'}
        running.execute("human-monitor-command", **arguments)


def test_a_recording_begins_at_any_moment_and_has_flushes(running: Running, tmp_path: Path) -> None:
    log = tmp_path / "writes.log"
    write_first = "write -P 1 0 4k"
    while not running.places.monitor.exists():
        assert running.alive, running.complaint()
    write(running, write_first)
    running.record_writes(log)
    write(running, "write -P 2 4k 8k", "flush", "write -z 64k 4k", "discard 128k 64k", "write -P 3 0 512")
    requests = write_log.read(log, disk_size=MIB).requests
    writes = [(request.start, request.size) for request in requests if request.data is not None]
    assert writes == [(4096, 8192), (65536, 4096), (0, 512)]
    assert [request.flush for request in requests][:2] == [False, True]
    assert [(request.start, request.size) for request in requests if request.discard] == [(131072, 65536)]
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(MIB))
    Replay(write_log.read(log, disk_size=MIB), raw).advance(len(requests))
    assert raw.read_bytes()[:513] == b"\3" * 512 + b"\0"
    assert raw.read_bytes()[4096 : 4096 + 8192] == b"\2" * 8192


def test_the_sample_is_what_this_machine_records(tmp_path: Path) -> None:
    disk, file = record_ext4(tmp_path)
    log = write_log.read(file, disk_size=SIZE)
    assert len(log.flushes()) > GENERATIONS
    Replay(log, disk).advance(len(log.requests))
    assert disk.read_bytes() == (tmp_path / "written.raw").read_bytes()
    assert ext4.problems(disk) is None
    assert ext4.read_file(disk, "/current").startswith(f"generation {GENERATIONS}\n".encode())
