"""What a graph is made of: typed steps, how they are wired, and their keys. Knows no images.

A step's key is the hash of everything that went in: the function's source and that of every module of its
package it imports, its parameters, the versions of the tools it runs, the data files of the product that it
opens, and the keys of the steps it reads.
"""

import ast
import functools
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar, Union, get_type_hints, overload

from pydantic import TypeAdapter

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")
H = TypeVar("H")
NOTHING: Mapping[Any, str] = MappingProxyType({})


@dataclass(frozen=True)
class Cost:
    """What a step takes while it runs: cores, and bytes of memory reserved before it starts.

    A `background` step takes what the others leave: it runs beside them at the lowest priority, and shares
    the cores with other such steps only. `guests` are the processors of its guests: those of all builds on a
    machine share its cores. `needs` are the names of what a machine of a cluster must be able to do.
    """

    cores: int = 1
    memory: int = 0
    background: bool = False
    guests: int = 0
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Step(Generic[T]):
    """A promise of one artifact of type T. Made by `step` or `gather`, never by hand."""

    name: str
    function: Callable[..., T]
    arguments: tuple[object, ...]
    tools: Mapping[str, str]
    cost: Cost
    reads: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Gather(Step[tuple[T, ...]]):
    """Several steps read by one: the reader gets a tuple. Builds nothing itself."""


@dataclass(frozen=True, eq=False)
class Available(Gather[T]):
    """Several steps read by one as far as they succeed: what fails is missing from the tuple, and from the
    key.
    """


@dataclass(frozen=True)
class Unkeyed(Generic[T]):
    """A parameter that does not change the artifact (where the repo lies, how hard to press): left out of the
    key.
    """

    value: T


Input: TypeAlias = Union[Step[A], Unkeyed[A], A]  # noqa: UP007  # `|` of these is not a generic alias at run time


@overload
def step(
    name: str,
    function: Callable[[Path, A], T],
    a: Input[A],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
    reads: Iterable[Path] = ...,
) -> Step[T]: ...
@overload
def step(
    name: str,
    function: Callable[[Path, A, B], T],
    a: Input[A],
    b: Input[B],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
    reads: Iterable[Path] = ...,
) -> Step[T]: ...
@overload
def step(
    name: str,
    function: Callable[[Path, A, B, C], T],
    a: Input[A],
    b: Input[B],
    c: Input[C],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
    reads: Iterable[Path] = ...,
) -> Step[T]: ...
@overload
def step(
    name: str,
    function: Callable[[Path, A, B, C, D], T],
    a: Input[A],
    b: Input[B],
    c: Input[C],
    d: Input[D],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
    reads: Iterable[Path] = ...,
) -> Step[T]: ...
@overload
def step(
    name: str,
    function: Callable[[Path, A, B, C, D, E], T],
    a: Input[A],
    b: Input[B],
    c: Input[C],
    d: Input[D],
    e: Input[E],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
    reads: Iterable[Path] = ...,
) -> Step[T]: ...
@overload
def step(
    name: str,
    function: Callable[[Path, A, B, C, D, E, F], T],
    a: Input[A],
    b: Input[B],
    c: Input[C],
    d: Input[D],
    e: Input[E],
    f: Input[F],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
    reads: Iterable[Path] = ...,
) -> Step[T]: ...
@overload
def step(
    name: str,
    function: Callable[[Path, A, B, C, D, E, F, G], T],
    a: Input[A],
    b: Input[B],
    c: Input[C],
    d: Input[D],
    e: Input[E],
    f: Input[F],
    g: Input[G],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
    reads: Iterable[Path] = ...,
) -> Step[T]: ...


@overload
def step(
    name: str,
    function: Callable[[Path, A, B, C, D, E, F, G, H], T],
    a: Input[A],
    b: Input[B],
    c: Input[C],
    d: Input[D],
    e: Input[E],
    f: Input[F],
    g: Input[G],
    h: Input[H],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
    reads: Iterable[Path] = ...,
) -> Step[T]: ...


