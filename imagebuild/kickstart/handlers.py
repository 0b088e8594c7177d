"""What pykickstart's untyped handler has of a command."""

from typing import Any

from pykickstart.base import DeprecatedCommand


def data(handler: Any, command: str) -> list[Any]:
    """Return what a command that may be given several times was given, one object each; none where the
    version has no such command.
    """
    known = command in handler.commands and not without_effect(handler.commands[command])
    return list((handler.commands[command].dataList() if known else None) or [])


def seen(handler: Any, command: str) -> bool:
    """Whether a command was given; it was not where the version has no such command."""
    return command in handler.commands and bool(handler.commands[command].seen)


def without_effect(command: Any) -> bool:
    """Whether a version of the language takes a command, and ignores it (`btrfs` in RHEL 8 and 9)."""
    return isinstance(command, DeprecatedCommand)
