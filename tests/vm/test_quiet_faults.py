"""Faults that make no noise: doors left open, services that are dead or restless, content that is another.
Each is caught by the criterion that is there for it, and no other turns red; a good image is green.

They run in namespaces (`namespaced`), where each takes half a minute; in guests (test_faults.py) all of them
take a night under emulation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.deploy import native
from imagebuild.engine import graph, planning
from imagebuild.kinds import State
from imagebuild.smoke.criteria import registry
from imagebuild.stages.smoke import promise_of
from tests.vm import namespaced
from tests.vm.faults import FAULTS
from tests.vm.order_faults import ORDER
from tests.vm.wiring import Lab

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))
QUIET = {name: fault for name, fault in (FAULTS | ORDER).items() if fault.quiet}
# one of each kind: the rest is for the night
IN_CI = ("an account needs no password",)
# what namespaces do not have: boots, disks, registries and servers of the test's, and a kernel of their own
# (docker's service configures its firewall)
AWAY = {
    "a-changed-object-is-not-read",
    "container-service-starts",
    "containers-have-a-network-and-volumes",
    "containers-run",
    "names-resolve-by-the-server-that-dhcp-gave",
    "secure-boot-is-on",
    "the-clock-is-being-kept",
    "the-disk-grows",
    "the-images-own-keys-verify-the-release",
}
NO_DOCKER = ("docker.service", "docker.socket")


@contextmanager
def bench(lab: Lab, place: Path, script: str) -> Iterator[namespaced.Given]:
    """Start the demo's cloud image, changed by a script."""
    disk = lab.pipeline.disks["cloud"]
    steps = {one.name: one for one in planning.order([lab.pipeline.release])}
    outcome: graph.Outcome = lab.must(disk, steps["toolbox"], steps["plan cloud"], lab.pipeline.tree)
    tree = outcome.value(lab.pipeline.tree)
    terms = lab.terms(storage=lab.settings.storage)
    terms = replace(terms, allowed_failed_units=(*terms.allowed_failed_units, *NO_DOCKER))
    toolbox, plan = outcome.values[steps["toolbox"]], outcome.values[steps["plan cloud"]]
    promise = promise_of(tree, (), terms)
    with namespaced.host_of(tree, toolbox, plan, outcome.value(disk), promise, script, place) as given:
        yield given


def cells_of(lab: Lab, place: Path, script: str) -> dict[str, tuple[State, str]]:
    names = [name for name in registry.at_first_boot() if name not in AWAY]
    with bench(lab, place, script) as given:
        return namespaced.cells(given, names)


def test_a_good_image_is_green(lab: Lab, tmp_path: Path) -> None:
    cells = cells_of(lab, tmp_path, ":")
    assert {
        name: cell for name, cell in cells.items() if cell[0] not in (State.PASSED, State.NOT_APPLICABLE)
    } == {}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in IN_CI else [pytest.mark.slow]) for name in QUIET]
)
def test_a_quiet_fault_is_caught_by_its_criterion_and_no_other(lab: Lab, tmp_path: Path, name: str) -> None:
    fault = QUIET[name]
    cells = cells_of(lab, tmp_path, fault.script)
    red = {criterion: reason for criterion, (state, reason) in cells.items() if state is State.FAILED}
    assert set(red) == set(fault.caught) - AWAY, red
    assert fault.says in red[fault.caught[0]], red
