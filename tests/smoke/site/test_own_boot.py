"""A criterion that has the host for itself begins with the settled first boot, whoever was there before."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagebuild.smoke.criterion import Asks
from imagebuild.smoke.site.record import SiteCriterion
from imagebuild.smoke.suite import Suite
from tests.smoke import healthy_host, trials


class Machine:
    def __init__(self) -> None:
        self.did: list[str] = []

    def save(self) -> None:
        self.did.append("save")

    def fresh_copy(self, name: str) -> None:
        self.did.append(f"copy for {name}")


@pytest.mark.parametrize(("asks", "saved"), [(Asks.OWN_BOOT, ["save"]), (Asks.FIRST_BOOT, [])])
def test_the_settled_first_boot_is_kept_for_those_that_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: Asks, saved: list[str]
) -> None:
    site = (SiteCriterion(name="x", about="", files=(), program="x", asks=asks),)
    host, machine = healthy_host.host(), Machine()
    boot = SimpleNamespace(host=host, expected=trials.EXPECTED)
    monkeypatch.setattr(Suite, "first", (machine, boot))
    with contextlib.ExitStack() as stack:
        suite = Suite(trials.trial(tmp_path, site=site), tmp_path, stack)
        journey = SimpleNamespace(over=False, host=host)
        suite._journeys["before"] = journey  # type: ignore[assignment]
        suite._settled()
        assert machine.did == saved
        own = suite.own_boot("one")
        suite.own_boot("other")
    assert own is host
    assert machine.did == [*saved, "copy for one", "copy for other"]
    assert journey.over, "there is no way on for it"
    assert len(host.journals) == 2, "what the boots before have said is kept"
