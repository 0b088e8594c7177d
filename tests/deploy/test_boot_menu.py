"""Which menu GRUB shows: a shell looks at a tree, and GRUB's own tools check what is written."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import boot_menu
from imagebuild.deploy.boot_menu import TreeGrub
from imagebuild.deploy.target import Argv
from imagebuild.errors import BuildError
from imagebuild.kinds import BootMenu
from imagebuild.tools import command
from tests.data import ROOT
from tests.fake_sandbox import FakeSandbox
from tests.kickstart.samples import SMALL, read

BLS = TreeGrub(platforms={"x": frozenset({"normal", "blsuki"})}, asks_for_entries=False, has_generator=True)
OLD = replace(BLS, platforms={"x": frozenset({"normal"})})
ASKED = replace(BLS, asks_for_entries=True)
ENTRY = "title Host 2 (ostree:0)\nversion 2\noptions root=LABEL=a|b ostree=/ostree/boot.1/x/0 rw\n"
ENTRY += "linux /ostree/x-1/vmlinuz\ninitrd /ostree/x-1/initramfs.img\n"


@dataclass
class Below(FakeSandbox):
    """A directory as a tree: a real shell looks at it."""

    root: Path = Path()

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        said = ""
        for argv in commands:
            words = [f"{self.root}{word}" if str(word).startswith("/") else str(word) for word in argv]
            said = command.run(words, quiet=True)
        return said

    def put(self, path: str, text: str = "x", mode: int = 0o644) -> None:
        file = Path(f"{self.root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)


@pytest.fixture
def tree(tmp_path: Path) -> Below:
    made = Below(root=tmp_path)
    for platform in ("i386-pc", "x86_64-efi"):
        made.put(f"/usr/lib/grub/{platform}/normal.mod")
    return made


PLATFORMS = ("/usr/lib/grub/i386-pc", "/usr/lib/grub/x86_64-efi")


@pytest.mark.parametrize("reader", boot_menu.READERS)
def test_a_tree_whose_grub_reads_entries_and_that_has_no_generator(tree: Below, reader: str) -> None:
    for platform in PLATFORMS:
        tree.put(f"{platform}/{reader}.mod")
    found = boot_menu.look(tree, PLATFORMS)
    assert (found.reader, found.preferred) == (reader, BootMenu.ENTRIES)
    assert "normal" in found.modules


def test_a_module_on_one_platform_only_does_not_count(tree: Below) -> None:
    tree.put(f"{PLATFORMS[0]}/blsuki.mod")
    assert boot_menu.look(tree, PLATFORMS).reader is None
    assert boot_menu.look(tree, PLATFORMS[:1]).reader == "blsuki"


@pytest.mark.parametrize(
    ("defaults", "menu"),
    [
        ("GRUB_TIMEOUT=1\nGRUB_ENABLE_BLSCFG=true\n", BootMenu.ENTRIES),
        ('GRUB_ENABLE_BLSCFG="true"\n', BootMenu.ENTRIES),
        ("GRUB_ENABLE_BLSCFG=false\n", BootMenu.GENERATED),
        ("#GRUB_ENABLE_BLSCFG=true\n", BootMenu.GENERATED),
        ("", BootMenu.GENERATED),
    ],
)
def test_a_tree_with_a_generator_says_it_in_its_defaults(tree: Below, defaults: str, menu: BootMenu) -> None:
    tree.put("/usr/sbin/grub2-mkconfig", "#!/bin/sh\n", 0o755)
    tree.put("/usr/etc/default/grub", defaults)
    for platform in PLATFORMS:
        tree.put(f"{platform}/blscfg.mod")
    found = boot_menu.look(tree, PLATFORMS)
    assert found.has_generator
    assert found.preferred is menu


def test_a_tree_asks_for_what_its_grub_cannot_do(tree: Below) -> None:
    tree.put("/usr/etc/default/grub", "GRUB_ENABLE_BLSCFG=true\n")
    assert boot_menu.look(tree, PLATFORMS).preferred is BootMenu.GENERATED


@pytest.mark.parametrize(
    ("asked", "tree_grub", "says"),
    [
        (BootMenu.ENTRIES, OLD, "no module blscfg or blsuki"),
        (BootMenu.GENERATED, replace(BLS, has_generator=False), "nothing that generates one"),
    ],
)
def test_a_kickstart_asks_for_what_the_tree_cannot_have(
    asked: BootMenu, tree_grub: TreeGrub, says: str
) -> None:
    plan = replace(read(SMALL), boot_menu=asked)
    with pytest.raises(BuildError, match=says) as caught:
        boot_menu.check_asked(plan, tree_grub)
    assert f"--boot-menu={asked}" in caught.value.hint
    boot_menu.check_asked(replace(plan, boot_menu=None), tree_grub)


@pytest.mark.parametrize(
    ("asked", "tree_grub", "image", "menu", "lacks"),
    [
        (None, BLS, {"normal"}, BootMenu.GENERATED, False),
        # the signed image decides where nobody asked
        (None, ASKED, {"normal"}, BootMenu.GENERATED, False),
        (None, ASKED, {"blscfg"}, BootMenu.ENTRIES, False),
        (None, replace(BLS, has_generator=False), {"normal"}, BootMenu.ENTRIES, True),
        (BootMenu.ENTRIES, BLS, {"normal"}, BootMenu.ENTRIES, True),
        (BootMenu.ENTRIES, BLS, {"blsuki"}, BootMenu.ENTRIES, False),
        (BootMenu.GENERATED, ASKED, {"blscfg"}, BootMenu.GENERATED, False),
    ],
)
def test_what_a_signed_image_can_show(
    asked: BootMenu | None, tree_grub: TreeGrub, image: set[str], menu: BootMenu, lacks: bool
) -> None:
    plan = replace(read(SMALL), boot_menu=asked)
    got = boot_menu.readable(boot_menu.chosen(plan, tree_grub), plan, tree_grub, image)
    assert got is menu
    assert (boot_menu.lacking(got, image) is not None) is lacks


def installed(menu: BootMenu) -> FakeSandbox:
    target = FakeSandbox()
    boot_menu.install(menu, read(SMALL), target, "grub")
    return target


def test_a_menu_of_entries_is_a_file_that_never_changes(tmp_path: Path) -> None:
    target = installed(BootMenu.ENTRIES)
    text = target.files[PurePosixPath("/sysroot/boot/grub/grub.cfg")].data.decode()
    assert re.search(r"^blscfg$", text, re.MULTILINE)
    assert "set timeout=1\n" in text
    (tmp_path / "grub.cfg").write_text(text)
    command.run(["grub-script-check", tmp_path / "grub.cfg"])
    assert ("ostree", "--repo=/sysroot/ostree/repo", "config", "set", "sysroot.bootloader", "none") in (
        target.commands
    )


def test_a_generated_menu_is_libostrees() -> None:
    target = installed(BootMenu.GENERATED)
    assert ("ln", "-s", "../loader/grub.cfg", "/sysroot/boot/grub/grub.cfg") in target.commands
    assert not any("config" in argv for argv in target.commands)


@pytest.mark.parametrize("menu", BootMenu)
def test_grub_edits_the_environment_block(tmp_path: Path, menu: BootMenu) -> None:
    block = tmp_path / "grubenv"
    block.write_bytes(installed(menu).files[PurePosixPath("/sysroot/boot/grub/grubenv")].data)
    command.run(["grub-editenv", block, "set", "next_entry=ostree-1-host"])
    assert command.run(["grub-editenv", block, "list"]) == "next_entry=ostree-1-host\n"
    assert block.read_bytes() == boot_menu.environment_block(next_entry="ostree-1-host")


def test_no_entries_are_told_when_the_disk_is_made(tmp_path: Path) -> None:
    target = Below(root=tmp_path)
    with pytest.raises(BuildError, match="no boot loader entry"):
        boot_menu.check_entries(target)
    target.put("/sysroot/boot/loader/entries/ostree-1.conf", ENTRY)
    boot_menu.check_entries(target)


def test_the_demos_generator_makes_a_menu_whose_entries_can_be_chosen_once(tmp_path: Path) -> None:
    entries = tmp_path / "loader.1" / "entries"
    entries.mkdir(parents=True)
    for number in (1, 2):
        text = ENTRY.replace("Host 2 (ostree:0)", f"Host {number}").replace("version 2", f"version {number}")
        (entries / f"ostree-{number}-host.conf").write_text(text)
    menu = tmp_path / "loader.1" / "grub.cfg"
    subprocess.run(["sh", ROOT / "templates/compose/grub_menu.sh", "-o", menu], check=True)
    command.run(["grub-script-check", menu])
    text = menu.read_text()
    assert re.findall(r"^menuentry '(.*)' --unrestricted --id '(.*)' {", text, re.MULTILINE) == [
        ("Host 2", "ostree-2-host"),
        ("Host 1", "ostree-1-host"),
    ]
    assert "/ostree/x-1/vmlinuz root=LABEL=a\\|b ostree=/ostree/boot.1/x/0 rw\n" in text
    assert text.index("save_env next_entry") < text.index("menuentry")


# GRUB's scripts are the shell's, but for `set` and its own commands (GRUB's manual, "Shell-like scripting")
AS_SHELL = """load_env() {{ :; }}
save_env() {{ eval "echo $1=\\$$1"; }}
{variables}
prefix=/nowhere
"""


@pytest.mark.parametrize(
    ("counter", "success", "default", "saved"),
    [
        ("", "", "0", ""),
        ("3", "1", "0", ""),
        ("3", "0", "0", "2"),
        ("1", "0", "0", "0"),
        ("0", "0", "1", "-1"),
        ("-1", "0", "1", "-1"),
        ("20", "0", "0", "9"),
    ],
)
def test_boots_of_a_new_deployment_are_counted(counter: str, success: str, default: str, saved: str) -> None:
    """As Fedora's menus do (grub2 2.06 of Fedora 38, util/grub.d/08_fallback_counting.in): at the end of the
    count the second entry, the release before, is the default.
    """
    menu = boot_menu.static_menu(1)
    text = menu[: menu.index('if [ -n "${next_entry}"')].replace("set default", "default")
    text = text.replace("set timeout", "timeout").replace("set boot_counter", "boot_counter")
    head = AS_SHELL.format(variables=f"boot_counter={counter} boot_success={success}")
    said = subprocess.run(
        ["sh", "-c", f'{head}{text}echo "default=$default"'], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert said[-1] == f"default={default}"
    assert said[:-1] == ([f"boot_counter={saved}"] if saved else [])


def test_entries_are_looked_for_where_each_grub_does() -> None:
    menu = boot_menu.static_menu(1)
    assert menu.index('set boot="${root}"\n') < menu.index("\nblscfg\n")
