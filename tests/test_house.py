"""The house in figures: `pytest -s tests/test_house.py` prints them.

Good code of this field (osbuild, mkosi, cibuildwheel, pypa/build) has functions of about ten lines at the
median and at most fifty at the 95th percentile.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

from tests.data import ROOT

PACKAGE, TESTS = ROOT / "imagebuild", ROOT / "tests"
WIDTH = 110


@cache
def sources(place: Path) -> dict[Path, str]:
    return {file: file.read_text() for file in sorted(place.rglob("*.py"))}


def functions(place: Path) -> Iterator[tuple[int, str]]:
    for file, text in sources(place).items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield node.end_lineno - node.lineno + 1, f"{file.relative_to(ROOT)}: {node.name}"


def share(lengths: list[int], part: float) -> int:
    return sorted(lengths)[int(len(lengths) * part)]


def test_functions_are_short() -> None:
    counted = sorted(functions(PACKAGE), reverse=True)
    lengths = [length for length, _ in counted]
    median, most, longest = share(lengths, 0.5), share(lengths, 0.95), lengths[0]
    print(f"{len(lengths)} functions: {median} lines at the median, {most} at p95, {longest} at most")
    assert median <= 9
    assert most <= 35
    assert longest <= 60, [name for length, name in counted if length > 60]


@pytest.mark.parametrize("place", [PACKAGE, TESTS], ids=["package", "tests"])
def test_files_are_short(place: Path) -> None:
    counted = sorted((text.count("\n"), str(file.relative_to(ROOT))) for file, text in sources(place).items())
    lengths = [length for length, _ in counted]
    median, most, longest = share(lengths, 0.5), share(lengths, 0.95), lengths[-1]
    print(
        f"{place.name}: {len(lengths)} files: {median} lines at the median, {most} at p95, {longest} at most"
    )
    assert longest <= 400, [entry for entry in counted if entry[0] > 400]
    assert place == TESTS or most <= 300, [entry for entry in counted if entry[0] > 300]


@pytest.mark.parametrize("place", [PACKAGE, TESTS], ids=["package", "tests"])
def test_lines_are_narrow(place: Path) -> None:
    lines = [line for text in sources(place).values() for line in text.splitlines()]
    wide = [line for line in lines if len(line) > WIDTH]
    print(f"{place.name}: {len(wide)} of {len(lines)} lines are over {WIDTH} columns")
    assert len(wide) < 0.005 * len(lines)


def test_the_root_is_small() -> None:
    modules = sorted(file.name for file in PACKAGE.glob("*.py") if not file.name.startswith("__"))
    print(f"root: {', '.join(modules)}")
    assert len(modules) <= 10


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("imagebuild", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    print(f"{len(imports)} modules, {sum(map(len, imports.values()))} imports")
    ahead = {module: set(targets) for module, targets in imports.items()}
    while free := [module for module, targets in ahead.items() if not targets & ahead.keys()]:
        for module in free:
            del ahead[module]
    assert not ahead, f"a circle among {sorted(ahead)}"


def test_every_room_says_what_it_is() -> None:
    rooms = [file for file in sources(PACKAGE) if file.name == "__init__.py"]
    assert all(ast.get_docstring(ast.parse(sources(PACKAGE)[file])) for file in rooms)


def test_no_test_imports_another() -> None:
    pattern = re.compile(
        r"^\s*(from tests[\w.]*\.test_\w+ import|from tests[\w.]* import .*\btest_|import tests\S*\.test_)",
        re.MULTILINE,
    )
    programs = re.compile(r'"""\n(?:import|from) .*?"""', re.DOTALL)
    # what a test gives a child process is a program of its own
    bad = [file for file, text in sources(TESTS).items() if pattern.search(programs.sub("", text))]
    assert not bad


def test_tests_mirror_the_package() -> None:
    rooms = {file.parent.relative_to(TESTS) for file in sources(TESTS) if file.name.startswith("test_")}
    own = {Path(), Path("vm"), Path("docs"), Path("fuzz"), Path("faults")}
    unknown = [room for room in rooms - own if not (PACKAGE / room).is_dir()]
    assert not unknown
