"""A package is layered, survives an upgrade, and can be removed again."""

from imagebuild.guest import Host
from imagebuild.journey import Journey
from imagebuild.releases import PACKAGE


def test_layers_a_package(layering: Journey, packages: str) -> None:
    stop = layering.layered(packages, PACKAGE)
    assert PACKAGE in stop.booted.requested, f"the booted deployment has layered {stop.booted.requested}, not {PACKAGE}"
    assert stop.booted.commit == layering.expected.commit, f"below the package lies {stop.booted.commit}, not the released commit"
    _works(layering.host)


def test_a_layered_package_survives_an_upgrade(layering: Journey, packages: str) -> None:
    stop = layering.layered_upgraded(packages, PACKAGE)
    assert stop.booted.commit == layering.releases.next.commit, f"with a layered package the host came to {stop.booted.commit}"
    assert PACKAGE in stop.booted.requested, f"after the upgrade {stop.booted.requested} are layered, not {PACKAGE}"
    _works(layering.host)


def test_a_layered_package_can_be_removed(layering: Journey, packages: str) -> None:
    stop = layering.unlayered(packages, PACKAGE)
    assert PACKAGE not in stop.booted.requested, f"{PACKAGE} is still layered"
    assert not layering.host.has(PACKAGE), f"{PACKAGE} is still there"


def _works(host: Host) -> None:
    assert host.succeeds(PACKAGE).strip() == "layered", f"the program of {PACKAGE} does not run"
    host.succeeds("rpm", "-q", PACKAGE)
