"""Disks of another architecture: the tree's programs are run through an emulator, or it is said why not."""

from pathlib import Path

import pytest

from imagebuild.deploy import offline, ways
from imagebuild.errors import BuildError, UsageError
from imagebuild.tools import command, emulation

# elf(5): the first bytes of a program for aarch64
FOREIGN = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x02\x00\xb7\x00" + b"\0" * 44


@pytest.fixture
def nothing_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "binfmt"
    place.mkdir()
    (place / "status").write_text("enabled\n")
    monkeypatch.setattr(emulation, "BINFMT", place)


def toolbox(tmp_path: Path, program: bytes) -> Path:
    """A toolbox with nothing but the program that is looked at, and directories for mounts."""
    for name in ("usr/bin", "dev", "run", "var", "sys", "proc", "sysroot", "tmp"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    (tmp_path / "tree/usr/bin/env").write_bytes(program)
    image = tmp_path / "toolbox.squashfs"
    command.run(["mksquashfs", tmp_path / "tree", image, "-quiet", "-no-progress"])
    return image


@pytest.mark.usefixtures("nothing_registered")
def test_a_foreign_tree_is_refused_where_nothing_runs_its_programs(tmp_path: Path) -> None:
    image = toolbox(tmp_path, FOREIGN)
    with (
        pytest.raises(BuildError, match="for aarch64, and this machine cannot run them") as caught,
        offline.offline_target(None, image, None),
    ):
        raise AssertionError("the toolbox was opened")
    assert "qemu-user-static" in caught.value.hint


@pytest.mark.usefixtures("nothing_registered")
def test_a_tree_of_this_machine_is_not_asked(tmp_path: Path) -> None:
    image = toolbox(tmp_path, Path("/usr/bin/env").read_bytes())
    with offline.offline_target(None, image, None) as target:
        assert target is not None


@pytest.mark.usefixtures("nothing_registered")
def test_no_way_is_chosen_for_a_tree_whose_programs_do_not_run() -> None:
    with pytest.raises(UsageError, match=r"for aarch64, and this machine cannot run them: .*no emulator"):
        ways.choose_ways(None, "aarch64")
    with pytest.raises(UsageError, match="--populate=offline is not possible here"):
        ways.choose_ways("offline", "aarch64")
    assert ways.choose_ways(None, "x86_64")[0]


def test_the_appliance_runs_no_programs_of_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulation, "reason_not_to_run", lambda _: None)
    chosen, why = ways.choose_ways(None, "aarch64")
    assert chosen
    assert "appliance" not in chosen
    assert "appliance: nothing runs programs for aarch64 there" in why
