"""A finished installer ISO is looked into; whatever is wrong with it is said. And the stages around it."""

import contextlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from imagebuild.config.smoke import SmokeConfig
from imagebuild.deploy.live_system import LiveSystem
from imagebuild.errors import BuildError, CriteriaError
from imagebuild.installers import check
from imagebuild.installers.live import product
from imagebuild.installers.treeinfo import write_treeinfo
from imagebuild.installers.unattended import menu_facts
from imagebuild.kinds import Firmware
from imagebuild.live import install
from imagebuild.live.install import MediumRelease
from imagebuild.model import IsoImage
from imagebuild.smoke import installation
from imagebuild.smoke.boot_menu import InstallationError
from imagebuild.smoke.criterion import INSTALLS
from imagebuild.stages.install import install_iso
from imagebuild.tools import iso
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.console import INSTALLER_FATAL, fatal_line, installer_phase
from imagebuild.tools.menus.menu import MenuLoader
from tests.fake_sandbox import FakeSandbox
from tests.installers.unattended.media import make_iso, medium_of
from tests.stages.trees import TREE

COMMIT = "ab" * 32
GOOD: dict[str, object] = {
    "volume_id": "V",
    "md5": "x",
    "md5_holds": True,
    "boot": ["BIOS", "UEFI"],
    "missing": [],
    "labels": {"/boot/grub2/grub.cfg": ["V"]},
    "kickstarts": {"/boot/grub2/grub.cfg": ["hd:LABEL=V:/ks.cfg"]},
    "repo": "ostree/repo",
    "commits": [COMMIT],
    "refs": {"heads/a/b": COMMIT},
    "mode": "bare",
    "remotes": [],
}
ACCELERATOR = Accelerator(name="tcg", slowness=1.0, reason="test")


def found(**changed: object) -> list[str]:
    return check.problems(GOOD | changed, volume_id="V", commit=COMMIT, ref="a/b", unattended=True)


def test_a_good_one_has_no_problems() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"volume_id": "Fedora 26"}, "its volume id is 'Fedora 26', not 'V'"),
        ({"boot": ["BIOS"]}, "it does not boot under UEFI"),
        ({"boot": []}, "it does not boot under BIOS"),
        ({"missing": ["/.discinfo"]}, "it has no /.discinfo"),
        ({"md5": ""}, "it has no media checksum"),
        ({"md5_holds": False}, "its media checksum does not hold"),
        ({"labels": {"/boot/grub2/grub.cfg": ["V", "W"]}}, "its boot menu looks for W, not V"),
        ({"labels": {}}, "it has no boot menu"),
        ({"kickstarts": {"/EFI/BOOT/grub.cfg": []}}, "/EFI/BOOT/grub.cfg has no entry with a kickstart"),
        ({"repo": ""}, "it has no embedded repository"),
        ({"commits": ["cd" * 32]}, f"its repository holds {'cd' * 32}, not just {COMMIT}"),
        ({"commits": [COMMIT, "cd" * 32]}, "not just"),
        ({"commits": []}, "its repository holds no commit"),
        ({"refs": {"heads/a/b": "cd" * 32}}, f"its repository has a/b at {'cd' * 32}"),
        ({"refs": {}}, "its repository has a/b at nothing"),
        ({"mode": "archive-z2"}, "is of mode 'archive-z2', not bare"),
        ({"remotes": ['remote "compose"']}, "keeps a remote of the build host"),
    ],
)
def test_every_problem_is_said(changed: dict[str, object], problem: str) -> None:
    assert any(problem in each for each in found(**changed)), found(**changed)


