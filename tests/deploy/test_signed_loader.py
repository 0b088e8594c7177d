"""Where trees have a signed boot loader, and where its parts go on an ESP: Debian's own packages of this
machine, and the places of others.
"""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.architectures.registry import loader_of
from imagebuild.deploy import bootloader, grub_image, signed_loader
from imagebuild.deploy.bootloader import MENU_MODULES
from imagebuild.deploy.execute import execute
from imagebuild.deploy.signed_loader import UnsignedError, find_signed
from imagebuild.deploy.target import Argv
from imagebuild.errors import BuildError
from imagebuild.installers.live.backend import NEEDED
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Firmware
from imagebuild.tools import command
from tests import signed_parts as parts
from tests.fake_sandbox import FakeSandbox
from tests.kickstart.samples import BOTH, SMALL, read, rendered

X86 = loader_of("x86_64")
CSV = "shimx64.efi,debian,,This is the boot entry for debian\n"
FEDORA = {"shimx64.efi": b"shim", "mmx64.efi": b"mok", "fbx64.efi": b"fallback", "BOOTX64.CSV": b"csv"}


class Here(FakeSandbox):
    """This machine as a tree."""

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        return command.run([str(word) for word in commands[-1]], quiet=True)

    def read(self, path: PurePosixPath) -> bytes:
        return Path(path).read_bytes()


class Listed(FakeSandbox):
    """A tree of a few files, whose shell finds what a real one would."""

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        super().run(*commands)
        patterns = str(commands[-1][2]).removeprefix("set -- ").partition(";")[0].split()
        return "\n".join(
            path for path in self.answers for pattern in patterns if fnmatch.fnmatchcase(path, pattern)
        )

    def listing(self, path: str) -> list[str]:
        below = path.rstrip("/") + "/"
        return sorted({name[len(below) :].split("/")[0] for name in self.answers if name.startswith(below)})


def test_debians_signed_grub_says_where_it_looks_and_what_it_has() -> None:
    disk, medium = (grub_image.read(file.read_bytes()) for file in (parts.GRUB, parts.MEDIUM))
    assert (disk.prefix, medium.prefix) == ("/EFI/debian", "/boot/grub")
    assert {*MENU_MODULES, "ext2", "xfs", "lvm", "part_gpt", "part_msdos", "password_pbkdf2"} <= disk.modules
    assert set(NEEDED) <= medium.modules
    assert not {"blscfg", "blsuki"} & (disk.modules | medium.modules)


@pytest.mark.parametrize("data", [b"", parts.MOK.read_bytes(), b"mimg" * 9999])
def test_what_is_no_grub_image(data: bytes) -> None:
    with pytest.raises(BuildError, match="not a GRUB image"):
        grub_image.read(data)


@pytest.mark.parametrize("prefix", [b"(hd0)/debian", b"/EFI/../../x", b"EFI/debian.."])
def test_a_prefix_elsewhere(prefix: bytes) -> None:
    changed = parts.GRUB.read_bytes().replace(b"/EFI/debian\0", prefix + b"\0" * (12 - len(prefix)), 1)
    with pytest.raises(BuildError, match="looks for its configuration in"):
        grub_image.read(changed)


def test_debians_packages_on_a_disk() -> None:
    files = find_signed(Here(), MENU_MODULES, X86).on_disk("config")
    vendor, removable = PurePosixPath("EFI/debian"), PurePosixPath("EFI/BOOT")
    names = {str(path.relative_to(vendor)) for path in files if path.parent == vendor}
    assert names == {*("shimx64.efi", "grubx64.efi", "mmx64.efi", "fbx64.efi", "BOOTX64.CSV", "grub.cfg")}
    # no program there that makes boot entries, and resets machines with a TPM
    assert {path.name for path in files if path.parent == removable} == {
        *("BOOTX64.EFI", "grubx64.efi", "mmx64.efi")
    }
    assert files[removable / "BOOTX64.EFI"] == files[vendor / "shimx64.efi"] == parts.SHIM.read_bytes()
    assert files[vendor / "mmx64.efi"] == parts.MOK.read_bytes()
    assert files[vendor / "BOOTX64.CSV"].decode("utf-16-le") == CSV
    assert files[vendor / "grub.cfg"] == b"config"
    assert len(files) == 9


def test_debians_packages_on_a_medium() -> None:
    files = find_signed(Here(), NEEDED, X86, medium=True).on_medium("config")
    assert {str(path) for path in files} == {
        *("EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi", "EFI/BOOT/mmx64.efi", "boot/grub/grub.cfg")
    }
    assert files[PurePosixPath("EFI/BOOT/grubx64.efi")] == parts.MEDIUM.read_bytes()


