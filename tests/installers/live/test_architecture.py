"""The live installer's medium for machines that have UEFI only, and are not of the builder's architecture."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from imagebuild.deploy.bootloader import LAYOUTS
from imagebuild.deploy.target import Argv
from imagebuild.errors import BuildError
from imagebuild.installers import check
from imagebuild.installers.live import initramfs, menu, netboot
from imagebuild.installers.treeinfo import NETWORK_UEFI
from imagebuild.kinds import Firmware
from imagebuild.tools import command, iso, iso_writer
from tests.fake_sandbox import FakeSandbox

# elf(5): the first bytes of a program for aarch64
ARM = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x02\x00\xb7\x00" + b"\0" * 44


def test_an_iso_without_bios_boots_under_uefi(tmp_path: Path) -> None:
    esp = tmp_path / "esp.img"
    with esp.open("wb") as stream:
        stream.truncate(4 << 20)
    command.run(["mkfs.vfat", "--invariant", "-F", "12", esp])
    (tmp_path / "discinfo").write_text("1\n12.1\naarch64\n")
    serial = "00000000-0000-4000-8000-000000000000"
    for name in ("one.iso", "other.iso"):
        iso_writer.write(
            tmp_path / name,
            {".discinfo": tmp_path / "discinfo"},
            volume="Arm-12",
            bios=None,
            esp=esp,
            epoch=1_700_000_000,
            serial=serial,
        )
    image = tmp_path / "one.iso"
    assert [entry.platform for entry in iso.boot_entries(image)] == ["UEFI"]
    assert image.read_bytes() == (tmp_path / "other.iso").read_bytes()


def test_what_such_a_medium_need_not_have_is_not_missed() -> None:
    facts = {
        "missing": [], "volume_id": "V", "boot": ["UEFI"], "md5": "x", "md5_holds": True,
        "labels": {"menu": ["V"]}, "kickstarts": {}, "repo": "r", "commits": ["c"], "refs": {"heads/r": "c"},
        "mode": "bare", "remotes": [],
    }  # fmt: skip

    def problems(*, bios: bool) -> list[str]:
        return check.problems(facts, volume_id="V", commit="c", ref="r", unattended=False, bios=bios)

    assert problems(bios=False) == []
    assert problems(bios=True) == ["it does not boot under BIOS"]


def test_its_menu_talks_to_its_own_serial_line() -> None:
    found = menu.entries("Host", "V", Firmware.UEFI, None, "aarch64")
    assert "console=tty0 console=ttyAMA0" in found[0].lines[0]
    assert "console=ttyAMA0" in netboot.menu("Host", "aarch64")


def test_the_network_boots_it_under_uefi_only(tmp_path: Path) -> None:
    class Tree(FakeSandbox):
        """A tree whose GRUB has every module."""

        def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
            super().run(*commands)
            return "\n".join(f"{name}.mod" for name in (*netboot.MODULES, "efinet", "efi_gop", "all_video"))

    tree = Tree({"/run/grub-net/grub-uefi.efi": b"MZ"})
    made = netboot.make(tree, LAYOUTS[0], tmp_path, "Host", "aarch64")
    assert set(made) == {NETWORK_UEFI, "images/pxeboot/grub.cfg"}
    (argv,) = (argv for argv in tree.commands if "-O" in argv)
    assert argv[argv.index("-O") + 1] == "arm64-efi"


def test_the_initramfs_has_a_busybox_that_runs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "builder_architecture", lambda: "x86_64")
    assert initramfs.static_busybox(lambda _: ARM, "aarch64") == ARM
    assert initramfs.static_busybox(lambda _: ARM, "x86_64") == Path("/bin/busybox").read_bytes()
    for wrong in (None, b"#!/bin/sh\n", ARM.replace(b"\xb7", b"\x3e"), ARM + b"/lib/ld-linux-aarch64.so.1"):
        there = {"usr/bin/busybox": wrong} if wrong is not None else {}
        with pytest.raises(BuildError, match="needs a static busybox for aarch64") as caught:
            initramfs.static_busybox(there.get, "aarch64")
        assert "busybox-static" in caught.value.hint