def test_an_iso_is_read_not_believed(tmp_path: Path) -> None:
    """No repository inside, a byte changed after the checksum was implanted: both are found."""
    image = make_iso(tmp_path)
    (tmp_path / "w").mkdir()
    facts = check.look_into(image, tmp_path / "w")
    assert (facts["volume_id"], facts["boot"], facts["md5_holds"], facts["missing"]) == (
        "Fedora-27",
        ["BIOS", "UEFI"],
        True,
        ["/images/install.img"],
    )
    # the third is what UEFI really reads
    assert facts["labels"] == {
        name: ["Fedora-27"] for name in ("/boot/grub2/grub.cfg", "/EFI/BOOT/grub.cfg", "the ESP's grub.cfg")
    }
    place = iso.offset_of(image, "/images/pxeboot/vmlinuz")
    with image.open("r+b") as stream:
        stream.seek(place)
        stream.write(b"KERNEL")
    assert check.look_into(image, tmp_path / "w")["md5_holds"] is False


MENU = (
    "search --no-floppy --set=root -l 'TEST-1'\nmenuentry 'Install' {\n  linux /k inst.stage2=hd:LABEL=TEST-1"
    " inst.ks=hd:LABEL=TEST-1:/ks.cfg\n  initrd /i\n}\n"
)
ISOLINUX_CFG = "default vesamenu.c32\ntimeout 600\ninclude entries.cfg\n"
ENTRIES_CFG = (
    "label linux\n  kernel vmlinuz\n  append initrd=initrd.img inst.stage2=hd:LABEL=TEST-1"
    " inst.ks=cdrom:/ks.cfg\n"
)
SEARCHES = (
    "search --no-floppy --set=root -l 'OTHER'",
    'search -l "OTHER" --set=root',
    "search -l OTHER -s root",
    "search --label --set root OTHER",
    "search --set=root -l OTHER --hint cd0",
    "search.fs_label 'OTHER' root",
    "search --set OTHER -l",
    "if search -nls root OTHER; then true; fi",
    "function look {\n  search -l OTHER --set=root\n}",
)


def looked_into(
    tmp_path: Path, bios: Mapping[str, str], uefi: str, *, appended: bool = False
) -> dict[str, object]:
    (tmp_path / "w").mkdir()
    return check.look_into(
        medium_of(tmp_path, bios, {"/EFI/BOOT/grub.cfg": uefi}, appended=appended), tmp_path / "w"
    )


@pytest.mark.parametrize("appended", [True, False], ids=["appended ESP", "ESP as a file"])
def test_the_menu_in_the_esp_is_read_wherever_the_esp_is(tmp_path: Path, appended: bool) -> None:
    """images/efiboot.img is a file of the ISO with lorax 24 … 36."""
    bios = {"/isolinux/isolinux.cfg": ISOLINUX_CFG, "/isolinux/entries.cfg": ENTRIES_CFG}
    facts = looked_into(
        tmp_path,
        bios,
        MENU.replace("LABEL=TEST-1", "LABEL=OTHER").replace("inst.ks=", "x="),
        appended=appended,
    )
    assert facts["labels"] == {
        "/isolinux/isolinux.cfg": [],
        "/isolinux/entries.cfg": ["TEST-1"],
        "the ESP's grub.cfg": ["OTHER", "TEST-1"],
    }
    assert facts["kickstarts"] == {"/isolinux/isolinux.cfg": ["cdrom:/ks.cfg"], "the ESP's grub.cfg": []}
    problems = check.problems(facts, volume_id="TEST-1", commit=COMMIT, ref="a/b", unattended=True)
    assert "its boot menu looks for OTHER, not TEST-1" in problems
    assert "the ESP's grub.cfg has no entry with a kickstart" in problems


@pytest.mark.parametrize("line", SEARCHES)
def test_a_label_is_read_as_grub_reads_it(line: str) -> None:
    assert menu_facts.labels(f"{line}\n# search -l COMMENT\n", MenuLoader.GRUB) == {"OTHER"}


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        ("inst.stage2=hd:LABEL=My\\x20Disk", "My Disk"),
        ("root=live:CDLABEL=X", "X"),
        ("'inst.repo=hd:LABEL=X:/a'", "X"),
        ('"inst.ks=hd:LABEL=My Disk:/ks.cfg"', "My"),
    ],
)
def test_labels_of_arguments_are_read_without_quotes(argument: str, found: str) -> None:
    assert menu_facts.labels(f"menuentry A {{\n  linux /k {argument} quiet\n}}\n", MenuLoader.GRUB) == {found}