def step(
    name: str,
    function: Callable[..., Any],
    *arguments: object,
    tools: Mapping[str, str] | None = None,
    cost: Cost | None = None,
    reads: Iterable[Path] = (),
) -> Step[Any]:
    """Promise `function(directory, *arguments)`: each argument a step whose artifact is wanted, or a
    parameter.

    A wrong wiring is an error of the type checker. `tools` are the versions of programs the function runs,
    `reads` the data files of the product that it opens: what is in them is part of the key.
    """
    return Step(name, function, arguments, dict(tools or {}), cost or Cost(), tuple(sorted(set(reads))))


def gather(steps: Iterable[Step[T]]) -> Step[tuple[T, ...]]:
    """Let one step read many of the same type."""
    return Gather("", tuple, tuple(steps), {}, Cost())


def gather_available(steps: Iterable[Step[T]]) -> Step[tuple[T, ...]]:
    """Let one step read those of many that succeed, when all have ended: the others do not stop it.

    What it makes without one of them is filed under the key of a step that never had that input, which is
    what it is; once the input is there, the step is built again.
    """
    return Available("", tuple, tuple(steps), {}, Cost())


def inputs(one: Step[Any]) -> list[Step[Any]]:
    """Return the real steps that `one` reads."""
    found: list[Step[Any]] = []
    for argument in one.arguments:
        if isinstance(argument, Gather):
            found += inputs(argument)
        elif isinstance(argument, Step):
            found.append(argument)
    return found


def soft_inputs(one: Step[Any]) -> set[Step[Any]]:
    """Return the inputs that `one` is built without when they fail."""
    soft = {
        each for argument in one.arguments if isinstance(argument, Available) for each in inputs(argument)
    }
    others = tuple(argument for argument in one.arguments if not isinstance(argument, Available))
    return soft - set(inputs(replace(one, arguments=others)))


# --- keys ---------------------------------------------------------------------------------------------------


@functools.cache
def source_digest(module: str) -> str:
    """Return the sha256 of a module's source and of every module of the same package that it imports,
    directly or not.
    """
    package = module.partition(".")[0]
    seen: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin) if spec is not None and spec.origin else None
        if origin is None:
            continue
        text = origin.read_bytes()
        seen[name] = hashlib.sha256(text).hexdigest()
        todo += [found for found in _imports(text, package) if found not in seen]
    return hashlib.sha256("\n".join(sorted(seen.values())).encode()).hexdigest()


@functools.cache
def _imports(text: bytes, package: str) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] == package]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == package:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [node.module, *(name for name in names if _is_module(name))]
    return tuple(found)


def _is_module(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def components(
    one: Step[Any], keys: Mapping[Step[Any], str] = NOTHING, missing: Container[Step[Any]] = ()
) -> dict[str, str]:
    """Return what the key of a step is made of, by name, so that a change can be told to the user.

    `keys` are those of inputs that were not made of all that they can be made of; `missing` are soft inputs
    that failed.
    """
    names = _names_of(one.function)
    parts = {"source": source_digest(one.function.__module__), "function": one.function.__qualname__}
    parts |= {f"tool {tool}": version for tool, version in one.tools.items()}
    parts |= {f"file {file.name}": _file_digest(file) for file in one.reads}
    for name, argument in zip(names, one.arguments, strict=True):
        if isinstance(argument, Gather):
            known = [each for each in argument.arguments if isinstance(each, Step) and each not in missing]
            parts[f"inputs {name}"] = " ".join(keys.get(each) or key_of(each) for each in known)
        elif isinstance(argument, Step):
            parts[f"input {name}"] = keys.get(argument) or key_of(argument)
        elif not isinstance(argument, Unkeyed):
            parts[f"parameter {name}"] = _dumped(argument)
    return parts


def _dumped(argument: object) -> str:
    kind: Any = type(argument)
    return _adapter_of(kind).dump_json(argument).decode()


@functools.cache
def _adapter_of(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@functools.cache
def _names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of what a step's function is given, after its directory."""
    return tuple(name for name in get_type_hints(function) if name != "return")[1:]


@functools.cache
def _file_digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@functools.cache
def key_of(one: Step[Any]) -> str:
    """Return the key of a step: 32 hexadecimal digits."""
    return digest_of(components(one))


def digest_of(parts: Mapping[str, str]) -> str:
    """Return the key that is made of components."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def kind_of(one: Step[Any]) -> str:
    """Return the name of the step's stage, under which the store files its artifacts."""
    return one.function.__module__.rpartition(".")[2] + "." + one.function.__name__
