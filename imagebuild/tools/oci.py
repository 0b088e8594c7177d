"""A tiny container image made on the build host, one static busybox: as an archive to load, and as a registry serves it.

The archive is what both `docker load` and `podman load` read (Docker Image Specification v1.2, "Combined Image JSON + Filesystem
Changeset Format"); the registry's answers are those of the OCI Distribution Specification v1.1, "Pulling manifests" and "Pulling blobs".
"""

import functools
import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass

from imagebuild.tools import command

REPOSITORY, TAG = "imagebuild/busybox", "1"
NAME = f"localhost/{REPOSITORY}:{TAG}"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
SYSTEM_NAME = "imagebuild-system:latest"
PROGRAMS = ("sh", "echo", "cat", "wget", "sleep", "httpd")


@dataclass(frozen=True, kw_only=True)
class _Image:
    layer: bytes
    config: bytes


# what `atomic install --system` reads (projectatomic/atomic, docs/atomic-install.1.md, "exports")
SERVICE = """[Unit]
Description=A system container of a test
[Service]
ExecStart=$EXEC_START
ExecStop=$EXEC_STOP
WorkingDirectory=$DESTDIR
[Install]
WantedBy=multi-user.target
"""
RUNTIME = {
    "ociVersion": "1.0.0",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/sh", "-c", "trap exit TERM; sleep 1000000 & wait"],
        "env": ["PATH=/bin"],
        "cwd": "/",
    },
    "root": {"path": "rootfs", "readonly": True},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "linux": {"namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "mount"}]},
}


def system_container_archive() -> bytes:
    """Return the archive of an image named SYSTEM_NAME that `atomic install --system` can install. Raises MissingToolError."""
    exports = {
        "exports/config.json.template": json.dumps(RUNTIME).encode(),
        "exports/service.template": SERVICE.encode(),
        "exports/manifest.json": json.dumps({"version": "1.0", "defaultValues": {}}).encode(),
    }
    return _archive(_image(exports), SYSTEM_NAME)


@functools.cache
def _busybox() -> _Image:
    return _image({})


def _image(more: dict[str, bytes]) -> _Image:
    """Make an image; its only program is the build host's static busybox. Raises MissingToolError."""
    layer = _tar({"bin/busybox": command.require("busybox").read_bytes(), **more}, links={f"bin/{name}": "busybox" for name in PROGRAMS})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    return _Image(layer=layer, config=json.dumps(config).encode())


def busybox_archive() -> bytes:
    """Return the archive of an image named NAME. Raises MissingToolError."""
    return _archive(_busybox(), NAME)


def _archive(image: _Image, tag: str) -> bytes:
    name = f"{hashlib.sha256(image.config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": ["layer.tar"]}]).encode()
    return _tar({name: image.config, "layer.tar": image.layer, "manifest.json": manifest}, links={})


def registry() -> dict[str, tuple[str, bytes]]:
    """Return what a registry with the image as REPOSITORY:TAG answers: path -> (content type, content). Raises MissingToolError."""
    image = _busybox()
    layer = gzip.compress(image.layer, compresslevel=1, mtime=0)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(image.config), "digest": _digest(image.config)},
            "layers": [{"mediaType": LAYER, "size": len(layer), "digest": _digest(layer)}],
        }
    ).encode()
    base = f"/v2/{REPOSITORY}"
    blobs = {f"{base}/blobs/{_digest(data)}": ("application/octet-stream", data) for data in (image.config, layer)}
    manifests = {f"{base}/manifests/{name}": (MANIFEST, manifest) for name in (TAG, _digest(manifest))}
    return {"/v2/": ("application/json", b"{}"), **blobs, **manifests}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _tar(files: dict[str, bytes], links: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return stream.getvalue()
