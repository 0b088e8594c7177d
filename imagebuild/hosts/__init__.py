"""How a kind of host does what a criterion asks for: plain ostree, rpm-ostree, and (by the tree's own programs) atomic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The deployment a host has booted."""

    commit: str
    version: str
    origin: str


class HostCommands(Protocol):
    """What differs between kinds of host."""

    def booted(self, run: Run) -> Deployment:
        """Return the booted deployment."""
