"""Container storage-setup profiles: what each release line promises about where containers live."""

import importlib
from collections.abc import Callable, Sequence
from typing import Protocol

Run = Callable[[Sequence[str]], str]


class Profile(Protocol):
    """One way container storage is set up."""

    def problem(self, run: Run) -> str:
        """Return what is wrong with the storage of a host, as a sentence; empty when it is as promised."""


def profile(name: str) -> Profile:
    """Return a profile by its name in the configuration."""
    # a profile per module, and the modules know this one
    module = importlib.import_module(f"imagebuild.storage.{name.replace('-', '_')}")
    made: Profile = module.PROFILE
    return made
