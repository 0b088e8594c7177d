"""Whether a guest restarted or switched itself off: QEMU ends in both cases, and says which in its last
event.
"""

import socket
import threading
from pathlib import Path

import pytest

from imagebuild.tools import ending, temporary

# QEMU 10.0, qapi/run-state.json, the example of SHUTDOWN
SHUTDOWN = (
    b'{"event": "SHUTDOWN", "data": {"guest": true, "reason": "%s"}, "timestamp": {"seconds": 1267040730,'
    b' "microseconds": 682951}}\r\n'
)
GREETING = (
    b'{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}}, "capabilities": ["oob"]}}\r\n'
)
CLOCK = b'{"event": "RTC_CHANGE", "data": {"offset": 0}, "timestamp": {"seconds": 1, "microseconds": 1}}\r\n'


def monitor(place: Path, *said: bytes) -> threading.Thread:
    """A QEMU that says this, and ends."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(place))
    server.listen(1)

    def serve() -> None:
        line, _ = server.accept()
        line.sendall(GREETING)
        assert b"qmp_capabilities" in line.recv(1000)
        for each in said:
            line.sendall(each)
        line.close()
        server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ((CLOCK, SHUTDOWN % b"guest-reset"), "the guest restarted it, or crashed"),
        ((SHUTDOWN % b"guest-shutdown",), "the guest switched it off"),
        ((SHUTDOWN % b"guest-panic",), "the guest's kernel panicked"),
        ((SHUTDOWN[:40], SHUTDOWN[40:] % b"guest-reset"), "the guest restarted it, or crashed"),
        ((CLOCK,), None),
        ((b"no JSON\n", b"[1]\n", b'{"event": "SHUTDOWN", "data": []}\n'), None),
        ((SHUTDOWN % b"subsystem-reset",), None),
    ],
)
def test_a_restart_is_told_from_a_power_off(said: tuple[bytes, ...], words: str | None) -> None:
    with temporary.directory("test", sockets=True) as place:
        thread = monitor(place / "qmp", *said)
        listener = ending.MonitorListener(place / "qmp")
        thread.join()
        assert ending.described(listener.reason()) == words
        listener.close()
        assert ending.described(listener.reason()) == words


def test_a_qemu_that_could_not_start_has_no_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "CONNECT_SECONDS", 0.05)
    listener = ending.MonitorListener(tmp_path / "nothing")
    assert listener.reason() is None
    listener.close()