def test_a_trampoline_in_the_esp_has_its_menu_elsewhere(tmp_path: Path) -> None:
    facts = looked_into(
        tmp_path,
        {
            "/isolinux/isolinux.cfg": ISOLINUX_CFG,
            "/isolinux/entries.cfg": ENTRIES_CFG,
            "/boot/grub2/grub.cfg": MENU,
        },
        'search --set=root -l "TEST-1"\nconfigfile /boot/grub2/grub.cfg\n',
    )
    assert facts["kickstarts"] == {
        "/isolinux/isolinux.cfg": ["cdrom:/ks.cfg"],
        "/boot/grub2/grub.cfg": ["hd:LABEL=TEST-1:/ks.cfg"],
    }
    assert facts["labels"] == {
        "/isolinux/isolinux.cfg": [],
        "/isolinux/entries.cfg": ["TEST-1"],
        "the ESP's grub.cfg": ["TEST-1"],
        "/boot/grub2/grub.cfg": ["TEST-1"],
    }


def test_a_firmware_without_a_menu_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    facts = looked_into(tmp_path, {"/elsewhere.cfg": ""}, MENU)
    problems = check.problems(facts, volume_id="TEST-1", commit=COMMIT, ref="a/b", unattended=True)
    assert any(
        "its boot menu cannot be read: in.iso has no boot menu that is known here for BIOS"
        " (/isolinux/isolinux.bin)" in problem
        for problem in problems
    )


def test_treeinfo_is_what_productmd_reads(tmp_path: Path) -> None:
    from productmd.treeinfo import TreeInfo

    file = tmp_path / "treeinfo"
    write_treeinfo(file, "Fedora", "26", "Atomic", TREE, 1500000000)
    read = TreeInfo()
    read.load(str(file))
    assert (read.release.short, read.release.version, read.tree.arch, read.tree.build_timestamp) == (
        "Fedora",
        "26",
        TREE.arch,
        1500000000,
    )
    assert read.images.images[TREE.arch]["kernel"] == "images/pxeboot/vmlinuz"
    assert read.stage2.mainimage == "images/install.img"


# --- the program on the medium ------------------------------------------------------------------------------


