"""Whether the kernel hands programs of another architecture to an emulator."""

from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.tools import emulation

# /proc/sys/fs/binfmt_misc of Linux 6.18, as Debian 12's qemu-user-static 7.2 and python3.11 register there
AARCH64 = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
PPC64LE = AARCH64.replace("b700", "1500").replace("aarch64", "ppc64le")
PYTHON = """enabled
interpreter /usr/bin/python3.11
flags:
offset 0
magic a70d0d0a
"""


@pytest.fixture
def binfmt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(emulation, "BINFMT", tmp_path)
    monkeypatch.setattr(emulation, "builder_architecture", lambda: "x86_64")
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "python3.11").write_text(PYTHON)
    return tmp_path


def test_programs_of_this_machine_need_none(binfmt: Path) -> None:
    (binfmt / "status").unlink()
    assert emulation.reason_not_to_run("x86_64") is None


def test_an_emulator_that_every_namespace_has_will_do(binfmt: Path) -> None:
    # whatever it is called
    (binfmt / "arm").write_text(AARCH64)
    assert emulation.reason_not_to_run("aarch64") is None
    emulation.check("aarch64", "programs")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no emulator is registered"),
        (PPC64LE, "no emulator is registered"),
        (AARCH64.replace("enabled", "disabled"), "no emulator is registered"),
        (AARCH64.replace("magic 7f45", "magic zz45"), "no emulator is registered"),
        (AARCH64.replace("offset 0", "offset 1000"), "no emulator is registered"),
        (AARCH64.replace("POF", "PO"), "without the flag F"),
    ],
)
def test_what_will_not_do_is_told(binfmt: Path, text: str | None, says: str) -> None:
    if text is not None:
        (binfmt / "qemu-aarch64").write_text(text)
    with pytest.raises(BuildError, match=says) as caught:
        emulation.check("aarch64", "the tree's programs")
    assert "the tree's programs are for aarch64" in caught.value.message
    assert "qemu-user-static" in caught.value.hint


def test_without_that_file_system_there_is_none(binfmt: Path) -> None:
    (binfmt / "status").unlink()
    reason = emulation.reason_not_to_run("aarch64")
    assert reason is not None
    assert "is not mounted" in reason


def test_of_an_architecture_without_a_record_nothing_is_known(binfmt: Path) -> None:
    assert emulation.reason_not_to_run("vax") == "nothing is known of programs for vax"
