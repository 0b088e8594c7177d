"""Shared stores in tests: several machines (a directory each) with one remote, which may misbehave.

The S3 server is moto's (5.2, moto/moto_server/threaded_moto_server.py), with a layer before it that counts
requests and breaks them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from imagebuild.engine.carrying import Carriers
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.remote import Patience, Remote
from imagebuild.engine.shared import SharedStore
from imagebuild.engine.store import Store, StoredArtifact

QUICK = Patience(attempts=3, pause=0.01)
Fault = Callable[[str, str, dict[str, Any]], "tuple[str, bytes] | None"]


def machine(
    place: Path, url: str, carriers: Carriers | None = None, varying: tuple[str, ...] = ()
) -> SharedStore:
    """Return the store of a machine: its directory is its own."""
    return SharedStore(DirectoryStore(place), Remote(url, QUICK), carriers or {}, varying)


def share(tmp_path: Path) -> str:
    """Return the address of a directory that every machine has mounted."""
    (tmp_path / "share").mkdir(exist_ok=True)
    return f"file://{tmp_path}/share"


@dataclass
class Server:
    """An S3 server: what it was asked for, and a fault that answers in its place, or changes the question."""

    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Fault | None = None

    def count(self, method: str, pattern: str) -> Counter[str]:
        """Return how often each object was asked for."""
        return Counter(path for verb, path in self.requests if verb == method and re.search(pattern, path))

    def wrap(self, application: Any) -> Any:
        """Return the server's application with all this before it."""

        def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            self.requests.append((method, path))
            broken = self.fault(method, path, environ) if self.fault is not None else None
            if broken is not None:
                status, body = broken
                start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
                return [body]
            found: Iterable[bytes] = application(environ, start)
            return found

        return answer


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run an S3 server on the loopback interface, with an empty bucket."""
    server = Server("s3://shared/store")
    application = server.wrap(DomainDispatcherApplication(create_backend_app))
    running = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    thread = Thread(target=running.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{running.server_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import fsspec  # after the environment is set

        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("shared")
        server.requests.clear()
        yield server
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
        _forget_buckets()


def _forget_buckets() -> None:
    from moto.core.base_backend import BackendDict  # what one server had another one would have, too
    from moto.s3.models import s3_backends

    assert isinstance(s3_backends, BackendDict)
    s3_backends.reset()


VALUE = {"file": "out/text"}


def finish(store: Store, kind: str, key: str, **contents: bytes) -> StoredArtifact:
    """Make an artifact by hand."""
    with store.lock(kind, key):
        scratch = store.scratch(kind, key)
        for name, data in contents.items():
            (scratch.out / name).write_bytes(data)
        return store.finish(scratch, kind, key, value=VALUE, components={}, seconds=1.0)
