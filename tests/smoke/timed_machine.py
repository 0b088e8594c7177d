"""A machine whose menu and installer are told by the time: each pause of whoever waits goes by at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imagebuild.tools.load import Meter
from imagebuild.tools.picture import Picture
from imagebuild.tools.qemu.machine import Places
from tests.smoke.registers import HALTED


@dataclass
class FakeMachine:
    """A machine whose console, text screen and picture are functions of the time; `reacts`: to which press of
    its keys the menu reacts.
    """

    serial: Path
    console_at: Callable[[float], str] = lambda _: ""
    text_at: Callable[[float], str] = lambda _: ""
    picture_at: Callable[[float], Picture | None] = lambda _: None
    log: list[tuple[float, str]] = field(default_factory=list)
    reacts: int = 1
    read: int = 3 << 20
    presses: int = 0
    off: float = 1e9
    broken: str | None = None
    last_word: str | None = None
    pressed: list[str] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.meter = Meter(lambda: {"1": (self.now, 0.0)}, lambda: self.now)
        self.places = Places(serial=self.serial, monitor=Path("/none"), variables=Path("/none"))

    @property
    def alive(self) -> bool:
        return self.now < self.off

    def console(self) -> str:
        self.serial.with_name("anaconda.log").write_text(
            "".join(line for when, line in self.log if when <= self.now)
        )
        return self.console_at(self.now)

    def screen_text(self) -> str:
        return self.text_at(self.now)

    def picture(self) -> Picture | None:
        return self.picture_at(self.now)

    def drives_read(self) -> int:
        """A menu reads nothing; the kernel that is read when it reacts is large."""
        self.read += (8 << 20) if self.reacts and self.presses >= self.reacts else 0
        return self.read

    def press(self, *keys: str) -> None:
        self.pressed += keys
        self.presses += 1

    def type(self, text: str) -> None:
        self.typed.append(text)
        self.presses += 1

    def broke(self) -> str | None:
        return self.broken

    def ending(self) -> str | None:
        return None if self.alive else self.last_word

    def cpu_seconds(self) -> float:
        return self.now

    def io_bytes(self) -> int:
        return 0

    def registers(self) -> str:
        return HALTED

    def screenshot(self, file: Path) -> None:
        file.write_bytes(b"png")


Clock = Callable[[FakeMachine], FakeMachine]


def always(value: Any) -> Callable[[float], Any]:
    return lambda _: value


def after(seconds: float, then: Any, before: Any) -> Callable[[float], Any]:
    return lambda now: then if now >= seconds else before


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeMachine], FakeMachine]:
    def set_to(machine: FakeMachine) -> FakeMachine:
        def sleep(seconds: float) -> None:
            machine.now += seconds

        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr(time, "monotonic", lambda: machine.now)
        return machine

    return set_to
