"""Parameters of a step travel to another machine, whose store lies elsewhere: paths in the store that they
were made for become paths in the one that is there.
"""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any


def relocated(value: Any, root: Path, here: Path) -> Any:
    """Return a value in which every path below `root` is the same one below `here`: in dataclasses, tuples,
    lists and dictionaries, too. What has none is returned as it is.
    """
    if root == here:
        return value
    if isinstance(value, Path):
        return here / value.relative_to(root) if value.is_relative_to(root) else value
    if isinstance(value, tuple | list):
        return type(value)(relocated(each, root, here) for each in value)
    if isinstance(value, dict):
        return {name: relocated(each, root, here) for name, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _of_fields(value, root, here)
    return value


def _of_fields(value: Any, root: Path, here: Path) -> Any:
    old = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    new = {name: relocated(each, root, here) for name, each in old.items()}
    changed = {name: each for name, each in new.items() if each != old[name]}
    return replace(value, **changed) if changed else value
