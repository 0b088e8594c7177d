"""Graphs are built in tests: what is heard of it, and a thread pool that runs it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuild.engine import graph
from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import Cost, Step
from imagebuild.engine.store import Store, StoredArtifact
from imagebuild.errors import BuildError

BUDGET = Cost(cores=4, memory=1000)


@dataclass
class Recorder:
    events: list[str] = field(default_factory=list)

    def started(self, one: Step[Any], log: Path, *, busy: bool) -> None:
        self.events.append(f"{'waiting for' if busy else 'started'} {one.name}")

    def finished(self, one: Step[Any], record: StoredArtifact, *, cached: bool) -> None:
        self.events.append(f"{'cached' if cached else 'finished'} {one.name}")

    def failed(self, one: Step[Any], error: BuildError) -> None:
        self.events.append(f"failed {one.name}")

    def not_started(self, one: Step[Any], because: Step[Any]) -> None:
        self.events.append(f"not started {one.name} because of {because.name}")


def run(
    goal: Step[Any], store: Store, recorder: Recorder | None = None, ending: Callable[[], None] = lambda: None
) -> Outcome:
    with ThreadPoolExecutor(4) as executor:
        try:
            return graph.build([goal], store, executor, budget=BUDGET, listener=recorder or Recorder())
        except KeyboardInterrupt:
            ending()
            raise
