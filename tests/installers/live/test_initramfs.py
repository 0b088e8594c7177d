"""The live initramfs: an archive that cpio reads, the same bytes each time, with the modules that are needed
and all they need.
"""

import gzip
import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from imagebuild.config.places import template
from imagebuild.errors import BuildError
from imagebuild.installers.live import initramfs

KERNEL = "6.1.0-test"
DEP = """kernel/fs/isofs/isofs.ko: kernel/lib/cdrom.ko
kernel/lib/cdrom.ko:
kernel/drivers/usb/storage/usb-storage.ko.xz: kernel/drivers/usb/usbcore.ko.gz
kernel/drivers/usb/usbcore.ko.gz: kernel/drivers/usb/usb-common.ko.zst
kernel/drivers/usb/usb-common.ko.zst:
kernel/net/bluetooth/bluetooth.ko:
"""
ALIAS = "alias iso9660 isofs\nalias usb:v0* usb_storage\nalias bt-proto bluetooth\n"


def tree() -> dict[str, bytes]:
    zst = subprocess.run(["zstd", "-q", "-c"], input=b"common", capture_output=True, check=True).stdout
    place = f"usr/lib/modules/{KERNEL}"
    return {
        f"{place}/modules.dep": DEP.encode(),
        f"{place}/modules.alias": ALIAS.encode(),
        f"{place}/kernel/fs/isofs/isofs.ko": b"isofs",
        f"{place}/kernel/lib/cdrom.ko": b"cdrom",
        f"{place}/kernel/drivers/usb/storage/usb-storage.ko.xz": lzma.compress(b"storage"),
        f"{place}/kernel/drivers/usb/usbcore.ko.gz": gzip.compress(b"core"),
        f"{place}/kernel/drivers/usb/usb-common.ko.zst": zst,
        f"{place}/kernel/net/bluetooth/bluetooth.ko": b"bluetooth",
    }


def build(files: dict[str, bytes]) -> bytes:
    made = initramfs.build(files.get, KERNEL, volume_id="VOLUME", busybox=b"\x7fELF busybox")
    return made + initramfs.sums({"install.img": "a" * 64, "product.img": "b" * 64})


def test_the_archive_is_one_that_cpio_reads(tmp_path: Path) -> None:
    assert shutil.which("cpio"), "the package cpio is missing: run .ci/bootstrap"
    archive = build(tree())
    # as the kernel does: the archives one after the other
    first, trailer, second = gzip.decompress(archive).partition(b"TRAILER!!!\0")
    for part in (first + trailer + b"\0" * 512, second.lstrip(b"\0")):
        subprocess.run(["cpio", "-i", "-d", "--quiet"], input=part, cwd=tmp_path, check=True)
    modules = tmp_path / "lib/modules" / KERNEL
    found = {path.name: path.read_bytes() for path in modules.rglob("*.ko")}
    assert found == {
        "isofs.ko": b"isofs",
        "cdrom.ko": b"cdrom",
        "usb-storage.ko": b"storage",
        "usbcore.ko": b"core",
        "usb-common.ko": b"common",
    }
    assert (
        "kernel/drivers/usb/storage/usb-storage.ko: kernel/drivers/usb/usbcore.ko\n"
        in (modules / "modules.dep").read_text()
    )
    assert (modules / "modules.alias").read_text() == "alias iso9660 isofs\nalias usb:v0* usb_storage\n"
    assert (tmp_path / "volume-id").read_text() == "VOLUME\n"
    assert (tmp_path / "sums").read_text() == f"{'a' * 64}  install.img\n{'b' * 64}  product.img\n"
    assert (tmp_path / "bin/sh").readlink() == Path("busybox")
    assert (tmp_path / "init").stat().st_mode & 0o111


def test_the_same_inputs_give_the_same_bytes() -> None:
    assert build(tree()) == build(tree())


def test_a_tree_without_its_module_lists_is_refused() -> None:
    files = tree()
    del files[f"usr/lib/modules/{KERNEL}/modules.dep"]
    with pytest.raises(BuildError, match=r"has no /usr/lib/modules/6\.1\.0-test/modules\.dep"):
        build(files)
    files = tree()
    del files[f"usr/lib/modules/{KERNEL}/kernel/lib/cdrom.ko"]
    with pytest.raises(BuildError, match=r"names kernel/lib/cdrom\.ko, which is not there"):
        build(files)


@pytest.mark.parametrize("module", ["storage/usb-storage.ko.xz", "usbcore.ko.gz", "usb-common.ko.zst"])
@pytest.mark.parametrize("harm", [b"", b"no archive", "cut"])
def test_a_module_that_cannot_be_unpacked_is_named(module: str, harm: bytes | str) -> None:
    files, path = tree(), f"kernel/drivers/usb/{module}"
    whole = files[f"usr/lib/modules/{KERNEL}/{path}"]
    files[f"usr/lib/modules/{KERNEL}/{path}"] = harm if isinstance(harm, bytes) else whole[: len(whole) // 2]
    with pytest.raises(BuildError, match=f"{path} cannot be unpacked"):
        build(files)


def test_lists_of_modules_are_what_the_tree_says(tmp_path: Path) -> None:
    files, place = tree(), f"usr/lib/modules/{KERNEL}"
    files[f"{place}/modules.alias"] = b"\n\xff\xfe\n   \nalias iso9660 isofs\n"
    assert b"alias iso9660 isofs\n" in gzip.decompress(build(files))
    # a path that leads out of the modules' directory is none of them
    files[f"{place}/modules.dep"] = b"\xff\n\nkernel/../../../etc/isofs.ko:\n"
    files[f"{place}/kernel/../../../etc/isofs.ko"] = b"secret"
    with pytest.raises(BuildError, match="which is not there"):
        build(files)


def test_every_program_that_the_scripts_use_is_an_applet() -> None:
    there = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    assert set(initramfs.APPLETS) <= set(there)
    known = {*initramfs.APPLETS, "sh"}
    builtin = {
        *(
            "say",
            "fail",
            "read_arguments",
            "coldplug",
            "find_device",
            "wait_for_device",
            "check_medium",
            "whole_disk",
            "is_iso",
            "number_of",
            "open_medium",
            "start_network",
        ),
        *(
            "fetch_medium",
            "mount_image",
            "make_root",
            "for",
            "case",
            "while",
            "until",
            "if",
            "local",
            "exec",
            "export",
            "set",
            "return",
            "read",
            "exit",
        ),
    }
    for script in initramfs.DATA:
        file = template(script)
        subprocess.run(["busybox", "sh", "-n", file], check=True)
        for line in file.read_text().replace("\\\n", " ").splitlines():
            word = line.strip().split(" ")[0] if line.strip() else ""
            if word.isalpha() and word.islower() and word not in ("do", "done", "then", "else", "fi", "esac"):
                assert word in known | builtin, f"{script}: {line.strip()}"
