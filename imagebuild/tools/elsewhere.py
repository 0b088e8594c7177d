"""Keys are made of what a machine has, and a step may run on another machine than the one that makes its key:
what that one has is told here, and asked for where this machine would else be looked at.
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from imagebuild.errors import MissingToolError


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Another machine: `name` is what people call it; `values` are name of a program, or `firmware NAME`, ->
    its version or digest, none when it is missing; `ways` to populate disks work there; `can`: what a step
    may need there; `guests` are the fields of its accelerator.
    """

    name: str
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ways: tuple[str, ...] = ()
    can: tuple[str, ...] = ()
    guests: Mapping[str, Any] = field(default_factory=dict)

    def value(self, name: str) -> str:
        """Return what it has of that name. Raises MissingToolError."""
        found = self.values.get(name, ())
        if not found:
            raise MissingToolError(
                f"{name} is not installed on {self.name}", hint="install it on the workers"
            )
        return found[0]


_machine: ContextVar[Machine | None] = ContextVar("imagebuild_machine", default=None)


@contextlib.contextmanager
def standing_for(machine: Machine) -> Iterator[None]:
    """Make keys for another machine until the block ends."""
    token = _machine.set(machine)
    try:
        yield
    finally:
        _machine.reset(token)


def other_machine() -> Machine | None:
    """Return the machine that keys are made for; None: this one."""
    return _machine.get()
