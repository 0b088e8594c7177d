"""A tiny container image made on the build host, for guests without a network: one static busybox.

Written as the archive that both `docker load` and `podman load` read (Docker Image Specification v1.2, "Combined Image JSON +
Filesystem Changeset Format").
"""

import hashlib
import io
import json
import tarfile

from imagebuild.tools import command

NAME = "localhost/imagebuild/busybox:1"


def busybox_archive() -> bytes:
    """Return the archive of an image named NAME with a static busybox as its only program. Raises MissingToolError."""
    layer = _tar(
        {"bin/busybox": command.require("busybox").read_bytes()}, links={"bin/sh": "busybox", "bin/echo": "busybox", "bin/cat": "busybox"}
    )
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [NAME], "Layers": ["layer.tar"]}]).encode()
    return _tar({name: config, "layer.tar": layer, "manifest.json": manifest}, links={})


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
