"""Small web servers on the loopback interface, for guests under test: files of directories, and content from
memory; plain or TLS.
"""

import contextlib
import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from imagebuild.tools import command

# (content type, content or the file that has it)
Found = tuple[str, bytes | Path]
Look = Callable[[str], Found | None]
BLOCK = 1 << 20


def directories(places: Mapping[str, Sequence[Path]]) -> Look:
    """Serve directories below prefixes such as `/repo/`: the first that has a file wins. Nothing outside of
    them is ever served.
    """

    def look(path: str) -> Found | None:
        for prefix, roots in places.items():
            for root in roots if path.startswith(prefix) else ():
                file = (root / path.removeprefix(prefix)).resolve()
                if file.is_relative_to(root.resolve()) and file.is_file():
                    return "application/octet-stream", file
        return None

    return look


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD from the server's `look`."""

    protocol_version = "HTTP/1.1"
    # head and content are two writes: the second would wait for the first one's acknowledgement, 40 ms for
    # each small file (tcp(7))
    disable_nagle_algorithm = True
    server: "_Server"

    def do_GET(self) -> None:
        """Answer with the content."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer without the content."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        found = self.server.look(unquote(urlsplit(self.path).path))
        kind, content = found if found is not None else ("text/plain", b"")
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Type", kind)
        self.send_header(
            "Content-Length", str(content.stat().st_size if isinstance(content, Path) else len(content))
        )
        if isinstance(content, bytes):
            self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(content).hexdigest()}")
        self.end_headers()
        if body:
            self._send(content)

    def _send(self, content: bytes | Path) -> None:
        if isinstance(content, bytes):
            self.wfile.write(content)
            return
        with content.open("rb") as stream:
            while block := stream.read(BLOCK):
                self.wfile.write(block)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        """Say nothing: what a guest was given is in the guest's evidence."""
        del format, args


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, look: Look) -> None:
        self.look = look
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A guest that is switched off in the middle of a transfer is not an error of ours."""


@contextlib.contextmanager
def serving(look: Look, certificate: Path | None = None) -> Iterator[int]:
    """Serve until the block ends; yield the port. `certificate` (PEM, with its key) makes it speak TLS."""
    server = _Server(look)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_certificate(directory: Path, address: str) -> tuple[Path, str]:
    """Make a certificate for an IP address that is its own authority; return the file (with its key), and the
    authority's PEM text.
    """
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={address}",
            "-addext",
            f"subjectAltName=IP:{address}",
            "-keyout",
            key,
            "-out",
            certificate,
        ]
    )
    text = certificate.read_text()
    both = directory / "both.pem"
    both.touch(mode=0o600)
    both.write_text(key.read_text() + text)
    return both, text
