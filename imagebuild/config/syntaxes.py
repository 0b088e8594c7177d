"""The versions of the kickstart language that pykickstart knows: which can install a tree, and which have a
command or an option.

Fedora's are F21 …, those of Red Hat Enterprise Linux and CentOS RHEL7 …; DEVEL is the newest of Fedora's
(pykickstart, version.py).
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

from pykickstart.base import DeprecatedCommand, RemovedCommand
from pykickstart.handlers.control import commandMap
from pykickstart.version import returnClassForVersion, versionMap

SOURCE = "ostreesetup"  # what every kickstart of a tree has: pykickstart has it from F21 and RHEL7 on


def problem(syntax: str) -> str | None:
    """Return why a version cannot be used for a tree, a sentence; None when it can."""
    if syntax not in versionMap:
        return f"pykickstart has no version {syntax!r}"
    if SOURCE not in commandMap[versionMap[syntax]]:
        return (
            f"the kickstart version {syntax} has no `{SOURCE}`, so that no tree can be installed: it came"
            f" with {shown(having(SOURCE))}"
        )
    return None


def usable() -> list[str]:
    """Return the versions that can install a tree: Fedora's, then the others, each from the oldest on."""
    names = [name for name in versionMap if problem(name) is None]
    return sorted(names, key=lambda name: (name.startswith("RHEL"), name == "DEVEL", versionMap[name]))


@functools.cache  # it adds to sys.path each time (pykickstart 3.78, version.py)
def _handler_class(number: int) -> Any:
    return returnClassForVersion(number)


def handler(syntax: str) -> Any:
    """Return pykickstart's handler of a version. By its number: it has a name for DEVEL, but no module of
    that name.
    """
    return _handler_class(versionMap[syntax])()


def having(command: str, option: str = "") -> list[str]:
    """Return the versions that have a command (and an option of it, such as `--nohome`), which does something
    there.
    """
    names = [name for name in versionMap if name != "DEVEL"]
    return [name for name in names if _has(commandMap[versionMap[name]].get(command), option)]


def _has(command: Callable[[], Any] | None, option: str) -> bool:
    if command is None or (
        isinstance(command, type) and issubclass(command, RemovedCommand | DeprecatedCommand)
    ):
        return False
    if not option:
        return True
    options = getattr(command(), "op", None)
    return options is not None and option in options._option_string_actions


def shown(names: Iterable[str]) -> str:
    """Return versions in words: `F28 and newer, RHEL8 and newer`; empty for none."""
    chosen = set(names)
    words = []
    for prefix in ("F", "RHEL"):
        family = sorted(
            (name for name in versionMap if name.rstrip("0123456789") in (prefix, f"{prefix}C")),
            key=lambda name: versionMap[name],
        )
        inside = [name for name in family if name in chosen]
        if inside and inside[-1] == family[-1]:
            words.append(f"{inside[0]} and newer")
        elif inside:
            words.append(inside[0] if len(inside) == 1 else f"{inside[0]} … {inside[-1]}")
    return ", ".join(words)
