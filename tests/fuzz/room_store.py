"""What stores, remotes and clusters hold: records of artifacts and builds, packs, what failed elsewhere,
keys.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import zstandard

from imagebuild.cluster import evidence, keys, security
from imagebuild.engine import builds, results
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.packs import read_pack, write_pack
from imagebuild.report import history
from imagebuild.tools import access, temporary
from tests.fuzz.bench import Reader
from tests.fuzz.cases import changed, documents, packed, tars

DIGEST = "ab" * 32
PACK = {"sha256": DIGEST, "size": 3, "files": {"out/a": {"size": 1, "mode": 420, "digest": "x"}}}
RESULT: dict[str, Any] = {
    "format": 1,
    "kind": "a.b",
    "key": "k",
    "components": {"a": "b"},
    "value": {"store": "artifacts/a/b/c/d"},
    "seconds": 1.5,
    "files": {"out/a": 1},
    "packs": [PACK],
    "carried": [],
    "links": {"out/l": "a"},
    "directories": ["out/d"],
    "maker": "m",
}
ARTIFACT = {
    "value": {"cells": [{"state": "passed"}]},
    "components": {},
    "seconds": 1.0,
    "files": {"out/a": 1},
}
SPAN = {"step": "a", "begin": 1.0, "end": 2.0, "state": "done", "background": False}
STATE = {
    "pid": 1,
    "host": "h",
    "there": ["a"],
    "running": [{"step": "b", "kind": "k", "key": "x", "begin": 1.0, "background": False}],
    "ended": 3.0,
    "how": "over",
}
NAME = "20261112T101010.000000001"


def _result(data: bytes, _place: Path) -> object:
    found = results.parse(data, "a.b", "k", "x")
    return results.beside(found.value), list(found.blobs()), found.difference(found)


def _artifact(data: bytes, place: Path) -> object:
    there = place / "artifacts" / "kind" / "key"
    (there / "out").mkdir(parents=True)
    (there / "out" / "a").write_bytes(b"x")
    (there / "artifact.json").write_bytes(data)
    return DirectoryStore(place).find("kind", "key")


def _build(data: bytes, place: Path) -> object:
    """The record of a build; of its four parts each case is one."""
    store = DirectoryStore(place)
    parts = {"json": {"a": ["kind", "key"]}, "state": STATE, "timeline": SPAN}
    texts = {kind: json.dumps(part).encode() for kind, part in parts.items()}
    for kind in texts:
        for other, text in (texts | {kind: data}).items():
            (place / "builds" / f"{NAME}.{other}").write_bytes(text)
        builds.remembered(place / "builds" / f"{NAME}.json")
        for known in history.builds_of(store, 5):
            assert known.outcome is not None
            history.bars(known)
        history.trace(history.builds_of(store, 5))
    return None


def _pack() -> bytes:
    with temporary.directory("pack") as place:
        (place / "a").write_bytes(b"12345")
        write_pack({"out/a": place / "a"}, place / "pack")
        return (place / "pack").read_bytes()


def _read_pack(data: bytes, place: Path) -> object:
    digest = hashlib.sha256(data).hexdigest()
    return read_pack(
        io.BytesIO(data),
        place,
        lambda name, size: name == "out/a" and size == 5,
        sha256=digest,
        size=len(data),
    )


def _unpack(data: bytes, place: Path) -> object:
    evidence.unpack(data, place / "left")
    return None


def _certificate(data: bytes, place: Path) -> object:
    (place / "ca.pem").write_bytes(data)
    return security._read(place / "ca.pem")


def _key(data: bytes, place: Path) -> object:
    (place / "ca.key").write_bytes(data)
    return keys._load_key(place / "ca.key")


def _access(data: bytes, place: Path) -> object:
    (place / "f").write_bytes(data)
    access.Access(ca=place / "f").check()
    access.Access(certificate=place / "f").check()
    return None


PEM = (
    b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUB9\n-----END CERTIFICATE-----\n"
    b"-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"
)
READERS = (
    Reader(name="result of a remote", read=_result, contents=documents([RESULT])),
    Reader(name="artifact", read=_artifact, contents=documents([ARTIFACT])),
    Reader(name="build", read=_build, contents=documents([{"a": ["kind", "key"]}, STATE, SPAN]), cases=40),
    Reader(
        name="what a worker left",
        read=_unpack,
        contents=packed(tars([("log", b"x"), ("out/a", b"y")])),
        errors=(OSError, tarfile.TarError),
    ),
    Reader(name="pack", read=_read_pack, contents=changed([_pack()])),
    Reader(
        name="pack, what is in it",
        read=_read_pack,
        contents=changed([zstandard.ZstdDecompressor().decompress(_pack(), 1 << 20)]).map(zstandard.compress),
    ),
    Reader(name="certificate", read=_certificate, contents=changed([PEM])),
    Reader(name="key of an authority", read=_key, contents=changed([PEM])),
    Reader(name="certificates of a server", read=_access, contents=changed([PEM])),
    Reader(
        name="address of a head",
        read=lambda data, _: security.parse_address(data.decode("utf-8", "surrogateescape")),
        contents=changed([b"tls://host:8786", b"tcp://[::1]:1"]),
    ),
)
