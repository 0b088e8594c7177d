"""A web server on the loopback interface that misbehaves on purpose, over real sockets.

It serves a directory; `faults` says, for a path, what is wrong with its answer, for how many answers.
"""

import contextlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.origin_lab import Quiet, running

EVER = 1 << 30


@dataclass
class Fault:
    """What is wrong: its `kind`, how many answers have it, and a status with its headers, or where a redirect
    leads.
    """

    kind: str
    times: int = EVER
    status: int = 503
    retry_after: str = ""
    target: str = ""


@dataclass
class Misbehaviour:
    """What a server does wrong, and what it was asked."""

    place: Path
    faults: dict[str, Fault] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    resumes: bool = True

    def next_fault(self, path: str) -> Fault:
        """Return what is wrong with the next answer for a path (`*` stands for every one)."""
        fault = self.faults.get(path) or self.faults.get("*")
        if fault is None or fault.times <= 0:
            return Fault("")
        fault.times -= 1
        return fault


class Misbehaving(BaseHTTPRequestHandler):
    """Answers as `behaviour` says."""

    behaviour: Misbehaviour

    def do_GET(self) -> None:
        """Answer, wrongly if that is wanted."""
        self.behaviour.asked.append(self.path)
        fault = self.behaviour.next_fault(self.path)
        file = self.behaviour.place / self.path.lstrip("/")
        if fault.kind == "status":
            self._head(fault.status, {"Content-Length": "0", "Retry-After": fault.retry_after})
        elif fault.kind in ("circle", "file", "redirect"):
            target = {"circle": self.path, "file": "file:///etc/passwd"}.get(fault.kind, fault.target)
            self._head(302, {"Location": target, "Content-Length": "0"})
        elif fault.kind == "stall":
            self.behaviour.over.wait(60)
        elif not file.is_file():
            self._head(404, {"Content-Length": "0"})
        else:
            self._send(fault.kind, file.read_bytes())

    def _send(self, kind: str, data: bytes) -> None:
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1]) if self.behaviour.resumes else 0
        if begin:
            self.behaviour.ranges.append(self.headers["Range"])
        body = data[begin:]
        if kind == "endless":
            self._head(200, {})
            while not self.behaviour.over.is_set():
                self.wfile.write(bytes(1 << 16))
            return
        length = len(body) + (10 if kind == "long" else 0)
        partial = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}
        self._head(206 if begin else 200, {"Content-Length": str(length), **partial})
        if kind == "drip":
            for byte in body:
                self.wfile.write(bytes([byte]))
                if self.behaviour.over.wait(0.05):
                    return
        if kind == "flip":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.wfile.write(b"" if kind == "drop" else body[: len(body) // 2] if kind == "short" else body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        """Say nothing."""


@contextlib.contextmanager
def misbehaving(
    place: Path, tls: ssl.SSLContext | None = None, faults: Mapping[str, Fault] | None = None
) -> Iterator[tuple[str, Misbehaviour]]:
    """Serve a directory until the block ends; yield its URL, and what it does and is asked."""
    behaviour = Misbehaviour(place, dict(faults or {}))
    server = Quiet(("127.0.0.1", 0), type("Handler", (Misbehaving,), {"behaviour": behaviour}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with running(server) as port:
        try:
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}", behaviour
        finally:
            behaviour.over.set()
