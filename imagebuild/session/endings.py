"""When the last step of each of several goals has ended, and what had become of its steps then."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter

from imagebuild.engine.graph import Outcome
from imagebuild.engine.planning import needed_steps, order
from imagebuild.engine.steps import Step
from imagebuild.engine.store import Store, StoredArtifact
from imagebuild.errors import BuildError

V = TypeVar("V")


class Endings:
    """A listener that calls `over` with the label of each goal as soon as nothing of it runs or waits, from
    the thread that builds.
    """

    def __init__(self, goals: Mapping[str, Step[Any]], store: Store, over: Callable[[str], None]) -> None:
        self._steps = {label: set(order([goal])) for label, goal in goals.items()}
        self._left = {label: {goal, *needed_steps([goal], store)} for label, goal in goals.items()}
        self._outcome = Outcome()
        self._over = over

    def outcome(self, label: str) -> Outcome:
        """Return what has become of the steps of one goal so far."""
        mine = self._steps[label]

        def only(steps: Mapping[Step[Any], V]) -> dict[Step[Any], V]:
            return {one: value for one, value in steps.items() if one in mine}

        return Outcome(
            values=only(self._outcome.values),
            failed=only(self._outcome.failed),
            not_started=only(self._outcome.not_started),
            records=only(self._outcome.records),
        )

    def started(self, one: Step[Any], log: Path, *, busy: bool) -> None:
        """A step runs."""

    def finished(self, one: Step[Any], record: StoredArtifact, *, cached: bool) -> None:
        """A step's artifact is there."""
        del cached
        made = get_type_hints(one.function, include_extras=True)["return"]
        self._outcome.values[one] = TypeAdapter(made).validate_python(
            record.value, context={"base": record.directory}
        )
        self._outcome.records[one] = record
        self._ended(one)

    def failed(self, one: Step[Any], error: BuildError) -> None:
        """A step failed."""
        self._outcome.failed[one] = error
        self._ended(one)

    def not_started(self, one: Step[Any], because: Step[Any]) -> None:
        """A step was never started."""
        self._outcome.not_started[one] = because
        self._ended(one)

    def _ended(self, one: Step[Any]) -> None:
        for label, left in self._left.items():
            if one in left:
                left.remove(one)
                if not left:
                    self._over(label)
