"""The release criteria, one per file: each test reads like its sentence. Run under pytest against one booted
artifact.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

# what a criterion asks for that changes the host's releases: tested once for each way in which a host is told
# to (plugin.py, `way`)
JOURNEYS = ("journey", "fresh_journey", "layering")
INSTALLS = "installer-media-boots-and-installs"
BY_ATOMIC = "-by-atomic-host"


def _functions() -> Iterator[ast.FunctionDef]:
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        tree = ast.parse(file.read_text())
        yield from (
            node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        )


def _sentence(function: ast.FunctionDef) -> str:
    return function.name.removeprefix("test_").replace("_", "-")


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all criteria, as the verdict's cells have them, without running or importing
    any.
    """
    return tuple(_sentence(function) for function in _functions())


@functools.cache
def sentences() -> tuple[tuple[str, str], ...]:
    """Return the name of each criterion and what its docstring says (empty: the name says it all)."""
    return tuple(
        (_sentence(function), " ".join((ast.get_docstring(function) or "").split()))
        for function in _functions()
    )


def required(*, atomic: bool, installer: bool = False) -> tuple[str, ...]:
    """Return the names of all cells that a verdict must have; `atomic`: the tree has that command, and is
    tested through it, too.
    """
    again = [f"{_sentence(each)}{BY_ATOMIC}" for each in _functions() if _asks_for(each, *JOURNEYS)]
    return (*names(), *(again if atomic else ()), *((INSTALLS,) if installer else ()))


@functools.cache
def at_first_boot() -> tuple[str, ...]:
    """Return the criteria that look at the settled first boot only."""
    return tuple(_sentence(each) for each in _functions() if not _asks_for(each, *JOURNEYS))


@functools.cache
def firmware_bound() -> tuple[str, ...]:
    """Return the criteria about booting what was deployed: known under one firmware, they are not known under
    another.
    """
    return tuple(
        _sentence(each)
        for each in _functions()
        if "pytest.mark.firmware" in map(ast.unparse, each.decorator_list)
    )


def _asks_for(function: ast.FunctionDef, *words: str) -> bool:
    return any(argument.arg in words for argument in function.args.args)
