"""A kind of host or a storage profile is one record; what lacks something is refused by the field's name."""

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from imagebuild.records import IncompleteRecordError, Registry
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts import ostree
from imagebuild.smoke.hosts.commands import HostRecord
from imagebuild.smoke.hosts.registry import HOSTS, programs, recognise
from imagebuild.smoke.storage import podman_overlay
from imagebuild.smoke.storage.profile import Profile
from imagebuild.smoke.storage.registry import PROFILES, names
from tests.smoke import healthy_host

THROW_AWAY = replace(ostree.RECORD, name="bootc", program="usr/bin/bootc")


def test_the_kinds_of_host_say_what_they_are() -> None:
    assert programs() == (("rpm-ostree", "usr/bin/rpm-ostree"), ("ostree", "usr/bin/ostree"))
    assert {name: record.cannot_layer is None for name, record in HOSTS.items()} == {
        "rpm-ostree": True,
        "ostree": False,
    }
    for record in HOSTS.values():
        assert {heading.split(" (")[0] for heading in record.page} == {
            "Upgrade",
            "Go back",
            "Go to exactly this release",
        }


@pytest.fixture
def with_bootc(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind more, as a line of the registry would have it."""
    records = {THROW_AWAY.name: THROW_AWAY, **HOSTS}
    monkeypatch.setattr(HOSTS, "_records", records)


@pytest.mark.usefixtures("with_bootc")
def test_a_new_kind_is_recognised() -> None:
    assert recognise(lambda path: path == "usr/bin/bootc") is THROW_AWAY
    assert recognise(lambda path: path == "usr/bin/rpm-ostree").name == "rpm-ostree"


@pytest.mark.parametrize("field", ["program", "page"])
def test_a_kind_that_lacks_something_is_refused(field: str) -> None:
    empty: dict[str, Any] = {"program": "", "page": ()}
    broken: HostRecord = replace(THROW_AWAY, **{field: empty[field]})
    with pytest.raises(IncompleteRecordError, match=f"kind of host bootc: the field {field} is empty"):
        Registry("kind of host", broken)


def test_the_profiles_are_what_a_configuration_may_name() -> None:
    assert names() == ("podman-overlay", "overlay2-volume", "overlay2-root", "devicemapper")


def test_a_new_profile_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def problem(run: Any) -> str | None:
        words: Sequence[str] = ["uname", "-n"]
        return f"it is on {run(words).strip()}"

    profile = Profile(name="nowhere", problem=problem)
    monkeypatch.setattr(PROFILES, "_records", MappingProxyType({**PROFILES, profile.name: profile}))
    host: Host = healthy_host.host()
    assert host.storage_problem("nowhere") == "it is on smoke-1234"
    assert host.storage_problem("podman-overlay") is None
    assert not host.root_takes_all("nowhere")
    assert host.root_takes_all("podman-overlay")


def test_a_profile_without_a_check_is_refused() -> None:
    broken: Any = replace(podman_overlay.PROFILE, problem=None)  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(
        IncompleteRecordError, match="storage profile podman-overlay: the field problem is empty"
    ):
        Registry("storage profile", broken)
