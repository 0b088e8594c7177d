"""A boot menu whose time is over before its keys come starts another entry: that is told, and tried again."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from imagebuild.smoke import installation
from imagebuild.smoke.boot_menu import MissedMenuError, start_entry
from imagebuild.tools.load import Meter
from imagebuild.tools.menus.keys import KeyPresses
from imagebuild.tools.qemu.machine import Places
from imagebuild.tools.qemu.running import Running

PLAN = KeyPresses(
    title="Install unattended",
    keys=("home", "u", "ret"),
    shown=("Install unattended",),
    typed="u",
    heard=True,
)
# GRUB 2.06 of Debian 12 on a serial console, on a machine that was too busy for 60 s
MENU = "\x1b[05;03H Install\x1b[06;03H*Test this media\x1b[07;03H Install unattended"
OVER = (
    MENU
    + "\x1b[22;1H   The highlighted entry will be executed automatically in 0s.\x1b[2J\x1b[01;01H"
    + "    Booting `Test this media'Booting `Test this media'\r\n"
)


@dataclass
class BusyMachine:
    """A machine that starts an entry when a key comes, whichever it is; `console_after` is shown then."""

    serial: Path
    console_after: str
    presses: int = 0
    typed: list[str] = field(default_factory=list)
    alive: bool = True

    def __post_init__(self) -> None:
        self.meter = Meter(lambda: {"1": (0.0, 0.0)}, lambda: 0.0)
        self.places = Places(serial=self.serial, monitor=Path("/none"), variables=Path("/none"))

    def console(self) -> str:
        return self.console_after if self.presses else MENU

    def drives_read(self) -> int:
        return self.presses * (64 << 20)

    def screen_text(self) -> str:
        return ""

    def type(self, text: str) -> None:
        self.typed.append(text)
        self.presses += 1


def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: str) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    machine: Any = BusyMachine(tmp_path / "serial.log", console)
    start_entry(cast("Running", machine), PLAN, 1.0)
    assert machine.typed == ["u"]


def test_another_entry_that_grub_started_by_itself_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissedMenuError) as caught:
        start(tmp_path, monkeypatch, OVER)
    assert "before 'Install unattended' was chosen, and started 'Test this media'" in caught.value.message


@pytest.mark.parametrize(
    "console", [OVER.replace("Booting `Test this media'", "Booting `Install unattended'"), MENU]
)
def test_the_entry_that_was_chosen_is_fine_and_so_is_a_loader_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: str
) -> None:
    start(tmp_path, monkeypatch, console)


def test_an_installation_whose_menu_did_not_wait_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence, disk, tries = tmp_path / "evidence", tmp_path / "disk", list[bool]()
    evidence.mkdir()

    def once(bench: Any, disk: Path, evidence: Path, *, again: bool = False) -> dict[str, float]:
        del bench, evidence
        tries.append(again)
        disk.write_text("empty")
        if not again:
            raise MissedMenuError("the boot menu was over")
        return {"off": 1.0}

    monkeypatch.setattr(installation, "_install", once)
    bench: Any = type("Bench", (), {"kernel": None})()
    assert installation.install(bench, disk, evidence) == {"off": 1.0}
    assert tries == [False, True]
    assert (evidence / installation.HUNG).read_text() == "the boot menu was over\n"
