"""Of what is ready, the step with the longest way to the end behind it goes first."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from imagebuild.engine import graph, planning
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.priorities import ASSUMED, ASSUMED_WITH_GUEST, remaining_seconds, usual_seconds
from imagebuild.engine.steps import Cost, Step, gather, key_of, kind_of, step
from imagebuild.engine.store import Store
from tests.engine.building import BUDGET, Recorder
from tests.engine.sample_steps import Text, join, shout, write

ALONE = Cost(cores=BUDGET.cores)


def two_ways(word: str = "") -> tuple[Step[Text], Step[Text], Step[Text]]:
    """A medium that nothing is made of, and a disk that much is: the medium is wired first."""
    medium = step("medium", write, f"medium{word}", cost=ALONE)
    disk = step("disk", write, f"disk{word}", cost=ALONE)
    tested = step("tested", shout, step("image", shout, disk, cost=ALONE), cost=ALONE)
    return medium, disk, step("release", join, gather([medium, tested]), "", cost=ALONE)


def started(goal: Step[Text], store: Store) -> list[str]:
    recorder = Recorder()
    with ThreadPoolExecutor(1) as executor:
        graph.build([goal], store, executor, budget=BUDGET, listener=recorder)
    return [event.removeprefix("started ") for event in recorder.events if event.startswith("started")]


def record(store: Store, goal: Step[Text], seconds: dict[str, float]) -> None:
    """Write a build down that took so long."""
    diary = store.remember({one.name: (kind_of(one), key_of(one)) for one in planning.order([goal])})
    for name, took in seconds.items():
        diary.begins(name, ("k", "k"), background=False)
        diary._state["running"][-1]["begin"] -= took  # nobody waits an hour for it
        diary.ends(name, "done")
    diary.close("over")


def test_what_most_is_made_of_starts_first_whatever_was_wired_first(tmp_path: Path) -> None:
    _, _, release = two_ways()
    assert (
        started(release, DirectoryStore(tmp_path)) == ["disk", "image", "medium", "tested", "release"]
        or started(release, DirectoryStore(tmp_path / "again"))[0] == "disk"
    )


def test_a_step_that_took_long_the_last_time_starts_first(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    _, _, before = two_ways()
    record(store, before, {"medium": 3600.0, "disk": 1.0, "image": 1.0, "tested": 1.0, "release": 1.0})
    assert usual_seconds(store)["medium"] > 3599
    _, _, release = two_ways("changed")
    assert started(release, store)[0] == "medium"


def test_what_was_never_built_takes_as_long_as_its_kind_or_as_a_guest_does() -> None:
    medium, disk, release = two_ways()
    order = planning.order([release])
    remaining = remaining_seconds(order, {"medium": 7.0})
    assert remaining[medium] == 7.0 + ASSUMED, "itself, and the release"
    assert remaining[disk] == 7.0 + 3 * ASSUMED, "as long as the other step of its kind, and what follows"
    guest = step("guest", write, "", cost=Cost(guests=2))
    assert remaining_seconds([guest], {})[guest] == ASSUMED_WITH_GUEST
    assert remaining_seconds([guest], {"guest": 2.0})[guest] == 2.0


def test_what_is_finished_is_not_counted() -> None:
    _, disk, release = two_ways()
    waiting = [one for one in planning.order([release]) if one is not disk]
    assert disk not in remaining_seconds(waiting, {})


def test_inputs_stay_before_what_reads_them() -> None:
    _, _, release = two_ways()
    order = planning.order([release])
    remaining = remaining_seconds(order, dict.fromkeys((one.name for one in order), 0.0))
    assert sorted(order, key=lambda one: -remaining[one]) == order
