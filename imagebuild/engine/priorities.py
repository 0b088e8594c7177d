"""Which of several ready steps goes first: the one with the longest way to the end of the build behind it.

The rule is that of list scheduling by critical path (R. L. Graham, Bounds on Multiprocessing Timing
Anomalies, 1969; T. C. Hu, 1961: "highest level first"). How long a step takes is known from the builds before
on this machine; what was never built is assumed to take as long as others of its kind, or else what such a
step usually takes.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from imagebuild.engine.steps import Step, inputs, kind_of
from imagebuild.engine.store import Store

# seconds of a step that no build has recorded yet, without and with a guest (docs/guests.md, two cores
# without KVM): only their ratio counts
ASSUMED, ASSUMED_WITH_GUEST = 20.0, 240.0


def usual_seconds(store: Store, builds: int = 20) -> dict[str, float]:
    """Return step name -> seconds that it took the last time, from the newest builds on this machine."""
    seconds: dict[str, float] = {}
    for remembered in store.builds()[-builds:]:
        for span in remembered.spans:
            if span["state"] == "done":
                seconds[span["step"]] = float(span["end"]) - float(span["begin"])
    return seconds


def remaining_seconds(order: Sequence[Step[Any]], usual: Mapping[str, float]) -> dict[Step[Any], float]:
    """Return for each step how long it and the longest chain of steps behind it take.

    `order` has every step after its inputs; `usual` the seconds of steps by name.
    """
    remaining: dict[Step[Any], float] = dict.fromkeys(order, 0.0)
    by_kind = _by_kind(order, usual)
    for one in reversed(order):
        remaining[one] += _seconds(one, usual, by_kind)
        for needed in inputs(one):
            # what is finished is not in the order
            if needed in remaining:
                remaining[needed] = max(remaining[needed], remaining[one])
    return remaining


def _by_kind(order: Sequence[Step[Any]], usual: Mapping[str, float]) -> dict[str, float]:
    known: dict[str, list[float]] = {}
    for one in order:
        if one.name in usual:
            known.setdefault(kind_of(one), []).append(usual[one.name])
    return {kind: statistics.median(seconds) for kind, seconds in known.items()}


def _seconds(one: Step[Any], usual: Mapping[str, float], by_kind: Mapping[str, float]) -> float:
    if one.name in usual:
        return usual[one.name]
    return by_kind.get(kind_of(one), ASSUMED_WITH_GUEST if one.cost.guests else ASSUMED)
