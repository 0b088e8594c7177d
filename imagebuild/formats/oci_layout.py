"""An archive of the OCI Image Format Specification 1.0 ("Image Layout", "Image Manifest", "Image
Configuration", "Image Layer Filesystem Changeset") with one image in it: written the same way every time,
read with care.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imagebuild import files
from imagebuild.architectures.registry import oci_name
from imagebuild.errors import BuildError
from imagebuild.formats import bounded, box
from imagebuild.formats.ovf import read_text

LAYOUT, INDEX = "oci-layout", "index.json"
VERSION = "1.0.0"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MOST_MEMBERS = 256
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
PACKED = {b"\x1f\x8b\x08": "gz", b"\x28\xb5\x2f\xfd": "zst"}


@dataclass(frozen=True, kw_only=True)
class Image:
    """What an archive has: its layers (files here, the lowest first) with the compression around each, and
    its configuration.
    """

    layers: tuple[tuple[Path, tuple[str, ...]], ...]
    config: Mapping[str, Any]


# --- written ------------------------------------------------------------------------------------------------


def write(file: Path, layer: Path, *, arch: str, title: str, epoch: int) -> None:
    """Write the archive of an image with one layer, a tar that is not compressed."""
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = files.sha256(layer)
    config = _json(
        {
            "created": created,
            "architecture": oci_name(arch),
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": created, "created_by": "imagebuild"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, config),
            "layers": [
                {"mediaType": LAYER, "digest": f"sha256:{digest}", "size": layer.stat().st_size},
            ],
            "annotations": {
                "org.opencontainers.image.created": created,
                "org.opencontainers.image.title": title,
            },
        }
    )
    members: dict[str, bytes | Path] = {
        LAYOUT: _json({"imageLayoutVersion": VERSION}),
        INDEX: _json({"schemaVersion": 2, "manifests": [_descriptor(MANIFEST, manifest)]}),
        _blob(manifest): manifest,
        _blob(config): config,
        f"blobs/sha256/{digest}": layer,
    }
    with file.open("wb") as stream:
        box.write_archive(stream, members, epoch)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _descriptor(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _blob(data: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


# --- read ---------------------------------------------------------------------------------------------------


def extract(file: Path, out: Path) -> dict[str, Path]:
    """Write the plain files of an archive into a directory, under names of our own, and return path -> file.
    Raises BuildError, and tarfile's errors.
    """
    unpacked = dict[str, Path]()
    with tarfile.open(file, "r:", tarinfo=bounded.CheckedInfo) as tar:
        for number, member in enumerate(tar):
            path = member.name.removeprefix("./").rstrip("/")
            if number >= MOST_MEMBERS or ".." in path.split("/") or member.name.startswith("/"):
                raise BuildError(f"its member {member.name!r} is one too many, or leads out of it")
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                if member.isdir():
                    continue
                raise BuildError(f"its member {member.name!r} is not a plain file")
            if path in unpacked:
                raise BuildError(f"it has {path} twice")
            unpacked[path] = bounded.write(content, out / f"member-{number}", path)
    return unpacked


def read(unpacked: Mapping[str, Path]) -> Image:
    """Return the image in an archive whose files are given; each blob that is named has the digest and size
    it is named with. Raises BuildError for what is not an image, or not one.
    """
    layout = _parsed(unpacked, LAYOUT)
    if layout.get("imageLayoutVersion") != VERSION:
        raise BuildError(f"its layout has the version {layout.get('imageLayoutVersion')!r}, not {VERSION}")
    manifests = _list(_parsed(unpacked, INDEX), "manifests", INDEX)
    if len(manifests) != 1:
        raise BuildError(f"it has {len(manifests)} images, not one")
    name = _named(unpacked, manifests[0])
    manifest = _parsed(unpacked, name)
    config = _parsed(unpacked, _named(unpacked, manifest.get("config")))
    layers = [unpacked[_named(unpacked, layer)] for layer in _list(manifest, "layers", name)]
    image = Image(layers=tuple((layer, _packed(layer)) for layer in layers), config=config)
    _check_content(image)
    return image


def _parsed(unpacked: Mapping[str, Path], name: str) -> dict[str, Any]:
    if name not in unpacked:
        raise BuildError(f"it has no {name}")
    try:
        value = json.loads(read_text(unpacked[name], f"its {name}"))
    except (ValueError, RecursionError) as error:
        raise BuildError(f"its {name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise BuildError(f"its {name} is not an object")
    return value


def _list(value: Mapping[str, Any], key: str, name: str) -> list[Any]:
    found = value.get(key)
    if not isinstance(found, list):
        raise BuildError(f"its {name} has no list of {key}")
    return found


def _named(unpacked: Mapping[str, Path], descriptor: object) -> str:
    """Return the path of the blob that a descriptor names."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    match = DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    path = f"blobs/sha256/{match[1]}" if match is not None else ""
    if match is None or path not in unpacked:
        raise BuildError(f"it names a blob {digest!r}, which is not in it")
    assert isinstance(descriptor, dict)
    if descriptor.get("size") != unpacked[path].stat().st_size or files.sha256(unpacked[path]) != match[1]:
        raise BuildError(f"its blob {path} does not match its digest")
    return path


def _packed(layer: Path) -> tuple[str, ...]:
    with layer.open("rb") as stream:
        head = stream.read(4)
    return tuple(kind for magic, kind in PACKED.items() if head.startswith(magic))


def _check_content(image: Image) -> None:
    """Raise BuildError when a layer's content is not what the configuration says."""
    rootfs = image.config.get("rootfs")
    wanted = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    found = [f"sha256:{_content_digest(layer, packed)}" for layer, packed in image.layers]
    if wanted != found:
        raise BuildError("the content of its layers is not that of its configuration (diff_ids)")


def _content_digest(layer: Path, packed: tuple[str, ...]) -> str:
    digest, size = hashlib.sha256(), 0
    with bounded.stream_of(layer, packed) as stream:
        while chunk := stream.read(bounded.CHUNK):
            size += len(chunk)
            if size > bounded.LARGEST:
                raise BuildError(f"a layer has more than {bounded.LARGEST >> 40} TiB", hint=bounded.HOSTILE)
            digest.update(chunk)
    return digest.hexdigest()
