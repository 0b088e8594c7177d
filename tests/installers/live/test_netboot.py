"""What boots the installer from the network: which programs are made, from what, and the menu beside them.

That it boots is in tests/vm/test_network_boot.py.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy.bootloader import GrubLayout
from imagebuild.deploy.target import Argv, File
from imagebuild.installers.live import netboot
from imagebuild.installers.treeinfo import NETWORK_BIOS, NETWORK_MENU, NETWORK_UEFI
from tests.golden import check_golden

GRUB = Path("/usr/lib/grub")
LAYOUT = GrubLayout(program="grub-mkimage", modules="/usr/lib/grub", directory="grub")


class Here:
    """A sandbox that is this machine, with its GRUB but for platforms that it `lacks`, in a directory."""

    def __init__(self, place: Path, lacks: tuple[str, ...] = ()) -> None:
        self._place, self._lacks = place, lacks
        self.ran: list[list[str]] = []

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        """Run programs with our files where they look for them."""
        del env
        said = ""
        for argv in commands:
            words = [str(word).replace(str(netboot.WORK), str(self._place)) for word in argv]
            self.ran.append(words)
            if words[-1].rpartition("/")[2] not in self._lacks:
                said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        return said

    def run_script(self, argv: Argv, script: str, *, root: PurePosixPath | None = None) -> None:
        """Refuse."""
        raise AssertionError((argv, script, root))

    def write(self, files: Mapping[PurePosixPath, File]) -> None:
        """Write files."""
        for path, file in files.items():
            (self._place / path.name).write_bytes(file.data)

    def read(self, path: PurePosixPath) -> bytes:
        """Return a file."""
        return (self._place / path.name).read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    assert shutil.which("grub-mkimage"), "the package grub-common is missing: run .ci/bootstrap"
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_a_program_is_made_for_each_platform_that_grub_has(tmp_path: Path, place: Path) -> None:
    made = netboot.make(Here(tmp_path), LAYOUT, place, "Test")
    expected = {NETWORK_MENU}
    expected |= {NETWORK_UEFI} if (GRUB / "x86_64-efi/efinet.mod").exists() else set()
    expected |= {NETWORK_BIOS} if (GRUB / "i386-pc/pxe.mod").exists() else set()
    assert set(made) == expected
    assert NETWORK_UEFI in made, "the package grub-efi-amd64-bin is missing: run .ci/bootstrap"
    assert made[NETWORK_UEFI].read_bytes()[:2] == b"MZ"
    assert b"configfile $cmdpath/grub.cfg" in made[NETWORK_UEFI].read_bytes()


def test_the_same_program_each_time(tmp_path: Path, place: Path) -> None:
    one = netboot.make(Here(tmp_path), LAYOUT, place, "Test")[NETWORK_UEFI].read_bytes()
    assert netboot.make(Here(tmp_path), LAYOUT, place, "Test")[NETWORK_UEFI].read_bytes() == one


def test_a_tree_whose_grub_cannot_do_it_gets_none(tmp_path: Path, place: Path) -> None:
    here = Here(tmp_path, lacks=("i386-pc", "x86_64-efi"))
    assert netboot.make(here, LAYOUT, place, "Test") == {}
    assert all(argv[0] == "sh" for argv in here.ran), "nothing was made"


def test_the_menu_is_as_it_was(request: pytest.FixtureRequest) -> None:
    check_golden(request, "netboot.cfg", netboot.menu("Debian 'Atomic' Host 12.2"))


def test_grub_understands_the_menu(tmp_path: Path) -> None:
    assert shutil.which("grub-script-check"), "the package grub-common is missing: run .ci/bootstrap"
    (tmp_path / "grub.cfg").write_text(netboot.menu("Test"))
    subprocess.run(["grub-script-check", tmp_path / "grub.cfg"], check=True)
