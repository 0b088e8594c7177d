"""A container disk, as skopeo and tar read it, and those that KubeVirt would refuse."""

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild.errors import BuildError
from imagebuild.formats import bounded, container_disk
from imagebuild.formats.container_disk import ContainerDiskConfig
from imagebuild.formats.format import Source
from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke import any_image
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu import disk_image

TCG = Accelerator(name="tcg", slowness=1, reason="")


@pytest.fixture
def written(source: Source, tmp_path: Path) -> Path:
    return container_disk.write(source, tmp_path, "Test-1", ContainerDiskConfig())


def test_skopeo_reads_it_and_tar_finds_the_disk(source: Source, written: Path, tmp_path: Path) -> None:
    assert shutil.which("skopeo"), "the package skopeo is missing: run .ci/bootstrap"
    assert written.name == "Test-1.kubevirt.ociarchive"
    inspected = json.loads(
        subprocess.run(
            ["skopeo", "inspect", f"oci-archive:{written}"], check=True, capture_output=True
        ).stdout
    )
    assert (inspected["Os"], inspected["Architecture"]) == ("linux", "amd64")
    assert inspected["Created"] == "2020-09-13T12:26:40Z"
    out = tmp_path / "out"
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    # every digest on the way is checked by it
    subprocess.run(
        ["skopeo", "--policy", policy, "copy", "-q", f"oci-archive:{written}", f"dir:{out}"], check=True
    )
    (layer,) = [json.loads((out / "manifest.json").read_text())["layers"][0]["digest"].partition(":")[2]]
    listed = subprocess.run(
        ["tar", "--numeric-owner", "-tvf", out / layer], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert [line.split()[:2] + line.split()[-1:] for line in listed] == [
        ["dr-xr-xr-x", "107/107", "disk/"],
        ["-r--r-----", "107/107", "disk/disk.qcow2"],
    ]
    subprocess.run(["tar", "-xf", out / layer, "-C", tmp_path], check=True)
    assert disk_image.compare(tmp_path / "disk" / "disk.qcow2", "qcow2", source.disk.file, "raw")[0]
    assert container_disk.problems(written) == []


def test_the_machine_is_named_as_go_names_it(source: Source, tmp_path: Path) -> None:
    file = container_disk.write(replace(source, arch="aarch64"), tmp_path, "Test-1", ContainerDiskConfig())
    with tarfile.open(file) as tar:
        configs = [
            stream.read() for member in tar if member.size < 1000 and (stream := tar.extractfile(member))
        ]
    assert any(json.loads(config).get("architecture") == "arm64" for config in configs)


def test_it_is_booted_as_a_virtio_disk(written: Path, tmp_path: Path) -> None:
    assert any_image.recognise(written) == "kubevirt"
    for name in ("own", "any"):
        (tmp_path / name).mkdir()
    own = container_disk.unpack(written, tmp_path / "own")
    assert (own.format, own.controller) == ("qcow2", Controller.VIRTIO)
    with any_image.opened(written, tmp_path / "any", Firmware.UEFI, TCG) as (unpacked, _):
        assert (unpacked.format, unpacked.controller) == ("qcow2", Controller.VIRTIO)


# --- those that would be refused, and others' ---------------------------------------------------------------


def layer_of(members: list[tuple[str, bytes, dict[str, Any]]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content, more in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def qcow2(tmp_path: Path) -> bytes:
    file = tmp_path / "small.qcow2"
    (tmp_path / "small.raw").write_bytes((b"boot code".ljust(510, b".") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    disk_image.convert(tmp_path / "small.raw", "raw", file, "qcow2")
    return file.read_bytes()


Parts = dict[str, Any]


def image(tmp_path: Path, layers: list[bytes], change: Callable[[Parts], None] = lambda _: None) -> Path:
    """Write an archive as buildah does: `change` is given what is about to be written, without digests."""
    unpacked = [gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer for layer in layers]
    parts: Parts = {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "config": {
            "os": "linux",
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in unpacked],
            },
        },
        "manifest": {"schemaVersion": 2, "layers": [named(layer) for layer in layers]},
        "index": {"schemaVersion": 2},
        "more": [],
    }
    change(parts)
    config = json.dumps(parts["config"]).encode()
    manifest = json.dumps({"config": named(config), **parts["manifest"]}).encode()
    index = {"manifests": [named(manifest)], **parts["index"]}
    file = tmp_path / "image.ociarchive"
    with tarfile.open(file, "w") as tar:
        for name, data in (
            ("oci-layout", json.dumps(parts["oci-layout"]).encode()),
            ("index.json", json.dumps(index).encode()),
            *((f"blobs/sha256/{hashlib.sha256(data).hexdigest()}", data) for data in layers),
            (f"blobs/sha256/{hashlib.sha256(config).hexdigest()}", config),
            (f"blobs/sha256/{hashlib.sha256(manifest).hexdigest()}", manifest),
            *parts["more"],
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


def named(data: bytes) -> Parts:
    return {"digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    return place


MINE = {"uid": 107, "gid": 107, "mode": 0o440}


@pytest.mark.parametrize("compress", [lambda layer: layer, gzip.compress], ids=["tar", "tar+gzip"])
def test_others_are_opened_too(tmp_path: Path, work: Path, compress: Callable[[bytes], bytes]) -> None:
    """As `podman build` of "FROM scratch" and "ADD --chown=107:107 x.qcow2 /disk/" makes them, or
    coreos-assembler: of root, mode 0555.
    """
    for name, more in (("disk/x.qcow2", MINE), ("./disk/coreos.img", {"mode": 0o555})):
        layer = layer_of([(name, qcow2(tmp_path), more)])
        file = image(tmp_path, [compress(layer_of([("notes", b"", {})])), compress(layer)])
        assert any_image.refused_for(file) == []
        shutil.rmtree(work)
        work.mkdir()
        with any_image.opened(file, work, Firmware.BIOS, TCG) as (unpacked, _):
            assert (unpacked.format, unpacked.controller) == ("qcow2", Controller.VIRTIO)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("disk/a.img", b"x", {"mode": 0o440})], r"\(0:0, mode 440\) cannot be read by KubeVirt's QEMU"),
        ([("disk/a.img", b"x", {"uid": 107, "mode": 0o044})], "cannot be read"),
        ([("disk/a.img", b"x", {"gid": 107, "mode": 0o404})], "cannot be read"),
        ([("disk/a.img", b"x", MINE), ("disk/b.img", b"x", MINE)], "has 2 files in /disk"),
        ([("other/a.img", b"x", MINE)], "has 0 files in /disk"),
        ([("disk/a/b.img", b"x", MINE)], "has 0 files in /disk"),
        ([("../disk/a.img", b"x", MINE)], "has 0 files in /disk"),
        ([("disk/a.img", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"})], "has 0 files"),
        ([], "has 0 files"),
    ],
)
def test_a_layer_without_a_disk_that_can_be_read(
    tmp_path: Path, work: Path, members: list[tuple[str, bytes, dict[str, Any]]], said: str
) -> None:
    with pytest.raises(BuildError, match=said):
        container_disk.unpack(image(tmp_path, [layer_of(members)]), work)


def set_part(part: str, key: str, value: object) -> Callable[[Parts], None]:
    return lambda parts: parts[part].update({key: value})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set_part("oci-layout", "imageLayoutVersion", "2.0.0"), "has the version '2.0.0'"),
        (set_part("index", "manifests", []), "has 0 images, not one"),
        (set_part("index", "manifests", "x"), "has no list of manifests"),
        (set_part("index", "manifests", [{"digest": "sha256:" + "0" * 64}]), "which is not in it"),
        (set_part("index", "manifests", [{"digest": "sha256:../../x"}]), "which is not in it"),
        (set_part("index", "manifests", [None]), "which is not in it"),
        (set_part("manifest", "layers", None), "has no list of layers"),
        (set_part("manifest", "config", 7), "which is not in it"),
        (lambda parts: parts["manifest"]["layers"][0].update(size=1), "does not match its digest"),
        (set_part("config", "rootfs", {"diff_ids": ["sha256:0"]}), r"not that of its configuration"),
        (set_part("config", "rootfs", None), r"not that of its configuration"),
        (lambda parts: parts["more"].append(("../x", b"")), "leads out of it"),
        (lambda parts: parts["more"].append(("/x", b"")), "leads out of it"),
        (lambda parts: parts["more"].append(("index.json", b"")), r"index\.json twice"),
        (lambda parts: parts["more"].extend((f"n{number}", b"") for number in range(300)), "one too many"),
    ],
)
def test_what_is_no_image_is_refused(
    tmp_path: Path, work: Path, change: Callable[[Parts], None], said: str
) -> None:
    file = image(tmp_path, [layer_of([("disk/a.qcow2", qcow2(tmp_path), MINE)])], change)
    with pytest.raises(BuildError, match=said):
        container_disk.unpack(file, work)
    assert [path.name for path in tmp_path.glob("x*")] == []


def test_a_disk_that_reads_from_elsewhere_is_refused(tmp_path: Path, work: Path) -> None:
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw",
         tmp_path / "x.qcow2", "1M"],
        check=True,
    )  # fmt: skip
    file = image(tmp_path, [layer_of([("disk/x.qcow2", (tmp_path / "x.qcow2").read_bytes(), MINE)])])
    with pytest.raises(BuildError, match="reads from /etc/passwd"):
        container_disk.unpack(file, work)


def test_a_bomb_is_refused(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = gzip.compress(layer_of([("disk/a.img", bytes(8 << 20), MINE)]), mtime=0)
    file = image(tmp_path, [layer])
    monkeypatch.setattr(bounded, "LARGEST", 1 << 20)
    with pytest.raises(BuildError, match="a layer has more than"):
        container_disk.unpack(file, work)


@pytest.mark.parametrize("size", [0, 700, 20000, 200000])
def test_half_a_download_is_refused(written: Path, work: Path, size: int) -> None:
    with written.open("r+b") as stream:
        stream.truncate(size)
    with pytest.raises(BuildError):
        container_disk.unpack(written, work)
