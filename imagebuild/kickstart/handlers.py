"""What pykickstart's untyped handler has of a command."""

from typing import Any


def data(handler: Any, command: str) -> list[Any]:
    """Return what a command that may be given several times was given, one object each; none where the
    version has no such command.
    """
    return list((handler.commands[command].dataList() if command in handler.commands else None) or [])


def seen(handler: Any, command: str) -> bool:
    """Whether a command was given; it was not where the version has no such command."""
    return command in handler.commands and bool(handler.commands[command].seen)
