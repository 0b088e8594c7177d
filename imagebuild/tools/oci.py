"""A tiny container image, one static busybox: as an archive to load, and as a registry serves it. The build
host's own does for guests of its architecture.

The archive is what `docker save` of 1.10 … 24 writes (Docker Image Specification v1.2, "Combined Image JSON +
Filesystem Changeset Format"; moby v1.13.0, image/tarexport/save.go): docker and podman read its
manifest.json, docker before 1.10 its `repositories` and `ID/json`, and atomic 1.19 both. The registry's
answers are those of the OCI Distribution Specification v1.1, "Pulling manifests" and "Pulling blobs".
"""

import functools
import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import Any

from imagebuild.architectures.registry import ELF_HEAD, builder_architecture, oci_name, of_program
from imagebuild.tools import command

REPOSITORY, TAG = "imagebuild/busybox", "1"
NAME = f"localhost/{REPOSITORY}:{TAG}"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
SYSTEM_NAME = "imagebuild-system:latest"
# moby v1.13.0, image/v1/imagev1.go and image/tarexport/save.go: what each layer's directory says of its
# format
LEGACY_VERSION = b"1.0"
CREATED = "1970-01-01T00:00:00Z"
PROGRAMS = ("sh", "echo", "cat", "wget", "sleep", "httpd")


@dataclass(frozen=True, kw_only=True)
class _Image:
    layer: bytes
    config: bytes


@dataclass(frozen=True, kw_only=True)
class Busybox:
    """A static busybox, and the architecture that it is for."""

    program: bytes
    arch: str


def own_busybox() -> Busybox:
    """Return this machine's. Raises MissingToolError."""
    return Busybox(program=command.require("busybox").read_bytes(), arch=builder_architecture())


def busybox_of(arch: str, program: bytes | None) -> Busybox | None:
    """Return a program as a busybox for an architecture; None for none, and for one that is of another
    architecture, or needs libraries.
    """
    # a program with an interpreter (ELF, PT_INTERP) would need libraries
    if program is None or of_program(program[:ELF_HEAD]) != arch or b"/ld-linux" in program:
        return None
    return Busybox(program=program, arch=arch)


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
    """Return the archive of an image named SYSTEM_NAME that `atomic install --system` can install. Raises
    MissingToolError.
    """
    exports = {
        "exports/config.json.template": json.dumps(RUNTIME).encode(),
        "exports/service.template": SERVICE.encode(),
        "exports/manifest.json": json.dumps({"version": "1.0", "defaultValues": {}}).encode(),
    }
    own = own_busybox()
    return _archive(_image(own, exports), SYSTEM_NAME, own.arch)


def _image(busybox: Busybox, more: dict[str, bytes]) -> _Image:
    """Make an image; its only program is a busybox."""
    layer = _tar(
        {"bin/busybox": busybox.program, **more},
        links={f"bin/{name}": "busybox" for name in PROGRAMS},
    )
    config = {
        **_v1_config(busybox.arch),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    return _Image(layer=layer, config=json.dumps(config).encode())


def _v1_config(arch: str) -> dict[str, Any]:
    """Return what an image's configuration and the legacy JSON of its only layer have in common."""
    return {
        "architecture": oci_name(arch),
        "os": "linux",
        "created": CREATED,
        # atomic 1.19 reads Labels without asking whether there are any (Atomic/syscontainers.py,
        # _pull_docker_tar)
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "Labels": {}},
    }


def busybox_archive() -> bytes:
    """Return the archive of an image named NAME. Raises MissingToolError."""
    own = own_busybox()
    return _archive(_image(own, {}), NAME, own.arch)


def _archive(image: _Image, name_and_tag: str, arch: str) -> bytes:
    """Return the archive of an image under one name, with a directory for its only layer."""
    config = f"{hashlib.sha256(image.config).hexdigest()}.json"
    # any 64 hexadecimal digits do: docker before 1.10 takes them for the image's id, later readers for a
    # directory's name
    layer = hashlib.sha256(image.config + image.layer).hexdigest()
    name, _, tag = name_and_tag.rpartition(":")
    return _tar(
        {
            config: image.config,
            f"{layer}/VERSION": LEGACY_VERSION,
            f"{layer}/json": json.dumps({"id": layer, **_v1_config(arch)}).encode(),
            f"{layer}/layer.tar": image.layer,
            "manifest.json": (
                json.dumps(
                    [{"Config": config, "RepoTags": [name_and_tag], "Layers": [f"{layer}/layer.tar"]}]
                ).encode()
            ),
            "repositories": json.dumps({name: {tag: layer}}).encode(),
        },
        links={},
    )


@functools.cache
def registry(busybox: Busybox) -> dict[str, tuple[str, bytes]]:
    """Return what a registry with the image as REPOSITORY:TAG answers: path -> (content type, content)."""
    image = _image(busybox, {})
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
    blobs = {
        f"{base}/blobs/{_digest(data)}": ("application/octet-stream", data) for data in (image.config, layer)
    }
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
