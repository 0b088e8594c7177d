"""Servers of commits for tests: with TLS and an authority of their own, for known clients only, behind a
proxy, answering as object stores do.
"""

import contextlib
import functools
import http.client
import http.server
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from imagebuild.tools import command

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a directory."""

    place: Path
    name: str

    @property
    def file(self) -> Path:
        """Its certificate."""
        return self.place / f"{self.name}.pem"

    @property
    def key(self) -> Path:
        """Its private key."""
        return self.place / f"{self.name}.key"

    def sign(self, name: str, subject: str, *, days: int = 2) -> tuple[Path, Path]:
        """Make a key and a certificate for an IP address or a client; return (certificate, key)."""
        certificate, key, request = (self.place / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
        names = self.place / f"{name}.ext"
        names.write_text(
            f"subjectAltName=IP:{subject}\n" if subject[0].isdigit() else "extendedKeyUsage=clientAuth\n"
        )
        command.run(
            ["openssl", "req", *EC, "-subj", f"/CN={subject}", "-keyout", key, "-out", request], quiet=True
        )
        command.run(
            [
                "openssl",
                "x509",
                "-req",
                "-in",
                request,
                "-CA",
                self.file,
                "-CAkey",
                self.key,
                "-CAcreateserial",
                "-days",
                str(days),
                "-extfile",
                names,
                "-out",
                certificate,
            ],
            quiet=True,
        )
        return certificate, key


def make_authority(place: Path, name: str = "authority") -> Authority:
    """Make an authority that signs itself."""
    made = Authority(place, name)
    command.run(
        [
            "openssl",
            "req",
            "-x509",
            *EC,
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            "-keyout",
            made.key,
            "-out",
            made.file,
        ],
        quiet=True,
    )
    return made


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files; `missing` and `refused` are what the server says of what is not there, and of everything;
    `page` it has for everything.

    `first` is what it says when it is asked for a path for the first time.
    """

    missing = 404
    refused = 0
    first = 0
    hidden: tuple[str, ...] = ()
    page = b""
    asked: list[str]

    def do_GET(self) -> None:
        """Answer with the file."""
        self.asked.append(self.path)
        if self.first and self.asked.count(self.path) == 1:
            self.send_error(self.first)
        elif self.refused or self.path.startswith(self.hidden):
            self.send_error(self.refused or 404)
        elif self.page:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.page)
        else:
            super().do_GET()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say it as this kind of server does."""
        super().send_error(self.missing if code == 404 else code, message, explain)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        """Say nothing."""


@contextlib.contextmanager
def running(server: http.server.HTTPServer) -> Iterator[int]:
    """Run a server until the block ends; yield its port."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(http.server.ThreadingHTTPServer):
    """A client that gives up is not an error of the test."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(repo: Path, *, tls: ssl.SSLContext | None = None, **behaviour: object) -> Iterator[str]:
    """Serve a repository until the block ends; yield its URL."""
    kind = type("Behaving", (Handler,), {"asked": [], **behaviour})
    server = Quiet(("127.0.0.1", 0), functools.partial(kind, directory=str(repo)))
    if tls is not None:
        # the handshake is the handler's thread's: a client that is refused must not stop the server
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with running(server) as port:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"


def server_tls(
    certificate: tuple[Path, Path], *, clients: Path | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """Return what a server does: its certificate and, with `clients`, the authority that must have signed a
    client's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if version is not None:
        context.maximum_version = version
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Proxy(Quiet):
    """An HTTP proxy (RFC 9110, CONNECT; RFC 9112, absolute-form): what it was asked; it `refuses` all with an
    HTTP status.
    """

    def __init__(self, refuses: int = 0) -> None:
        self.asked: list[str] = []
        self.refuses = refuses
        super().__init__(("127.0.0.1", 0), Forwarding)


class Forwarding(http.server.BaseHTTPRequestHandler):
    """Passes on what a proxy is asked for."""

    server: Proxy

    def do_CONNECT(self) -> None:
        """Join the client with a server."""
        self.server.asked.append(f"CONNECT {self.path}")
        if self.server.refuses:
            self.send_error(self.server.refuses)
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as there:
            self.send_response(200)
            self.end_headers()
            other = {there: self.connection, self.connection: there}
            while ready := select.select(list(other), [], [], 5)[0]:
                data = ready[0].recv(65536)
                if not data:
                    return
                other[ready[0]].sendall(data)

    def do_GET(self) -> None:
        """Fetch an absolute URI."""
        self.server.asked.append(self.path)
        parts = urlsplit(self.path)
        if self.server.refuses or not parts.netloc:
            self.send_error(self.server.refuses or 400)
            return
        with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=5)) as connection:
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        """Say nothing."""


@contextlib.contextmanager
def proxying(refuses: int = 0) -> Iterator[tuple[str, Proxy]]:
    """Run a proxy until the block ends; yield its URL and itself."""
    proxy = Proxy(refuses)
    with running(proxy) as port:
        yield f"http://127.0.0.1:{port}", proxy
