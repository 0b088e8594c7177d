"""What a build would do, and why: which steps are missing, and what changed since they were built."""

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from imagebuild.engine.builds import INTERRUPTED, RUNNING, Remembered
from imagebuild.engine.steps import Step, components, inputs, key_of, kind_of
from imagebuild.engine.store import Store


@dataclass(frozen=True)
class Planned:
    """One step of a plan: whether its artifact is there, is to be built, or is not needed; and why."""

    step: Step[Any]
    todo: bool
    reason: str


def order(goals: Sequence[Step[Any]]) -> list[Step[Any]]:
    """Return every step that the goals need, inputs first."""
    sorter: TopologicalSorter[Step[Any]] = TopologicalSorter()
    todo, seen = list(goals), set[Step[Any]]()
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            sorter.add(one, *inputs(one))
            todo += inputs(one)
    return list(sorter.static_order())


def plan(goals: Sequence[Step[Any]], store: Store) -> list[Planned]:
    """Say what `build` would do, and why, without doing it."""
    needed = needed_steps(goals, store)
    builds = store.builds()[::-1]
    return [Planned(one, one in needed, _why(one, store, builds, one in needed)) for one in order(goals)]


def needed_steps(goals: Sequence[Step[Any]], store: Store) -> set[Step[Any]]:
    """Return the steps that must be built: a goal, or the input of such a step, without a finished
    artifact.
    """
    store.expect([(kind_of(one), key_of(one)) for one in order(goals)])
    todo, missing, seen = list(goals), set[Step[Any]](), set[Step[Any]]()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        if store.find(kind_of(one), key_of(one)) is None:
            missing.add(one)
            todo += inputs(one)
    return missing


def _why(one: Step[Any], store: Store, builds: Sequence[Remembered], missing: bool) -> str:
    """Say why a step is built or not, from what the builds before (newest first) have written down."""
    pair = kind_of(one), key_of(one)
    if not missing:
        return "finished" if store.find(*pair) else "not needed: what reads it is finished"
    if store.busy(*pair):
        return "another imagebuild builds it now"
    mine = [build for build in builds if one.name in build.used]
    return _why_again(one, pair, store, mine) if mine else "never built"


def _why_again(one: Step[Any], pair: tuple[str, str], store: Store, mine: Sequence[Remembered]) -> str:
    same = [build for build in mine if build.used[one.name] == pair]
    if any(build.finished(one.name) for build in same):
        return "its artifact is gone"
    if same and same[0].ended_as(one.name) == "failed":
        return "it failed the last time"
    before = next(
        (record for build in mine if (record := store.find(*build.used[one.name])) is not None), None
    )
    if before is not None:
        now = components(one)
        changed = sorted(
            name for name in {*now, *before.components} if now.get(name) != before.components.get(name)
        )
        return "changed: " + ", ".join(changed)
    return _never_finished(mine)


def _never_finished(mine: Sequence[Remembered]) -> str:
    newest = mine[0]
    if newest.state == RUNNING:
        return "never finished: a build that runs now has not come to it"
    return (
        "never finished: the build before was interrupted"
        if newest.state == INTERRUPTED
        else "never finished"
    )
