"""Which guest a run of the criteria begins with: one that boots, or a saved first boot; and what is saved."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagebuild.errors import BuildError
from imagebuild.smoke import suite as module
from imagebuild.smoke.first_boot import SAVED
from imagebuild.smoke.host.errors import RigError
from imagebuild.smoke.host.words import Boot
from imagebuild.smoke.suite import Suite
from imagebuild.smoke.trial import Known
from tests.smoke import healthy_host, trials


class Guests:
    """Stands for guests, and for the directory of saved boots: `did` is what was done, in order."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[str] = []
        self.there, self.comes_back, self.settles, self.full = True, True, True, False
        self.place = tmp_path
        monkeypatch.setattr(module, "guest", lambda *_, **__: self._guest("boot", rig=False))
        monkeypatch.setattr(module, "gone_on", lambda *_, **__: self._gone_on())
        saved = SimpleNamespace(there=lambda: self.there, keep=self.keep, discard=self.discard)
        monkeypatch.setattr(module, "SavedBoots", lambda *_: saved)
        offers = SimpleNamespace(ports={}, registry=None, web="")
        monkeypatch.setattr(Suite, "offers", offers)

    @contextlib.contextmanager
    def _guest(self, name: str, *, rig: bool) -> Iterator[Any]:
        self.did.append(name)
        host = healthy_host.host(
            **{"systemctl is-system-running": "running\n" if self.settles else "starting\n"}
        )
        host.patience = lambda _: lambda asked: "late" if asked > 1 else ""
        boot = Boot(host=host, expected=trials.EXPECTED, problem=None, phases={"ssh": 60.0}, rig=rig)
        yield SimpleNamespace(frozen=self._frozen, notes=[]), boot
        self.did.append(f"{name} ends")

    @contextlib.contextmanager
    def _gone_on(self) -> Iterator[Any]:
        if not self.there:
            yield None
            return
        if not self.comes_back:
            raise RigError("the saved first boot does not come back: no ssh")
        with self._guest("go on", rig=False) as found:
            yield found

    @contextlib.contextmanager
    def _frozen(self) -> Iterator[Any]:
        self.did.append("freeze")
        yield "files", "key"
        self.did.append("thaw")

    # --- SavedBoots ---

    def keep(self, files: str, key: str, expected: Any, phases: dict[str, float]) -> None:
        assert (files, key, expected, phases) == ("files", "key", trials.EXPECTED, {"ssh": 60.0})
        if self.full:
            raise BuildError("the first boot cannot be saved: no space left")
        self.did.append("keep")

    def discard(self) -> None:
        self.did.append("discard")
        self.there = False

    def run(self, *, boots_nothing: bool = True, **scope: Any) -> Suite:
        """Begin a run, and end it."""
        trial = trials.trial(self.place, **{"saved": self.place / "saved", **scope})
        with contextlib.ExitStack() as stack:
            suite = Suite(trial, self.place, stack, boots_nothing=boots_nothing)
            assert suite.first is suite.first
        return suite

    def said(self) -> str:
        """Return what the evidence says of the saved boot."""
        file = self.place / SAVED
        return file.read_text() if file.exists() else ""


@pytest.fixture
def guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guests:
    return Guests(tmp_path, monkeypatch)


SAVING = ["freeze", "keep", "thaw"]


def test_what_boots_nothing_goes_on_from_the_saved_boot(guests: Guests) -> None:
    assert guests.run().restored
    assert guests.did == ["go on", "go on ends"]


def test_what_boots_begins_with_a_boot_and_saves_nothing_twice(guests: Guests) -> None:
    assert not guests.run(boots_nothing=False).restored
    assert guests.did == ["boot", "boot ends"]


@pytest.mark.parametrize("boots_nothing", [True, False])
def test_the_first_boot_is_saved(guests: Guests, boots_nothing: bool) -> None:
    guests.there = False
    assert not guests.run(boots_nothing=boots_nothing).restored
    assert guests.did == ["boot", *SAVING, "boot ends"]


def test_one_that_does_not_come_back_is_removed_and_booted_instead(guests: Guests) -> None:
    guests.comes_back = False
    assert not guests.run().restored
    assert guests.did == ["discard", "boot", *SAVING, "boot ends"]
    assert guests.said() == (
        "the saved first boot is not used, and removed: the saved first boot does not come back: no ssh\n"
    )


def test_what_is_tried_again_boots_and_replaces_what_was_saved(guests: Guests) -> None:
    assert not guests.run(restore=False).restored
    assert guests.did == ["boot", *SAVING, "boot ends"]


@pytest.mark.parametrize("scope", [{"saved": None}, {"known": Known()}])
def test_where_nothing_would_use_it_nothing_is_saved(guests: Guests, scope: dict[str, Any]) -> None:
    guests.there = False
    guests.run(**scope)
    assert guests.did == ["boot", "boot ends"]


def test_a_boot_that_does_not_settle_is_not_saved(guests: Guests) -> None:
    guests.there = guests.settles = False
    guests.run()
    assert guests.did == ["boot", "boot ends"]
    assert "the first boot is not saved: the boot does not come to an end" in guests.said()


def test_one_that_cannot_be_saved_is_tested_all_the_same(guests: Guests) -> None:
    guests.there, guests.full = False, True
    suite = guests.run()
    assert suite.first[1].host is not None
    assert "the first boot is not saved: the first boot cannot be saved: no space left" in guests.said()