@pytest.mark.parametrize(
    ("shim", "grub"),
    [
        ("/usr/lib/efi/shim/15.8-3/EFI/fedora", "/usr/lib/efi/grub2/1:2.12-28.fc42/EFI/fedora"),
        *[
            (f"{place}/EFI/centos", f"{place}/EFI/centos")
            for place in ("/usr/lib/bootupd/updates", "/usr/lib/ostree-boot/efi", "/boot/efi")
        ],
    ],
)
def test_the_places_of_others(shim: str, grub: str) -> None:
    answers = {f"{shim}/{name}": data for name, data in FEDORA.items()}
    answers |= {f"{grub}/grubx64.efi": parts.GRUB.read_bytes(), f"{shim}/../BOOT/fbx64.efi": b"other"}
    tree = Listed(answers | {str(PurePosixPath(shim).parent / "BOOT/shimx64.efi"): b"the copy"})
    files = find_signed(tree, MENU_MODULES, X86).on_disk("config")
    assert files[PurePosixPath("EFI/BOOT/BOOTX64.EFI")] == b"shim"
    assert files[PurePosixPath("EFI/debian/BOOTX64.CSV")] == b"csv"
    assert PurePosixPath("EFI/BOOT/fbx64.efi") not in files
    assert signed_loader.has_parts(tree.listing, X86) is None
    assert signed_loader.shim_in(tree.listing, X86) == PurePosixPath(shim) / "shimx64.efi"


def test_debians_parts_for_aarch64() -> None:
    # shim-signed, shim-helpers-arm64-signed and grub-efi-arm64-signed of Debian 12; inside of GRUB is amd64's
    places = ("/usr/lib/shim", "/usr/lib/grub/arm64-efi-signed")
    tree = Listed(
        {f"{places[0]}/{name}aa64.efi.signed": name.encode() for name in ("shim", "mm", "fb")}
        | {f"{places[1]}/grubaa64.efi.signed": parts.GRUB.read_bytes()}
    )
    files = find_signed(tree, MENU_MODULES, loader_of("aarch64")).on_disk("config")
    names = {str(path) for path in files}
    assert names == {
        *(f"EFI/BOOT/{name}" for name in ("BOOTAA64.EFI", "grubaa64.efi", "mmaa64.efi")),
        *(f"EFI/debian/{name}aa64.efi" for name in ("shim", "grub", "mm", "fb")),
        "EFI/debian/grub.cfg",
    }
    assert files[PurePosixPath("EFI/BOOT/BOOTAA64.EFI")] == b"shim"
    with pytest.raises(UnsignedError, match="no shim and no signed GRUB"):
        find_signed(tree, MENU_MODULES, X86)


LACKING: Sequence[tuple[Sequence[str], str]] = [
    ((), "no shim and no signed GRUB"),
    (
        ["/usr/lib/shim/shimx64.efi.signed"],
        "has shim (/usr/lib/shim/shimx64.efi.signed), but no signed GRUB",
    ),
    (
        ["/usr/lib/ostree-boot/efi/EFI/fedora/shimx64.efi"],
        "has shim (/usr/lib/ostree-boot/efi/EFI/fedora/shimx64.efi), but no signed GRUB",
    ),
    (
        ["/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"],
        "has a signed GRUB (/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed), but no shim",
    ),
]


@pytest.mark.parametrize(("files", "says"), LACKING)
def test_a_tree_without_a_part(files: Sequence[str], says: str) -> None:
    tree = Listed(dict.fromkeys(files, b"x"))
    with pytest.raises(UnsignedError) as caught:
        find_signed(tree, (), X86)
    assert says in caught.value.message
    assert says in str(signed_loader.has_parts(tree.listing, X86))


def test_a_grub_without_a_module_that_is_needed() -> None:
    with pytest.raises(UnsignedError, match=r"has no blscfg built in"):
        find_signed(Here(), ["normal", "blscfg"], X86)


def small_esp(size: int) -> str:
    lines = SMALL.replace("part /boot ", f"part /boot/efi --size={size} --fstype=efi\npart /boot ")
    return lines.replace("clearpart --all", "clearpart --all --disklabel=gpt").replace(
        "part pv.01", "part biosboot --fstype=biosboot --size=1\npart pv.01"
    )


