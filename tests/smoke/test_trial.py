"""The key of a trial follows from the types of its fields."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from imagebuild.kinds import Controller, Firmware, Login
from imagebuild.model import Waiver
from imagebuild.smoke.site.record import SiteCriterion
from imagebuild.smoke.trial import (
    Bench,
    Known,
    Previous,
    Promise,
    Scope,
    Subject,
    Terms,
    keyed,
    read_trial,
    write_trial,
)
from imagebuild.tools import command
from imagebuild.tools.accelerator import Accelerator
from tests.smoke import trials

WAIVER = Waiver(
    criterion="c", artifact="*", firmware=None, who="Ada", why="bug 1", until="2030-01-01", expired=False
)
OUTSIDE: dict[type, set[str]] = {
    Subject: {"disk", "source"},
    Bench: {"accelerator", "cores"},
    Promise: set(),
    Terms: {"waivers", "site"},
}


@pytest.mark.parametrize("record", [trials.TRIAL.subject, trials.TRIAL.bench, trials.PROMISE, trials.TERMS])
def test_every_field_is_keyed_but_where_and_how_fast(record: Any) -> None:
    inside = {field.name for field in fields(record)} - set(keyed(record))
    assert inside == OUTSIDE[type(record)]


@pytest.mark.parametrize(
    "changed",
    [
        {"disk": Path("/elsewhere")},
        {"cores": 8},
        {"accelerator": Accelerator(name="tcg", slowness=9, reason="x")},
        {"criteria": ("artifact-boots",)},
        {"known": Known(other_firmware=True)},
        {"machine_ids": ("a",)},
        {"tries": 5},
        {"repo": Path("/repo")},
        {"cells": Path("/cells")},
        {"cells_remote": "s3://bucket/store"},
        {"saved": Path("/saved")},
        {"restore": False},
        {"source": Path("/a.qcow2")},
        {"terminal": Path("/dev/tty1")},
        # somebody answers for a criterion when it has been tested
        {"waivers": (WAIVER,)},
        {"site": (SiteCriterion(name="x", about="", files=()),)},
    ],
)
def test_the_scope_and_what_is_outside_change_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    monkeypatch.setattr(command, "version", lambda _: "7.2")
    assert trials.trial(tmp_path, **changed).key == trials.trial(Path("/other")).key


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "1"},
        {"artifact": "b"},
        {"format": "qcow2"},
        {"controller": Controller.IDE},
        {"size": 1},
        {"grow": 1},
        {"firmware": Firmware.UEFI},
        {"memory": 2},
        {"cpu": "max"},
        {"accelerator": Accelerator(name="kvm", slowness=1, reason="")},
        {"commit": "d"},
        {"version": "2"},
        {"ref": "x"},
        {"host_kind": "rpm-ostree"},
        {"atomic": True},
        {"previous": Previous(commit="b", version="0")},
        {"commit_given": False},
        {"login": Login.VAGRANT},
        {"storage": "t"},
        {"allowed_messages": ("x",)},
        {"first_release": True},
    ],
)
def test_what_is_tested_on_what_and_against_what_is_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    monkeypatch.setattr(command, "version", lambda _: "7.2")
    assert trials.trial(tmp_path, **changed).key != trials.trial(tmp_path).key


def test_a_trial_travels_as_json(tmp_path: Path) -> None:
    trial = trials.trial(tmp_path, known=Known(), machine_ids=("a",), repo=tmp_path, cpu="max")
    write_trial(tmp_path / "trial.json", trial)
    assert read_trial(tmp_path / "trial.json") == trial
    assert trial.scope != Scope()
