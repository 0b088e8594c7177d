"""What nobody needs goes from a remote, and nothing that a build under way has found there or sent there."""

import os
import time
from pathlib import Path

import pytest

from imagebuild.engine import steps
from imagebuild.engine.drives import Seen
from imagebuild.engine.publishing import LARGE
from imagebuild.engine.remote import Remote
from imagebuild.engine.steps import Step, gather, step
from imagebuild.engine.sweep import DAY, Swept, sweep
from imagebuild.errors import BuildError, UsageError
from tests.engine.building import run
from tests.engine.remotes import QUICK, finish, machine, serving, share
from tests.engine.sample_steps import Text, join, shout, write


def goal(text: str = "one") -> Step[Text]:
    return step("joined", join, gather([step("a", write, text), step("b", write, "two")]), "+")


def age(tmp_path: Path, days: float, pattern: str = "**/*") -> None:
    """Make what is in the remote older."""
    when = time.time() - days * DAY
    for file in (tmp_path / "share").glob(pattern):
        if file.is_file():
            os.utime(file, (when, when))


def names(tmp_path: Path, below: str) -> list[str]:
    return sorted(file.stem for file in (tmp_path / "share" / below).rglob("*") if file.is_file())


def cleaned(tmp_path: Path, *, keep: int = 1, grace: int = 7) -> Swept:
    return sweep(Remote(share(tmp_path), QUICK), keep=keep, grace_days=grace)


def test_what_the_newest_builds_used_stays_and_what_older_ones_used_goes(tmp_path: Path) -> None:
    url = share(tmp_path)
    run(goal("old"), machine(tmp_path / "one", url))
    age(tmp_path, 20)
    run(goal("new"), machine(tmp_path / "one", url))
    age(tmp_path, 10)
    assert len(names(tmp_path, "results")) == 5
    swept = cleaned(tmp_path)
    # `two` is read by both
    assert swept.results == 2
    assert len(names(tmp_path, "results")) == 3
    assert len(names(tmp_path, "builds")) == 1
    two = machine(tmp_path / "two", url)
    wanted = goal("new")
    assert two.need(steps.kind_of(wanted), steps.key_of(wanted)).directory.is_dir()
    assert cleaned(tmp_path) == Swept(results=0, objects=0, size=0)


def test_what_is_young_stays_whoever_uses_it(tmp_path: Path) -> None:
    url = share(tmp_path)
    for text in ("one", "two", "three"):
        run(goal(text), machine(tmp_path / "one", url))
    before = names(tmp_path, "results"), names(tmp_path, "blobs")
    assert cleaned(tmp_path, keep=0) == Swept(results=0, objects=0, size=0)
    assert (names(tmp_path, "results"), names(tmp_path, "blobs")) == before


def test_a_build_under_way_loses_nothing_that_is_old(tmp_path: Path) -> None:
    """It has found everything there, months old, and has written down that it uses it."""
    url = share(tmp_path)
    run(goal(), machine(tmp_path / "one", url))
    age(tmp_path, 100)
    two, wanted = machine(tmp_path / "two", url), goal()
    loud = step("loud", shout, wanted)
    two.remember({one.name: (steps.kind_of(one), steps.key_of(one)) for one in (wanted, loud)})
    cleaned(tmp_path, keep=0)
    assert two.need(steps.kind_of(wanted), steps.key_of(wanted)).directory.is_dir()


def test_an_old_pack_that_is_used_again_is_sent_again(tmp_path: Path) -> None:
    """Another artifact has the same file: the age of the first one's must not take it away from under it."""
    url, disk = share(tmp_path), bytes(range(256)) * (LARGE // 256)
    one = machine(tmp_path / "one", url)
    finish(one, "kind", "first", disk=disk)
    age(tmp_path, 100)
    finish(one, "kind", "second", disk=disk)
    ages = [time.time() - file.stat().st_mtime for file in (tmp_path / "share" / "blobs").rglob("*/*")]
    assert max(ages) < DAY
    cleaned(tmp_path, keep=0)
    found = machine(tmp_path / "two", url).need("kind", "second")
    assert (found.directory / "out" / "disk").read_bytes() == disk


def test_the_age_is_asked_for_once_more_before_a_pack_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = share(tmp_path)
    run(goal(), machine(tmp_path / "one", url))
    age(tmp_path, 100)
    for file in (tmp_path / "share" / "results").rglob("*.json"):
        file.unlink()
    remote, listed = Remote(url, QUICK), Remote.listing

    def listing(self: Remote, prefix: str) -> dict[str, Seen]:
        found = listed(self, prefix)
        if prefix == "blobs/":
            # another machine uses them at this very moment
            age(tmp_path, 0, "blobs/**/*")
        return found

    monkeypatch.setattr(Remote, "listing", listing)
    assert sweep(remote, keep=1, grace_days=7).objects == 0
    assert names(tmp_path, "blobs")


def test_a_clock_that_is_wrong_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are reckoned by the remote's clock, not by this machine's, which is a year fast."""
    url = share(tmp_path)
    run(goal(), machine(tmp_path / "one", url))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 365 * DAY)
    assert cleaned(tmp_path, keep=0) == Swept(results=0, objects=0, size=0)


def test_a_result_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    url = share(tmp_path)
    run(goal(), machine(tmp_path / "one", url))
    age(tmp_path, 100)
    file = next((tmp_path / "share" / "results").rglob("*.json"))
    file.write_text("{}")
    before = names(tmp_path, "blobs")
    with pytest.raises(BuildError, match="is not a result"):
        cleaned(tmp_path)
    assert names(tmp_path, "blobs") == before


def test_a_short_period_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 days are too short a grace period"):
        cleaned(tmp_path, grace=1)


def test_old_cells_and_what_was_left_under_way_goes(tmp_path: Path) -> None:
    share(tmp_path)
    for name, days in (("cells/old", 100), ("cells/new", 50), ("partial/left", 10), ("probe/left", 10)):
        file = tmp_path / "share" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
        age(tmp_path, days, name)
    assert cleaned(tmp_path).objects == 3
    assert names(tmp_path, "cells") == ["new"]


def test_an_object_store_is_cleaned_by_its_own_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as server:
        run(goal(), machine(tmp_path / "one", server.url))
        remote = Remote(server.url, QUICK)
        (build,) = remote.listing("builds/")
        remote.remove(build)
        assert sweep(remote, keep=0, grace_days=7) == Swept(results=0, objects=0, size=0)
        monkeypatch.setattr(Remote, "now", lambda _: time.time() + 10 * DAY)
        swept = sweep(remote, keep=0, grace_days=7)
        assert swept.results == 3
        assert swept.objects == 3
        assert remote.listing("") == {}


def test_a_build_that_begins_meanwhile_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading who uses what and removing the rest lies a request for each result."""
    url, wanted = share(tmp_path), goal()
    run(wanted, machine(tmp_path / "one", url))
    age(tmp_path, 100)
    remote, two, begun = Remote(url, QUICK), machine(tmp_path / "two", url), list[str]()
    real = remote.listing

    def listing(prefix: str) -> dict[str, Seen]:
        found = real(prefix)
        if prefix.startswith("results") and not begun:
            begun.append("a build")
            two.remember({"joined": (steps.kind_of(wanted), steps.key_of(wanted))})
        return found

    monkeypatch.setattr(remote, "listing", listing)
    sweep(remote, keep=0, grace_days=7)
    assert begun
    assert two.need(steps.kind_of(wanted), steps.key_of(wanted)).directory.is_dir()
