"""Which of the steps that wait can start now, in the order of their urgency, and which never will.

Each step is looked at when one of its inputs has ended, and not before: a graph of ten thousand steps is not
gone through at each of its ends.
"""

import bisect
from collections.abc import Iterator, Sequence
from typing import Any

from imagebuild.engine.steps import Step, inputs, soft_inputs


class WaitingSteps:
    """Steps that wait for their inputs; those given first are the most urgent. What is not among them is
    there already.
    """

    def __init__(self, waiting: Sequence[Step[Any]]) -> None:
        self._rank = {one: rank for rank, one in enumerate(waiting)}
        self._by_rank = list(waiting)
        self._open: dict[Step[Any], set[Step[Any]]] = {}
        self._readers: dict[Step[Any], list[Step[Any]]] = {}
        self._ready: list[int] = []
        self._doomed: list[tuple[Step[Any], Step[Any]]] = []
        for one in waiting:
            self._open[one] = {each for each in inputs(one) if each in self._rank}
            for each in self._open[one]:
                self._readers.setdefault(each, []).append(one)
            if not self._open[one]:
                self._ready.append(self._rank[one])

    def __bool__(self) -> bool:
        return bool(self._open)

    def ready(self) -> Iterator[Step[Any]]:
        """Return those whose inputs have all ended well enough, the most urgent first."""
        for rank in list(self._ready):
            yield self._by_rank[rank]

    def take(self, one: Step[Any]) -> None:
        """Take away a step that is ready."""
        self._ready.remove(self._rank[one])
        del self._open[one]

    def end(self, one: Step[Any], *, well: bool) -> None:
        """Let those that read it know that a step has ended."""
        for reader in self._readers.pop(one, ()):
            if reader not in self._open:
                continue
            if not well and one not in soft_inputs(reader):
                self._doom(reader, one)
                continue
            self._open[reader].discard(one)
            if not self._open[reader]:
                bisect.insort(self._ready, self._rank[reader])

    def _doom(self, one: Step[Any], guilty: Step[Any]) -> None:
        del self._open[one]
        self._doomed.append((one, guilty))
        self.end(one, well=False)

    def doomed(self) -> list[tuple[Step[Any], Step[Any]]]:
        """Return the steps that cannot be built since this was last asked, each with the input at fault."""
        found, self._doomed = self._doomed, []
        return found
