"""A package with scriptlets, a user, a file in /etc and a dependency is layered, survives an upgrade, and can
be removed again.
"""

from imagebuild.smoke.criterion import Asks, Group, Trait, criterion
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.served import PACKAGE
from imagebuild.tools.rpm import BY_POST, IN_DATA, IN_ETC, Package

LAYERING_HOSTS = "hosts that can layer packages"


@criterion(
    group=Group.PACKAGES,
    about="A package with scriptlets, a user and a dependency can be layered.",
    asks=Asks.LAYERING,
    applies_to=LAYERING_HOSTS,
    needs=(Trait.LAYERING,),
)
def test_layers_a_package(layering: Journey, packages: str) -> None:
    stop = layering.layered(packages, PACKAGE)
    assert PACKAGE in stop.booted.requested, (
        f"the booted deployment has layered {stop.booted.requested}, not {PACKAGE}"
    )
    assert stop.booted.commit == layering.expected.promise.commit, (
        f"below the package lies {stop.booted.commit}, not the released commit"
    )
    _works(layering.host)


@criterion(
    group=Group.PACKAGES,
    about="A layered package is still there, and works, after an upgrade.",
    asks=Asks.LAYERING,
    applies_to=LAYERING_HOSTS,
    needs=(Trait.LAYERING,),
)
def test_a_layered_package_survives_an_upgrade(layering: Journey, packages: str) -> None:
    stop = layering.layered_upgraded(packages, PACKAGE)
    assert stop.booted.commit == layering.releases.next.commit, (
        f"with a layered package the host came to {stop.booted.commit}"
    )
    assert PACKAGE in stop.booted.requested, (
        f"after the upgrade {stop.booted.requested} are layered, not {PACKAGE}"
    )
    _works(layering.host)


@criterion(
    group=Group.PACKAGES,
    about="A layered package can be removed without a trace.",
    asks=Asks.LAYERING,
    applies_to=LAYERING_HOSTS,
    needs=(Trait.LAYERING,),
)
def test_a_layered_package_can_be_removed(layering: Journey, packages: str) -> None:
    stop = layering.unlayered(packages, PACKAGE)
    host, package = layering.host, Package(PACKAGE)
    assert PACKAGE not in stop.booted.requested, f"{PACKAGE} is still layered"
    assert not host.has(PACKAGE), f"{PACKAGE} is still there"
    left = [path for path in (package.etc, package.needed, package.mark) if host.is_there(path)]
    assert not left, f"of {PACKAGE} and what it needs these are still there: {', '.join(left)}"
    # getent(1): 2 is "not found"
    for database in ("passwd", "group"):
        assert host.run("getent", database, package.user).status == 2, (
            f"{package.user}, whom {PACKAGE} made, is still in {database}"
        )


def _works(host: Host) -> None:
    package = Package(PACKAGE)
    assert host.succeeds(PACKAGE).strip() == "layered", f"the program of {PACKAGE} does not run"
    for name in (PACKAGE, package.data):
        answer = host.run("rpm", "-q", name)
        assert answer.status == 0, f"rpm does not know {name}: {(answer.complaint or answer.output).strip()}"
    for database in ("passwd", "group"):
        found = host.run("getent", database, package.user).output
        assert found.startswith(f"{package.user}:"), (
            f"%pre of {PACKAGE} has made no {package.user} in {database}: {found.strip()!r}"
        )
    contents = (
        (package.mark, BY_POST, f"%post of {PACKAGE} did not run"),
        (package.etc, IN_ETC, f"the file of {PACKAGE} in /etc is not what it brought"),
        (package.needed, IN_DATA, f"{package.data}, which {PACKAGE} needs, is not whole"),
    )
    for path, wanted, what in contents:
        held = host.read(path)
        assert held is not None, f"{what}: there is no {path}"
        assert held.strip() == wanted, f"{what}: {path} holds {held.strip()!r}"
