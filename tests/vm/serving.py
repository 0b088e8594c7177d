"""A web server for guests."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def served(place: Path) -> Iterator[str]:
    """Serve a directory on loopback; a guest of QEMU's user network sees that as 10.0.2.2."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(place))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://10.0.2.2:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
