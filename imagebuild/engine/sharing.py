"""Several goals in one graph: names tell them apart, and what two of them need is built once. Knows no
images.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imagebuild.engine.planning import order
from imagebuild.engine.steps import Gather, Step, key_of, kind_of

SEPARATOR = ": "


def named(label: str, step: str) -> str:
    """Return the name of a step in a graph of several goals, whose labels have no colon."""
    return f"{label}{SEPARATOR}{step}"


def split(name: str) -> tuple[str, str]:
    """Return (label, name of the step); the label is empty in the graph of one goal."""
    label, separator, step = name.partition(SEPARATOR)
    return (label, step) if separator else ("", name)


def share(goals: Mapping[str, Step[Any]]) -> dict[Step[Any], Step[Any]]:
    """Return, for each step that the goals need, the one that stands for it in their common graph.

    Steps with the same key are one, named after the first label that needs it (diaries, events and logs go by
    names, which must be unique). Keys stay as they are: a name is in none.
    """
    by_key: dict[tuple[str, str], Step[Any]] = {}
    common: dict[Step[Any], Step[Any]] = {}
    for label, goal in goals.items():
        for one in order([goal]):
            pair = kind_of(one), key_of(one)
            if pair not in by_key:
                by_key[pair] = replace(
                    one,
                    name=named(label, one.name),
                    arguments=tuple(_moved(argument, common) for argument in one.arguments),
                )
            common[one] = by_key[pair]
    return common


def _moved(argument: object, common: Mapping[Step[Any], Step[Any]]) -> object:
    if isinstance(argument, Gather):
        return replace(argument, arguments=tuple(_moved(each, common) for each in argument.arguments))
    return common[argument] if isinstance(argument, Step) else argument
