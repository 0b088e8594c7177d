"""How others read an image's archive (`docker save`): what each of their sources does, in our own words,
enough to refuse what they refuse.

Every reader returns the image's names and the checksums of its uncompressed layers, lowest first.
"""

import hashlib
import json
import posixpath
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEX_ID = re.compile(r"[0-9a-f]{64}")


class UnreadableError(Exception):
    """The reader would end with an error."""


@dataclass(frozen=True)
class Read:
    """What a reader got out of an archive."""

    names: list[str]
    layers: list[str]
    labels: dict[str, str] | None = None


def _extracted(archive: Path, place: Path) -> Path:
    with tarfile.open(archive) as tar:
        for member in tar:
            data = tar.extractfile(member)
            assert data is not None, "plain files only"
            (place / member.name).parent.mkdir(parents=True, exist_ok=True)
            (place / member.name).write_bytes(data.read())
    return place


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _text(file: Path) -> Any:
    if not file.is_file():
        raise UnreadableError(f"no such file: {file.name} in {file.parent.name}")
    return json.loads(file.read_text())


def docker(archive: Path, place: Path) -> Read:
    """moby v1.13.0, image/tarexport/load.go, Load: manifest.json; the legacy way only where there is none."""
    root = _extracted(archive, place)
    if not (root / "manifest.json").exists():
        return _docker_legacy(root)
    names, layers, labels = [], [], None
    for item in _text(root / "manifest.json"):
        config = _text(root / item["Config"])
        # image.NewFromJSON: rootfs is not optional
        if not config.get("rootfs"):
            raise UnreadableError("invalid image JSON, no RootFS key")
        expected = config["rootfs"]["diff_ids"]
        if len(item["Layers"]) != len(expected):
            raise UnreadableError("invalid manifest, layers length mismatch")
        for name, digest in zip(item["Layers"], expected, strict=True):
            got = _digest((root / name).read_bytes())
            if got != digest:
                raise UnreadableError(f"invalid diffID: expected {digest}, got {got}")
            layers.append(got)
        names += [_docker_name(name) for name in item["RepoTags"] or []]
        labels = (config.get("config") or {}).get("Labels")
    return Read(names, layers, labels)


def _docker_name(name: str) -> str:
    # reference.ParseNamed, then NamedTagged
    repository, _, tag = name.rpartition(":")
    if not repository or "/" in tag or not re.fullmatch(r"[\w][\w.-]{0,127}", tag):
        raise UnreadableError(f"invalid tag {name}")
    return name


def docker_before_manifests(archive: Path, place: Path) -> Read:
    """moby v1.9.1, graph/load.go, Load (and v1.13.0's legacyLoad, which asks less): how docker before 1.10
    read every archive.
    """
    return _docker_legacy(_extracted(archive, place))


def _docker_legacy(root: Path) -> Read:
    loaded: dict[str, list[str]] = {}

    def load(identifier: str) -> list[str]:
        if identifier not in loaded:
            described = _text(root / identifier / "json")
            # image/image.go, ValidateID
            if not HEX_ID.fullmatch(described.get("id", "")):
                raise UnreadableError(f"image ID {identifier!r} is invalid")
            parent = described.get("parent")
            layer = root / identifier / "layer.tar"
            if not layer.is_file():
                raise UnreadableError(f"{identifier} has no layer.tar")
            loaded[identifier] = [*(load(parent) if parent else []), _digest(layer.read_bytes())]
        return loaded[identifier]

    for directory in sorted(entry.name for entry in root.iterdir() if entry.is_dir()):
        load(directory)
    names, layers = [], []
    for name, tags in _text(root / "repositories").items():
        for tag, identifier in tags.items():
            if identifier not in loaded:
                raise UnreadableError(f"invalid target ID: {identifier}")
            names.append(f"{name}:{tag}")
            layers = loaded[identifier]
    return Read(names, layers)


def atomic(archive: Path, place: Path) -> Read:
    """projectatomic/atomic v1.19.1, Atomic/syscontainers.py, _pull_docker_tar and _pull_dockertar_layers."""
    root = _extracted(archive, place)
    names, ordered, labels = [], [], None
    for item in _text(root / "manifest.json"):
        # a KeyError there; `install` then calls labels.items(), so null would not do either
        labels = _text(root / item["Config"])["config"]["Labels"]
        names.append(item["RepoTags"][0])
        files, after, top = {}, {}, None
        for name in item["Layers"]:
            layer = name.replace("/layer.tar", "")
            files[layer] = root / name
            parent = _text(root / layer / "json").get("parent")
            top = top if parent else layer
            after[parent] = layer
        current = top
        while current:
            ordered.append(_digest(files[current].read_bytes()))
            current = after.get(current)
    if not isinstance(labels, dict):
        raise UnreadableError("'NoneType' object has no attribute 'items'")
    return Read(names, ordered, labels)


def skopeo(archive: Path, place: Path) -> Read:
    """containers/image v5.36.1, docker/internal/tarfile/reader.go and src.go (skopeo, podman): read in place,
    nothing is extracted.
    """
    del place
    with tarfile.open(archive) as tar:
        members = {posixpath.normpath(member.name): member for member in tar}

        def component(name: str) -> bytes:
            member = members.get(posixpath.normpath(name))
            if member is not None and member.issym():
                member = members.get(
                    posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
                )
            if member is None:
                raise UnreadableError(f"file does not exist: {name}")
            stream = tar.extractfile(member)
            if stream is None or not member.isreg():
                raise UnreadableError(f"{name}: not a regular file")
            return stream.read()

        manifest = json.loads(component("manifest.json"))
        if len(manifest) != 1:
            raise UnreadableError(f"Unexpected tar manifest.json: expected 1 item, got {len(manifest)}")
        (item,) = manifest
        config = json.loads(component(item["Config"]))
        if not config.get("rootfs"):
            raise UnreadableError("Invalid image config (rootFS is not set)")
        digests = config["rootfs"]["diff_ids"]
        if len(digests) != len(item["Layers"]):
            raise UnreadableError("Inconsistent layer count")
        # the copy compares what it read with the digest that it asked for
        for name, digest in zip(item["Layers"], digests, strict=True):
            if _digest(component(name)) != digest:
                raise UnreadableError(f"Digest did not match: {name}")
    return Read(item["RepoTags"], digests, (config.get("config") or {}).get("Labels"))


READERS = {
    "docker 1.13": docker,
    "docker before 1.10": docker_before_manifests,
    "atomic 1.19": atomic,
    "skopeo and podman": skopeo,
}
