"""Keys are made for the workers of a cluster, not for the machine that plans."""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.cluster.abilities import Abilities, measure
from imagebuild.cluster.choice import why_not
from imagebuild.cluster.connection import connected
from imagebuild.cluster.security import identity
from imagebuild.cluster.status import model_of
from imagebuild.config.places import cache_directory
from imagebuild.deploy.ways import choose_ways
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.dispatch import ORIGIN
from imagebuild.engine.planning import order
from imagebuild.errors import BuildError, MissingToolError, UsageError
from imagebuild.tools import accelerator, command
from imagebuild.tools.elsewhere import standing_for
from tests.cluster.lab import Lab
from tests.wiring import keys, settings, wired


@pytest.fixture
def other(tmp_path: Path) -> Abilities:
    """A machine like this one, with other versions of everything, and a KVM that works."""
    here = measure("other", 8, 32000, DirectoryStore(tmp_path / "store"))
    values: dict[str, tuple[str, ...]] = {
        name: ("99.1",) if found else () for name, found in here.keys.items()
    }
    # these follow from the source
    values |= {name: here.keys[name] for name in ("cpu", "virt-firmware")}
    values |= {"accelerator": ("kvm",), "uefi-secure": values["firmware uefi-secure x86_64"]}
    guests = {**here.guests, "name": "kvm", "slowness": 1.0}
    return replace(here, keys=values, guests=guests, can=("arch-x86_64", "populate-offline", "kvm"))


def test_what_a_plan_asks_of_a_machine_is_the_workers(other: Abilities) -> None:
    assert command.version("qemu-img") != "99.1"
    with standing_for(other.machine):
        assert command.version("qemu-img") == "99.1"
        assert accelerator.probe(cache_directory()).name == "kvm"
        assert choose_ways(None)[0] == ("offline",)
        with pytest.raises(UsageError, match="--populate=native is not possible on other"):
            choose_ways("native")
        with pytest.raises(MissingToolError, match="lorax is not installed on other"):
            command.version("lorax")
    assert command.version("qemu-img") != "99.1"


def test_steps_that_are_wired_for_a_worker_go_there(other: Abilities, tmp_path: Path) -> None:
    """And not to this machine, whose versions are others."""
    with standing_for(other.machine):
        pipeline = wired(
            settings(), accelerator=accelerator.probe(cache_directory()), populate=choose_ways(None)[0]
        )
        there = keys(pipeline)
    remote = [one for one in order([pipeline.release]) if ORIGIN not in one.cost.needs]
    assert {one.name: why for one in remote if (why := why_not(other, one)) is not None} == {}
    here = measure("here", 2, 4000, DirectoryStore(tmp_path / "store"))
    assert "99.1 is asked for" in str(next(why_not(here, one) for one in remote if one.name == "qcow2 cloud"))
    plain = keys(wired(settings(), accelerator=here.accelerator or pytest.fail("no guests")))
    assert there["disk cloud"] != plain["disk cloud"]
    assert there["kickstart cloud"] == plain["kickstart cloud"]


def test_the_kind_of_worker_with_most_cores_is_the_model(cluster: Lab) -> None:
    store = DirectoryStore(cluster.store)
    with connected(cluster.address, identity(cluster.address, cluster.keys, "client")) as link:
        assert model_of(link, store).name in ("one", "two")
        cluster.start_worker("large", cores=64, tools={"qemu-img": ["98"]}, can=("populate-native",))
        try:
            model = model_of(link, store)
            assert (model.name, model.machine.ways) == ("large", ("native",))
            with pytest.raises(BuildError, match=r"no worker at .* can be used"):
                model_of(link, DirectoryStore(cluster.place / "another"))
        finally:
            cluster.kill("large")
