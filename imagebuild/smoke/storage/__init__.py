"""Container storage-setup profiles: what each release line promises about where containers live."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Protocol

Run = Callable[[Sequence[str]], str]


class Profile(Protocol):
    """One way container storage is set up."""

    def problem(self, run: Run) -> str:
        """Return what is wrong with the storage of a host, as a sentence; empty when it is as promised."""


def profile(name: str) -> Profile | None:
    """Return a profile by its name in the configuration; None when there is no way yet to check it."""
    # a profile per module, and the modules know this one
    module_name = f"imagebuild.smoke.storage.{name.replace('-', '_')}"
    if importlib.util.find_spec(module_name) is None:
        return None
    made: Profile = importlib.import_module(module_name).PROFILE
    return made
