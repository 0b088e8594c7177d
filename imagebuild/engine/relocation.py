"""Parameters of a step travel to another machine, whose store lies elsewhere: paths in the store that they
were made for become paths in the one that is there.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any


def relocated(value: Any, root: Path, here: Path) -> Any:
    """Return a value in which every path below `root` is the same one below `here`: in dataclasses, tuples,
    lists and dictionaries, too. What has none is returned as it is.
    """

    def moved(part: Any) -> Any:
        return here / part.relative_to(root) if isinstance(part, Path) and part.is_relative_to(root) else part

    return value if root == here else replaced(value, moved)


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a value with each part of it put through `change`, which returns what it does not change: the
    value itself, fields of dataclasses, members of tuples, lists and dictionaries.
    """
    changed = change(value)
    if changed is not value:
        return changed
    if isinstance(value, tuple | list):
        return type(value)(replaced(each, change) for each in value)
    if isinstance(value, dict):
        return {name: replaced(each, change) for name, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _of_fields(value, change)
    return value


def _of_fields(value: Any, change: Callable[[Any], Any]) -> Any:
    old = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    new = {name: replaced(each, change) for name, each in old.items()}
    changed = {name: each for name, each in new.items() if each is not old[name] and each != old[name]}
    return replace(value, **changed) if changed else value
