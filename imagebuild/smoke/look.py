"""A person looks at a guest in which a criterion has failed, before it is ended."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, kw_only=True)
class GuestAccess:
    """How to get at a guest: its serial console, the command that gets in by ssh, and whether it is on."""

    console: Path
    ssh: str
    alive: bool


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A criterion that failed, and the guest in which it did (None: there was none)."""

    criterion: str
    reason: str
    access: GuestAccess | None


# called with each failure while its guest is still there; the guest is ended some time after it returns
OnFailure = Callable[[Failure], None]


def describe(failure: Failure) -> str:
    """Return what the person is told."""
    access = failure.access
    lines = ["", f"{failure.criterion} failed: {failure.reason.splitlines()[0] if failure.reason else ''}"]
    if access is None:
        return "\n".join([*lines, "there is no guest to look at", ""])
    lines += [f"  console: tail -f {access.console}"]
    lines += [f"  ssh:     {access.ssh}" if access.alive else "  the guest is off: nobody gets in by ssh"]
    return "\n".join([*lines, "Enter goes on with the other criteria, and ends the guest after them", ""])


def at_terminal(terminal: Path) -> OnFailure:
    """Return what tells the person at a terminal how to get in, and waits there for Enter, or for the end of
    input.
    """

    def wait(failure: Failure) -> None:
        # a process without a terminal of its own must not take this one: signals would reach it
        descriptor = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
        with os.fdopen(descriptor, "r+b", buffering=0) as stream:
            ask(failure, stream)

    return wait


def ask(failure: Failure, stream: BinaryIO) -> None:
    """Write how to get in, and read one line."""
    stream.write(describe(failure).encode())
    if failure.access is not None:
        stream.readline()
