"""Options that are given twice in one command: the last one wins in pykickstart, and the first is lost
without a word.

`services --enabled=a --enabled=b` enables b alone. Options that gather what they are given (`firewall
--service`) are no concern.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# what argparse makes of store, store_const, store_true and store_false: each overwrites (CPython 3.11,
# Lib/argparse.py); pykickstart 3.78 has classes of its own for what gathers (options.py, ExtendAction)
OVERWRITES = ("_StoreAction", "_StoreConstAction", "_StoreTrueAction", "_StoreFalseAction")


def lost(command: Any, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (option that is lost, option that wins) of a command's words: two that set the same to different
    values.
    """
    actions: dict[str, argparse.Action] = getattr(getattr(command, "op", None), "_option_string_actions", {})
    earlier: dict[str, tuple[str, object]] = {}
    for index, word in enumerate(words):
        option, equals, text = word.partition("=")
        action = _meant(option, actions)
        if action is None or type(action).__name__ not in OVERWRITES:
            continue
        following = words[index + 1] if index + 1 < len(words) else ""
        value = text if equals else action.const if action.nargs == 0 else following
        before, known = earlier.get(action.dest, (option, value))
        if known != value:
            yield before, option
        earlier[action.dest] = (option, value)


def _meant(option: str, actions: Mapping[str, argparse.Action]) -> argparse.Action | None:
    """Return what an option sets; argparse takes one that is cut short, too, where it is still the only
    one.
    """
    longer = {
        id(action): action
        for name, action in actions.items()
        if option.startswith("--") and name.startswith(option)
    }
    return actions.get(option) or (next(iter(longer.values())) if len(longer) == 1 else None)


def settings(command: Any) -> set[str]:
    """Return the names of what a command's options set."""
    return {action.dest for action in getattr(getattr(command, "op", None), "_actions", ())}
