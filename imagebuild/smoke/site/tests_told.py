"""What a pytest file tells without being run: its test functions, and on what each is tested.

The names of all cells must be known before anything boots, and a release must not depend on what code makes
up at run time: so there are plain functions at the top only.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from imagebuild.smoke.criterion import JOURNEYS, Asks

_JOURNEYS = {str(asks.value): asks for asks in JOURNEYS}


@dataclass(frozen=True)
class Told:
    """A test function: its name, the first line of its docstring, and on what it is tested."""

    function: str
    about: str
    asks: Asks


def told(text: bytes, where: str) -> Iterator[Told]:
    """Yield the tests of a file. Raises ValueError for what is not a plain function, and for none at all."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{where}: is not Python: {error}") from error
    for node in ast.walk(tree):
        _refuse_hidden(node, tree, where)
    found = [_told(node, where) for node in tree.body if _is_test(node)]
    if not found:
        raise ValueError(f"{where}: has no function test_… at its top")
    for number, one in enumerate(found):
        if one.function in [other.function for other in found[:number]]:
            raise ValueError(f"{where}: {one.function} is there twice")
    yield from found


def _is_test(node: ast.AST) -> bool:
    name = getattr(node, "name", None)
    return not isinstance(node, ast.alias) and isinstance(name, str) and name.startswith(("test", "Test"))


def _refuse_hidden(node: ast.AST, tree: ast.Module, where: str) -> None:
    """Refuse what pytest would take for a test, or not, by what happens at run time."""
    hidden = ""
    if isinstance(node, ast.ImportFrom):
        names = [alias.asname or alias.name for alias in node.names]
        hidden = next((name for name in names if name == "*" or name.startswith(("test", "Test"))), "")
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        hidden = node.id if node.id.startswith(("test_", "Test")) else ""
    elif _is_test(node) and node not in tree.body:
        hidden = str(getattr(node, "name", ""))
    if hidden:
        line = getattr(node, "lineno", 0)
        raise ValueError(f"{where}:{line}: {hidden}: a criterion is a plain function test_… at the top")


def _told(node: ast.stmt, where: str) -> Told:
    if not isinstance(node, ast.FunctionDef):
        kind = type(node).__name__
        raise ValueError(f"{where}:{node.lineno}: {kind}: a criterion is a plain function test_…")
    if node.decorator_list:
        raise ValueError(
            f"{where}:{node.lineno}: {node.name} has a decorator: a criterion has one cell, and its record"
            " says where it is tested"
        )
    if not node.name.startswith("test_"):
        raise ValueError(f"{where}:{node.lineno}: {node.name}: a criterion's function is named test_…")
    wanted = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
    journeys = [_JOURNEYS[name] for name in wanted if name in _JOURNEYS]
    if len(journeys) > 1 or Asks.SLEPT_JOURNEY in journeys:
        raise ValueError(
            f"{where}:{node.lineno}: {node.name}: a site's criterion goes on one journey (none slept)"
        )
    about = (ast.get_docstring(node) or "").partition("\n")[0]
    return Told(function=node.name, about=about, asks=journeys[0] if journeys else Asks.FIRST_BOOT)
