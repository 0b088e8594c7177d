"""The release criteria, one per file: each test reads like its sentence. Run under pytest against one booted artifact."""

import ast
import functools
from pathlib import Path


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all criteria, as the verdict's cells have them, without running or importing any."""
    trees = (ast.parse(file.read_text()) for file in sorted(Path(__file__).parent.glob("test_*.py")))
    functions = (node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef))
    return tuple(name.removeprefix("test_").replace("_", "-") for name in functions if name.startswith("test_"))
