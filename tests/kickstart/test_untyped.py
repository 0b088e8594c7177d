"""pykickstart's untyped handler ends in the room of the language: others see a Plan, Statements, Scripts."""

import ast
from pathlib import Path

from tests.data import ROOT

PACKAGE = ROOT / "imagebuild"
# the versions of the language, of which configurations name one
VERSIONS = PACKAGE / "config" / "syntaxes.py"
# puts the library onto the medium, and reads nothing with it
COPIES = PACKAGE / "installers" / "live" / "product.py"


def elsewhere() -> list[Path]:
    """Return the modules outside of kickstart/ and of what names versions."""
    return [
        file
        for file in sorted(PACKAGE.rglob("*.py"))
        if file != VERSIONS and not file.is_relative_to(PACKAGE / "kickstart")
    ]


def imported(file: Path) -> set[str]:
    """Return the packages that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_nobody_else_imports_pykickstart() -> None:
    assert [file for file in elsewhere() if "pykickstart" in imported(file)] == [COPIES]


def test_nobody_else_asks_a_handler() -> None:
    asking = {
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in elsewhere()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "handler"
    }
    assert not asking