def test_an_esp_too_small_is_told_with_the_size_that_it_needs() -> None:
    files = find_signed(Here(), MENU_MODULES, X86).on_disk("config")
    needed = bootloader.room_for(files) >> 20
    plan = read(small_esp(needed - 1), firmware=BOTH)
    with pytest.raises(BuildError) as caught:
        bootloader.check_room(plan, files)
    assert f"which needs {needed} MiB" in caught.value.message
    assert f"--size={needed}" in caught.value.hint
    bootloader.check_room(read(small_esp(needed), firmware=BOTH), files)


@pytest.mark.parametrize("size", [0, 64, 200])
def test_what_is_said_to_have_room_has_it(tmp_path: Path, size: int) -> None:
    files = find_signed(Here(), MENU_MODULES, X86).on_disk("config" * 1000)
    bytes_ = max(size << 20, bootloader.room_for(files))
    image = tmp_path / "esp.img"
    with image.open("wb") as stream:
        stream.truncate(bytes_)
    command.run(["mkfs.vfat", "--invariant", "-F", "32" if bytes_ >= 64 << 20 else "16", image])
    bootloader.fill_with_mtools(image, files)
    listed = command.run(["mdir", "-/", "-b", "-i", image, "::"], quiet=True)
    assert {f"::/{path}" for path in files} <= set(listed.splitlines())


def test_the_demos_esp_has_room() -> None:
    text, syntax = rendered("debian-12")
    plan = read(text, syntax=syntax, firmware=BOTH)
    bootloader.check_room(plan, find_signed(Here(), MENU_MODULES, X86).on_disk("config"))
    assert Firmware.UEFI_SECURE in plan.firmware


UEFI = frozenset({Firmware.UEFI})


def test_the_configuration_beside_a_signed_grub_leads_to_boot() -> None:
    plan = read(small_esp(64), firmware=UEFI)
    loader = bootloader.make_loader(Here(), plan)
    assert loader.unsigned is None
    config = loader.esp[PurePosixPath("EFI/debian/grub.cfg")].decode()
    assert f"search --no-floppy --fs-uuid --set=root {plan.uuid('boot')}\n" in config
    assert config.endswith(f"configfile ($root)/{loader.directory}/grub.cfg\n")


def test_nothing_of_a_disk_is_touched_before_its_esp_is_known_to_have_room() -> None:
    class Disk(Here):
        """A target of which nothing may be asked."""

        def prepare(self, plan: Plan) -> None:
            raise AssertionError("file systems are made")

        def reopen(self, plan: Plan, *, read_only: bool) -> None: ...

        def grow(self, name: str, fstype: str, place: PurePosixPath) -> None: ...

        def finish(self, plan: Plan) -> None: ...

    with pytest.raises(BuildError, match="has no room for the tree's boot loader"):
        execute(read(small_esp(4), firmware=UEFI), Disk(), commit="c" * 64)


def test_without_signed_parts_the_tree_makes_its_own_and_the_reason_is_kept() -> None:
    class Plain(Listed):
        """A tree with GRUB's tools."""

        def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
            return super().run(*commands) if "set -- " in str(commands) else "/usr/bin/grub-mkimage"

    tree = Plain({"/run/grub/bootx64.efi": b"MZ made", "/usr/lib/shim/shimx64.efi.signed": b"x"})
    loader = bootloader.make_loader(tree, read(small_esp(64), firmware=UEFI))
    assert loader.esp == {PurePosixPath("EFI/BOOT/BOOTX64.EFI"): b"MZ made"}
    assert "but no signed GRUB" in str(loader.unsigned)


def test_a_loader_for_aarch64_is_made_by_its_own_platform() -> None:
    class Plain(Listed):
        """A tree with GRUB's tools for that platform."""

        def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
            if "set -- " in str(commands):
                return super().run(*commands)
            FakeSandbox.run(self, *commands)
            return "/usr/bin/grub-mkimage"

    tree = Plain({"/run/grub/bootaa64.efi": b"MZ made"})
    text = small_esp(64).replace("part biosboot --fstype=biosboot --size=1\n", "")
    plan = replace(read(text, firmware=UEFI), arch="aarch64")
    loader = bootloader.make_loader(tree, plan)
    assert loader.esp == {PurePosixPath("EFI/BOOT/BOOTAA64.EFI"): b"MZ made"}
    (made,) = (argv for argv in tree.commands if "-O" in argv)
    assert made[made.index("-O") + 1] == "arm64-efi"
    assert "/usr/lib/grub/arm64-efi" in made
    # the firmware's console is on the serial line already
    early = tree.files[PurePosixPath("/run/grub/early.cfg")].data.decode()
    assert early.startswith("search ")
