"""A kickstart is parsed once for each disk: whoever else needs the plan reads it from the store."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from imagebuild.deploy import ways
from imagebuild.deploy.ways import DiskSpec
from imagebuild.engine import graph, planning
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Cost, Step, inputs, step
from imagebuild.errors import BuildError
from imagebuild.kickstart import plan
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Firmware
from imagebuild.model import Kickstart, Toolbox, Tree
from imagebuild.session.build import Quiet
from imagebuild.stages.plan import plan_disk
from tests.engine.sample_steps import Text
from tests.kickstart.samples import BIOS, BOTH, GIB, SMALL, rendered
from tests.stages.trees import TREE
from tests.wiring import settings, wired

FULL = (
    SMALL.replace("--url=https://example.org/", "--url=https://example.org/ --nogpg")
    + """lang de_DE.UTF-8
rootpw --lock
user --name=ada --groups=wheel,adm --uid=1001 --gecos="Ada ¾"
group --name=crew --gid=2000
sshkey --username=ada "ssh-ed25519 AAAA ada"
firewall --disabled
services --enabled=a --disabled=b
network --bootproto=dhcp --onboot=on --hostname=h
%post --erroronfail --log=/root/log
echo "ä" > /etc/x
%end
"""
)


def stored(planned: Plan) -> Plan:
    """Return a plan as the store has it: out of JSON."""
    adapter = TypeAdapter(Plan)
    return adapter.validate_json(adapter.dump_json(planned))


@pytest.mark.parametrize("variant", ["cloud", "vagrant"])
@pytest.mark.parametrize("line", ["debian-12", *(f"fedora-{release}" for release in range(25, 30))])
def test_the_plan_of_every_kickstart_of_ours_is_the_same_out_of_the_store(line: str, variant: str) -> None:
    text, syntax = rendered(line, variant)
    planned = plan.read(
        text, syntax, disk_size=40 * GIB, firmware=BOTH if line == "debian-12" else BIOS, seed="x"
    )
    assert stored(planned) == planned


def test_accounts_scripts_and_what_was_not_said_are_the_same_out_of_the_store() -> None:
    planned = plan.read(FULL, "F28", disk_size=6 * GIB, firmware=BIOS, seed="x")
    assert planned.users
    assert planned.scripts
    assert planned.firewall is False
    assert stored(planned) == planned
    bare = plan.read(SMALL, "F28", disk_size=6 * GIB, firmware=BIOS, seed="x")
    assert bare.firewall is None
    assert stored(bare) == bare


def give_tree(out: Path, name: str) -> Tree:
    return replace(TREE, repo=out.parents[2] / "repo")


def give_toolbox(out: Path, name: str) -> Toolbox:
    (out / name).touch()
    return Toolbox(image=out / name, size=0)


def give_kickstart(out: Path, text: str) -> Kickstart:
    (out / "kickstart.ks").write_text(text)
    return Kickstart(file=out / "kickstart.ks", syntax="F28", signed=True, origin=())


def list_partitions(out: Path, planned: Plan, name: str) -> Text:
    (out / "text").write_text(" ".join(partition.content for partition in planned.partitions))
    return Text(out / "text")


def planned_step(text: str) -> Step[Plan]:
    spec = DiskSpec(size=6 * 1024, firmware=(Firmware.BIOS,), populate=("offline",))
    tree, toolbox = step("tree", give_tree, "x"), step("toolbox", give_toolbox, "x")
    return step("plan x", plan_disk, tree, toolbox, step("kickstart x", give_kickstart, text), spec)


def build(store: Path, *goals: Step[Any]) -> graph.Outcome:
    with ThreadPoolExecutor(2) as executor:
        return graph.build(goals, DirectoryStore(store), executor, budget=Cost(cores=2), listener=Quiet())


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kickstarts that were parsed."""
    names: list[str] = []

    def read(*arguments: Any, **settings: Any) -> Plan:
        names.append(settings["name"])
        return plan.read(*arguments, **settings)

    monkeypatch.setattr(ways, "read", read)
    # a tree without links
    monkeypatch.setattr(ways, "CommitFiles", lambda *_: None)
    return names


def test_a_kickstart_is_parsed_once_whoever_reads_its_plan(tmp_path: Path, parses: list[str]) -> None:
    planned = planned_step(SMALL)
    readers = [step(name, list_partitions, planned, name) for name in ("disk", "inspection", "derived")]
    outcome = build(tmp_path, *readers)
    assert not outcome.failed
    assert {outcome.value(reader).file.read_text() for reader in readers} == {"ext4 lvm"}
    assert parses == ["kickstart.ks"]
    again = step("another", list_partitions, planned_step(SMALL), "another")
    assert build(tmp_path, again).value(again).file.read_text() == "ext4 lvm"
    assert parses == ["kickstart.ks"], "the plan is in the store"


def test_a_kickstart_that_cannot_be_executed_fails_where_it_is_planned(
    tmp_path: Path, parses: list[str]
) -> None:
    planned = planned_step(SMALL + "vnc\n")
    outcome = build(tmp_path, step("disk", list_partitions, planned, "disk"))
    (error,) = outcome.failed.values()
    assert isinstance(error, BuildError)
    assert "kickstart.ks:9: `vnc` is not executed" in error.message
    assert [step.name for step in outcome.not_started] == ["disk"]


def test_only_plans_and_the_installer_read_kickstarts() -> None:
    order = planning.order([wired(settings()).release])
    readers = {
        one.name for one in order for read in inputs(one) if read.function.__name__ == "write_kickstart"
    }
    assert readers == {"plan cloud", "plan vagrant", "installer iso"}
    plans = {
        one.name: {read.name for read in inputs(one) if read.function is plan_disk}
        for one in order
        if one.name.startswith(("disk ", "inspect "))
    }
    assert plans["disk cloud"] == {"plan cloud"}
    assert plans["disk vagrant"] == {"plan cloud", "plan vagrant"}
    assert all(plans[name] for name in plans)
