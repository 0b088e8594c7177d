"""A host's boot menu is read from its screen, and an entry chosen with the keyboard."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from imagebuild.smoke import menu_choice
from imagebuild.smoke.boot_menu import InstallationError
from imagebuild.smoke.menu_choice import choose_by_hand, entries_shown

# GRUB 2.06 of Debian 12 in VGA text mode, as tools.screen reads it
SCREEN = """                             GNU GRUB  version 2.06

 ┌────────────────────────────────────────────────────────────────────────────┐
 │{}Debian Atomic Host 12 (12.3.restless) (ostree:0)                          │
 │{}Debian Atomic Host 12 (12.3) (ostree:1)                                   │
 │                                                                            │
 └────────────────────────────────────────────────────────────────────────────┘

      Use the ↑ and ↓ keys to select which entry is highlighted.
      Press enter to boot the selected OS, `e' to edit the commands
      before booting or `c' for a command-line.
{}"""
COUNTS = "   The highlighted entry will be executed automatically in 1s."
TITLES = ["Debian Atomic Host 12 (12.3.restless) (ostree:0)", "Debian Atomic Host 12 (12.3) (ostree:1)"]


@dataclass
class FakeMachine:
    """A machine whose GRUB begins to show its menu after some keys, and takes keys as GRUB does."""

    late: int = 2
    deaf: bool = False
    chosen: int = 0
    counting: bool = True
    started: bool = False
    keys: list[str] = field(default_factory=list)
    alive: bool = True

    def screen_text(self) -> str:
        if len(self.keys) < self.late or self.started:
            return "Booting from Hard Disk..." if not self.started else "Loading Linux"
        marks = ["*" if number == self.chosen else " " for number in range(2)]
        return SCREEN.format(*marks, COUNTS if self.counting else "")

    def console(self) -> str:
        return ""

    def drives_read(self) -> int:
        return 50_000_000 if self.started else 1_000_000

    def press(self, *keys: str) -> None:
        self.keys += keys
        if self.deaf or len(self.keys) <= self.late:
            return
        self.counting = False
        for key in keys:
            self.chosen = {"up": 0, "down": 1}.get(key, self.chosen)
            self.started = self.started or key == "ret"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(menu_choice, "LOOK_SECONDS", 0.001)


@pytest.mark.parametrize(("marks", "chosen"), [(("*", " "), 0), ((" ", "*"), 1), ((" ", " "), None)])
def test_the_chosen_entry_is_read(marks: Sequence[str], chosen: int | None) -> None:
    assert entries_shown(SCREEN.format(*marks, "")) == (TITLES, chosen)


def test_a_screen_without_a_menu_has_no_entries() -> None:
    assert entries_shown("Booting from Hard Disk...\n\n") == ([], None)


@pytest.mark.parametrize("number", [0, 1])
def test_an_entry_is_chosen_however_late_the_menu_comes(number: int) -> None:
    machine: Any = FakeMachine()
    assert choose_by_hand(machine, number, 1.0) == TITLES[number]
    assert (machine.chosen, machine.started, machine.keys[-1]) == (number, True, "ret")


def test_a_menu_that_does_not_react_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(menu_choice, "MENU_SECONDS", 0.01)
    machine: Any = FakeMachine(deaf=True)
    with pytest.raises(InstallationError, match="entry 1 cannot be chosen"):
        choose_by_hand(machine, 1, 1.0)


def test_a_machine_that_went_off_is_not_waited_for() -> None:
    machine: Any = FakeMachine(alive=False)
    with pytest.raises(InstallationError, match="cannot be chosen"):
        choose_by_hand(machine, 1, 1.0)
