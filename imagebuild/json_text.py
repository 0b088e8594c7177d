"""JSON that others wrote, read with one kind of error for whatever is wrong with it."""

import json
from collections.abc import Mapping
from typing import Any


def parse(text: str | bytes) -> Any:
    """Return what a JSON text says. Raises ValueError for what is none, and for one that is nested deeper
    than Python's own reader goes (CPython 3.11, Modules/_json.c: a RecursionError).
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def objects(value: object) -> list[Mapping[str, Any]]:
    """Return the objects in a list of a JSON text; none of anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
