"""The archive of the test's container image, read as each of its readers reads it."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from imagebuild.tools import command, oci, web
from tests.archive_readers import READERS, Read, UnreadableError

Reader = Callable[[Path, Path], Read]
ARCHIVES = {oci.NAME: oci.busybox_archive, oci.SYSTEM_NAME: oci.system_container_archive}


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            member.name: stream.read() for member in tar if (stream := tar.extractfile(member)) is not None
        }


def packed(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@pytest.mark.parametrize("name", list(ARCHIVES))
@pytest.mark.parametrize("reader", list(READERS.values()), ids=list(READERS))
def test_every_reader_gets_the_same_image(reader: Reader, name: str, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(ARCHIVES[name]())
    read = reader(archive, tmp_path / "extracted")
    (layer,) = [data for path, data in members(archive.read_bytes()).items() if path.endswith("/layer.tar")]
    assert read.names == [name]
    assert read.layers == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert not read.labels, "no label runs anything by itself"


def without_labels(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data.replace(b', "Labels": {}', b"") for path, data in files.items()}


def with_short_id(files: dict[str, bytes]) -> dict[str, bytes]:
    (identifier,) = {path.split("/")[0] for path in files if "/" in path}
    return {
        path.replace(identifier, "layer"): data.replace(identifier.encode(), b"layer")
        for path, data in files.items()
    }


def with_null_labels(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data.replace(b'"Labels": {}', b'"Labels": null') for path, data in files.items()}


def flat(files: dict[str, bytes]) -> dict[str, bytes]:
    """The layout that archives had before: the layer beside the manifest."""
    (layer,) = [path for path in files if path.endswith("/layer.tar")]
    kept = {
        path: data.replace(layer.encode(), b"layer.tar")
        for path, data in files.items()
        if "/" not in path and path != "repositories"
    }
    return {**kept, "layer.tar": files[layer]}


def without_repositories(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if path != "repositories"}


def other_layer(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: b"other" if path.endswith("/layer.tar") else data for path, data in files.items()}


def without_manifest(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if path != "manifest.json"}


@pytest.mark.parametrize(
    ("reader", "change", "complaint"),
    [
        ("atomic 1.19", without_labels, "Labels"),
        ("atomic 1.19", with_null_labels, "NoneType"),
        ("atomic 1.19", flat, "no such file: json"),
        ("docker before 1.10", flat, "no such file: repositories"),
        ("docker before 1.10", without_repositories, "no such file: repositories"),
        ("docker before 1.10", with_short_id, "image ID 'layer' is invalid"),
        ("docker 1.13", other_layer, "invalid diffID"),
        ("skopeo and podman", other_layer, "Digest did not match"),
        ("skopeo and podman", without_manifest, "file does not exist: manifest.json"),
    ],
)
def test_the_readers_refuse_what_theirs_refuse(
    reader: str, change: Callable[[dict[str, bytes]], dict[str, bytes]], complaint: str, tmp_path: Path
) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(packed(change(members(oci.system_container_archive()))))
    with pytest.raises((UnreadableError, KeyError), match=complaint):
        READERS[reader](archive, tmp_path / "extracted")


def test_each_layer_has_the_directory_that_docker_save_writes() -> None:
    files = members(oci.system_container_archive())
    (identifier,) = {path.split("/")[0] for path in files if "/" in path}
    assert {path for path in files if "/" in path} == {
        f"{identifier}/{name}" for name in ("VERSION", "json", "layer.tar")
    }
    assert files[f"{identifier}/VERSION"] == b"1.0"
    legacy = json.loads(files[f"{identifier}/json"])
    assert (legacy["id"], legacy["config"]["Labels"]) == (identifier, {})
    assert json.loads(files["repositories"]) == {"imagebuild-system": {"latest": identifier}}


def test_the_real_skopeo_reads_it(tmp_path: Path) -> None:
    command.require("skopeo")
    archive = tmp_path / "image.tar"
    archive.write_bytes(oci.busybox_archive())
    # a policy of its own: the host's may refuse what is not signed
    copy = [
        "skopeo",
        "copy",
        "--insecure-policy",
        f"docker-archive:{archive}:{oci.NAME}",
        f"dir:{tmp_path / 'copy'}",
    ]
    subprocess.run(copy, check=True, capture_output=True, timeout=60)
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text())
    (layer,) = [data for path, data in members(archive.read_bytes()).items() if path.endswith("/layer.tar")]
    assert manifest["layers"][0]["digest"] == f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = json.loads(
        (tmp_path / "copy" / manifest["config"]["digest"].removeprefix("sha256:")).read_text()
    )
    assert config["config"]["Labels"] == {}


ARM = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x02\x00\xb7\x00" + b"\0" * 44


def test_an_image_for_another_architecture_says_so() -> None:
    busybox = oci.busybox_of("aarch64", ARM)
    assert busybox is not None
    manifest = json.loads(oci.registry(busybox)[f"/v2/{oci.REPOSITORY}/manifests/{oci.TAG}"][1])
    blobs = f"/v2/{oci.REPOSITORY}/blobs/"
    config = json.loads(oci.registry(busybox)[blobs + manifest["config"]["digest"]][1])
    assert config["architecture"] == "arm64"


@pytest.mark.parametrize("program", [None, b"#!/bin/sh\n", ARM.replace(b"\xb7", b"\x3e"), ARM + b"/ld-linux"])
def test_what_does_not_run_there_is_no_program_for_an_image(program: bytes | None) -> None:
    assert oci.busybox_of("aarch64", program) is None


def test_a_registry_answers_as_its_specification_says(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    certificate, authority = web.make_certificate(tmp_path / "tls", "127.0.0.1")
    (tmp_path / "ca.pem").write_text(authority)
    with web.serving(oci.registry(oci.own_busybox()).get, certificate) as port:
        base = f"https://127.0.0.1:{port}/v2/"
        trust = str(tmp_path / "ca.pem")
        assert requests.get(base, verify=trust, timeout=5).status_code == 200
        answer = requests.get(f"{base}{oci.REPOSITORY}/manifests/{oci.TAG}", verify=trust, timeout=5)
        assert answer.headers["Content-Type"] == oci.MANIFEST
        assert (
            answer.headers["Docker-Content-Digest"] == f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        )
        manifest = answer.json()
        for part in (manifest["config"], *manifest["layers"]):
            blob = requests.get(
                f"{base}{oci.REPOSITORY}/blobs/{part['digest']}", verify=trust, timeout=5
            ).content
            assert (len(blob), f"sha256:{hashlib.sha256(blob).hexdigest()}") == (part["size"], part["digest"])
        assert (
            requests.head(f"{base}{oci.REPOSITORY}/manifests/2", verify=trust, timeout=5).status_code == 404
        )
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(base, timeout=5)


def test_a_system_container_says_how_it_is_started() -> None:
    with tarfile.open(fileobj=io.BytesIO(oci.system_container_archive())) as archive:
        layer = archive.extractfile(next(name for name in archive.getnames() if name.endswith("/layer.tar")))
        assert layer is not None
        with tarfile.open(fileobj=layer) as inside:
            template = inside.extractfile("exports/config.json.template")
            assert template is not None
            assert "trap exit TERM" in json.loads(template.read())["process"]["args"][-1]