def test_the_program_needs_nothing_that_a_tree_may_lack() -> None:
    """Only the standard library, pykickstart and our own modules: in the live system nothing else is
    there.
    """
    import ast
    import sys

    files = product.program_files()
    ours = {path: data for path, data in files.items() if path.parts[0] == "imagebuild"}
    assert {"live", "deploy", "tools"} <= {path.parts[1] for path in ours if len(path.parts) > 2}
    known = {*sys.stdlib_module_names, "imagebuild", "pykickstart"}
    for path, data in ours.items():
        for node in ast.walk(ast.parse(data)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert {name.partition(".")[0] for name in names} <= known, f"{path} imports {names}"


def test_the_stand_in_for_requests_is_all_that_pykickstart_wants(tmp_path: Path) -> None:
    import subprocess
    import sys

    for path, data in product.program_files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    text = "import pykickstart.load, requests; from imagebuild.live import install; print(requests.__file__)"
    argv = [sys.executable, "-S", "-P", "-c", text]
    said = subprocess.run(
        argv, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(str(tmp_path))


def test_keys_are_found_whatever_they_are_called(tmp_path: Path) -> None:
    facts = product.ProductFacts(
        product="P", version="1", ref="a/b", commit=COMMIT, kernel="6.1", syntax="F28", signed=True
    )
    product.write_tree(tmp_path, facts, "text\n", [b"one", b"two"], _archive_of({}))
    release = MediumRelease.read(tmp_path / product.PLACE)
    assert [key.read_bytes() for key in release.keys] == [b"one", b"two"]
    assert (release.signed, release.commit) == (True, COMMIT)


def test_a_signed_commit_without_its_keys_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "local_target", lambda *_: contextlib.nullcontext(FakeSandbox()))
    release = MediumRelease(
        product="P", version="1", ref="a/b", commit=COMMIT, kernel="6.1", syntax="F28", signed=True, keys=()
    )
    with pytest.raises(
        BuildError, match="the keys that the commit must be signed with are not on this medium"
    ):
        install.verify(LiveSystem(tree=Path("/x"), medium=frozenset()), release)


def _archive_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def test_what_the_trees_tar_made_stays_where_it_belongs(tmp_path: Path) -> None:
    facts = product.ProductFacts(
        product="P", version="1", ref="a/b", commit=COMMIT, kernel="6.1", syntax="F28", signed=False
    )
    product.write_tree(
        tmp_path / "p",
        facts,
        "",
        [],
        _archive_of({"./imagebuild/a.py": b"a", "../../../../out": b"x", "/etc/out": b"x"}),
    )
    assert (tmp_path / "p" / product.PLACE / "imagebuild/a.py").read_bytes() == b"a"
    assert not list(tmp_path.rglob("out"))


class Tree:
    """A sandbox whose python3 is of a version."""

    def __init__(self, version: str) -> None:
        self.version = version

    def run(self, *commands: Any, env: Any = None) -> str:
        del commands, env
        return self.version + "\n"


@pytest.mark.parametrize(("version", "shown"), [("3 6", "3.6"), ("none", "none")])
def test_a_tree_whose_python_is_too_old_is_told_to_use_lorax(version: str, shown: str) -> None:
    with pytest.raises(BuildError, match=rf"needs Python 3\.11 in the tree, which has {shown}") as caught:
        product.compile_program(Tree(version))  # type: ignore[arg-type]
    assert "lorax" in caught.value.hint


# --- the installation as a stage ----------------------------------------------------------------------------


def image(tmp_path: Path, *, unattended: bool = True) -> IsoImage:
    return IsoImage(
        file=tmp_path / "a.iso",
        name="a.iso",
        backend="live",
        volume_id="V",
        commit=COMMIT,
        md5="x",
        unattended=unattended,
        treeinfo=tmp_path / "t",
        size=1,
        sha256="x",
    )


def test_a_medium_that_does_not_install_is_a_failed_criterion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise InstallationError("the medium did not install: no")

    monkeypatch.setattr(installation, "install", fail)
    with pytest.raises(CriteriaError, match=r"a\.iso under uefi: the medium did not install") as caught:
        install_iso(tmp_path, TREE, image(tmp_path), Firmware.UEFI, 8192, SmokeConfig(user="u"), ACCELERATOR)
    assert caught.value.evidence == tmp_path
    (cell,) = json.loads((tmp_path / "verdict.json").read_text())
    assert (cell["criterion"], cell["state"], cell["artifact"], cell["firmware"]) == (
        INSTALLS,
        "failed",
        "a.iso",
        "uefi",
    )


def test_a_medium_without_a_kickstart_cannot_be_tested_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="has no kickstart on it: nobody can test that it installs"):
        install_iso(
            tmp_path,
            TREE,
            image(tmp_path, unattended=False),
            Firmware.BIOS,
            8192,
            SmokeConfig(user="u"),
            ACCELERATOR,
        )


def test_phases_and_ends_of_an_installation() -> None:
    console = "GNU GRUB\nimagebuild: looking for the medium (hd:LABEL=V)\nimagebuild: starting the tree\n"
    assert installer_phase("") == "firmware"
    assert installer_phase(console) == "live system"
    assert installer_phase(console + "imagebuild: installing on vda 8 GiB\n") == "installation"
    assert fatal_line(console, INSTALLER_FATAL) is None
    for line in (
        "imagebuild: INSTALLATION FAILED: no disk",
        "imagebuild: THE MEDIUM IS DAMAGED: x",
        "Kernel panic - not syncing: x",
        "imagebuild: The machine cannot go on.",
    ):
        assert fatal_line(console + line, INSTALLER_FATAL), line
