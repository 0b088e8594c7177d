"""How a guest's machine came to its end: a second connection to QEMU's monitor is kept open for its last
word, the event SHUTDOWN.

With `-no-reboot` QEMU ends alike when a guest restarts and when it switches itself off; the event's `reason`
tells them apart (QAPI, ShutdownCause: guest-shutdown, guest-reset, guest-panic; QEMU 10.0,
qapi/run-state.json). Nothing else is asked on this connection.
"""

import contextlib
import socket
import time
from pathlib import Path

from imagebuild import json_text

WORDS = {
    "guest-shutdown": "the guest switched it off",
    "guest-reset": "the guest restarted it, or crashed",
    "guest-panic": "the guest's kernel panicked",
    "host-signal": "QEMU was ended from outside",
    "host-error": "QEMU had an error",
}
CONNECT_SECONDS = 10.0
SLEEP_SECONDS = 0.02
READ = 1 << 16


class MonitorListener:
    """Keeps what a monitor at a socket says, until QEMU ends."""

    def __init__(self, monitor: Path) -> None:
        self._line, self._said, self._over = socket.socket(socket.AF_UNIX), b"", False
        until = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                self._line.connect(str(monitor))
                self._line.sendall(b'{"execute": "qmp_capabilities"}\n')
                break
            except OSError:
                # a QEMU that could not start has no last word
                if time.monotonic() > until:
                    self._over = True
                    break
                time.sleep(SLEEP_SECONDS)
        self._line.setblocking(False)

    def reason(self) -> str | None:
        """Return why the machine ended, as QEMU calls it; None while it runs, and when QEMU did not say."""
        with contextlib.suppress(OSError):
            while not self._over:
                data = self._line.recv(READ)
                self._said, self._over = self._said + data, not data
        return _reason(self._said)

    def close(self) -> None:
        """End the connection."""
        self._line.close()


def _reason(said: bytes) -> str | None:
    reason = None
    for line in said.splitlines():
        with contextlib.suppress(ValueError, AttributeError, KeyError, TypeError):
            event = json_text.parse(line)
            if event.get("event") == "SHUTDOWN":
                reason = str(event["data"]["reason"])
    return reason


def described(reason: str | None) -> str | None:
    """Return a sentence for a reason; None for one that is not known."""
    return WORDS.get(reason) if reason is not None else None
