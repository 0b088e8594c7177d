"""What a profile of container storage is: its record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One way in which container storage is set up.

    `problem` looks at a host and returns what is wrong with its storage, as a sentence; None when it is as
    promised. `root_takes_all`: containers live on the root file system, which takes the whole disk.
    """

    name: str
    problem: Callable[[Run], str | None]
    root_takes_all: bool = False
