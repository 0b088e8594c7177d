"""Which worker takes a step."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.cluster import abilities as measured
from imagebuild.cluster.abilities import Abilities, read_abilities, source_of_imagebuild
from imagebuild.cluster.choice import Worker, amounts, choose, joined, why_none, why_not
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Cost, Step, step
from imagebuild.tools import emulation
from imagebuild.tools.accelerator import Accelerator
from tests.cluster.steps import Text, write

MIB = 1024 * 1024


def abilities(name: str = "one", *, can: tuple[str, ...] = (), **keys: tuple[str, ...]) -> Abilities:
    return Abilities(
        name=name, version="1", source="s", python="3", cores=4, memory=1000, shares="/s", can=can, keys=keys
    )


def worker(name: str = "one", *, can: tuple[str, ...] = (), **keys: tuple[str, ...]) -> Worker:
    return Worker(address=f"tls://{name}", abilities=abilities(name, can=can, **keys))


def wanting(cost: Cost | None = None, **tools: str) -> Step[Text]:
    return step("some", write, "x", cost=cost or Cost(), tools=tools)


def test_a_worker_must_compute_the_same_key() -> None:
    assert why_not(abilities(qemu=("10.0",), ovmf=("a", "b")), wanting(qemu="10.0", ovmf="b")) is None
    assert why_not(abilities(qemu=("7.2",)), wanting(qemu="10.0")) == "qemu is 7.2, and 10.0 is asked for"
    assert why_not(abilities(xz=()), wanting(xz="5")) == "xz is not known there, and 5 is asked for"
    # this follows from what was ordered
    assert why_not(abilities(), wanting(bench="{}", processor="max")) is None


def test_a_worker_must_be_able_to() -> None:
    one = wanting(Cost(needs=("kvm", "root", "lorax")))
    assert why_not(abilities(can=("kvm", "root", "lorax", "arch-x")), one) is None
    assert why_not(abilities(can=("root",)), one) == "it has no kvm and no lorax"


def test_what_is_missing_is_named() -> None:
    one = wanting(Cost(needs=("arch-aarch64",)), qemu="10.0")
    assert why_none([], wanting()) == "there are no workers"
    assert why_none([], one) == "no worker has arch-aarch64"
    assert why_none([worker(can=("arch-aarch64",), qemu=("7.2",)), worker("b")], one) == (
        "one: qemu is 7.2, and 10.0 is asked for; b: it has no arch-aarch64"
    )
    assert why_none([worker(can=("arch-aarch64",), qemu=("10.0",))], one) is None


def test_only_what_fits_now_is_sent() -> None:
    one = worker()
    assert choose([one], wanting(Cost(cores=4))) is one
    one.mine["a"] = amounts(Cost(cores=3, memory=900 * MIB), one.abilities)
    assert choose([one], wanting(Cost(cores=2))) is None
    assert choose([one], wanting(Cost(cores=1, memory=200 * MIB))) is None
    assert choose([one], wanting(Cost(cores=1, memory=100 * MIB))) is one
    # what others have sent counts as well
    one.others = {"cores": 1.0}
    assert choose([one], wanting(Cost(cores=1))) is None
    # beside all that
    assert choose([one], wanting(Cost(cores=4, background=True))) is one


def test_more_than_all_is_all() -> None:
    one = worker()
    assert amounts(Cost(cores=9, memory=10**15), one.abilities) == {"cores": 4.0, "MiB": 1000.0}
    assert choose([one], wanting(Cost(cores=9))) is one
    one.mine["a"] = {"cores": 1.0}
    assert choose([one], wanting(Cost(cores=9))) is None


def test_the_one_with_the_inputs_takes_it_then_the_least_able_then_the_idlest() -> None:
    able, plain, busy = worker("able", can=("kvm",)), worker("plain"), worker("busy")
    busy.mine["a"] = {"cores": 1.0}
    reads = [("disk", "1"), ("tree", "2")]
    assert choose([able, busy, plain], wanting(), reads) is plain
    able.holds[reads[0]] = 10
    busy.holds |= {reads[0]: 10, reads[1]: 5}
    assert choose([able, busy, plain], wanting(), reads) is busy
    # unless it was lost with it
    assert choose([able, busy, plain], wanting(), reads, avoid=[busy.address]) is able
    # and when there is nobody else, better there than nowhere
    assert choose([busy], wanting(), reads, avoid=[busy.address]) is busy


def test_other_clients_steps_are_summed_up() -> None:
    given = {"a-1": {"cores": 2.0, "MiB": 10.0}, "b-1": {"cores": 1.0}, "mine-1": {"cores": 4.0}}
    assert joined(given, ["mine-1"]) == {"cores": 3.0, "MiB": 10.0}


def test_abilities_travel_as_json_and_what_else_is_told_is_none() -> None:
    one = abilities(can=("kvm",), qemu=("10.0",))
    assert read_abilities(json.loads(json.dumps(one.as_json()))) == one
    for other in (None, "x", {}, {"name": "x"}, {**one.as_json(), "cores": "many"}):
        assert read_abilities(other) is None


@pytest.mark.parametrize("change", [{"source": "t"}, {"keys": {"qemu": ("9",)}}, {"python": "4"}])
def test_the_fingerprint_is_of_what_decides_the_artifacts(change: dict[str, object]) -> None:
    one = abilities(qemu=("10.0",))
    assert replace(one, **change).fingerprint != one.fingerprint  # type: ignore[arg-type]  # fields by name
    assert replace(one, name="other", cores=64, guests={"slowness": 9}).fingerprint == one.fingerprint


def test_the_source_digest_knows_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imagebuild.cluster import abilities as module

    before = source_of_imagebuild()
    (tmp_path / "one").write_text("x")
    monkeypatch.setattr(module, "shared_directory", lambda _: tmp_path)
    source_of_imagebuild.cache_clear()
    after = source_of_imagebuild()
    source_of_imagebuild.cache_clear()
    assert before != after


def test_a_machine_has_the_architectures_whose_programs_run_there(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"x86_64"}
    monkeypatch.setattr(emulation, "reason_not_to_run", lambda arch: None if arch in runs else "no emulator")
    for more in (set[str](), {"aarch64"}):
        runs |= more
        found = {name for name in measured._can(None) if name.startswith("arch-")}
        assert found == {f"arch-{name}" for name in runs}


def test_one_that_a_step_was_lost_with_is_not_taken_because_others_are_busy() -> None:
    lost, busy = worker("lost"), worker("busy")
    busy.mine["a"] = {"cores": 4.0}
    assert choose([lost, busy], wanting(), avoid=[lost.address]) is None


def test_a_machine_with_kvm_emulates_guests_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guests = Accelerator(name="kvm", slowness=1.0, reason="", measured="", arch="x86_64")
    monkeypatch.setattr(measured, "_guests", lambda: guests)
    told = measured.measure("one", 2, 2000, DirectoryStore(tmp_path))
    assert told.keys["accelerator"] == ("kvm", "tcg")
    plain = replace(told, keys={**told.keys, "accelerator": ("kvm",)})
    assert why_not(plain, wanting(accelerator="tcg")) == "accelerator is kvm, and tcg is asked for"
    assert why_not(told, wanting(accelerator="tcg")) is None


def test_a_directory_is_another_one_where_another_is_mounted(tmp_path: Path) -> None:
    here = measured.place_of(DirectoryStore(tmp_path / "store"))
    assert measured.place_of(DirectoryStore(tmp_path / "store")) == here
    assert here.startswith(f"{tmp_path}/store (")
    (tmp_path / "store").rename(tmp_path / "other")
    assert measured.place_of(DirectoryStore(tmp_path / "store")) != here
