"""GRUB's `test`: whether a condition holds (commands/test.c of GRUB 2.06)."""

import re
from collections.abc import Callable, Sequence

DEEPEST = 30


def holds(words: Sequence[str], has: Callable[[str], bool]) -> bool:
    """Whether an expression is true; `has` says whether there is a file (or a directory) of a name."""
    return _expression(list(words), has, DEEPEST)


def _expression(words: list[str], has: Callable[[str], bool], depth: int) -> bool:
    """Evaluate up to the end or a closing parenthesis, and take that many words: `or` holds if anything
    before it did.
    """
    so_far, either, inverted = True, False, False
    while words:
        word = words[0]
        if word == ")" and not _three(words):
            words.pop(0)
            break
        if word in ("!", "-a", "-o") and not _three(words):
            words.pop(0)
            inverted = not inverted if word == "!" else inverted
            if word == "-o":
                so_far, either = True, either or so_far
            continue
        if word == "(" and not _three(words) and depth:
            words.pop(0)
            value = _expression(words, has, depth - 1)
        else:
            value = _term(words, has)
        so_far, inverted = so_far and value is not inverted, False
    return either or so_far


def _three(words: list[str]) -> bool:
    return len(words) > 2 and words[1] in _COMPARISONS


def _term(words: list[str], has: Callable[[str], bool]) -> bool:
    if _three(words):
        left, name, right = words[:3]
        del words[:3]
        return _COMPARISONS[name](left, right)
    if len(words) > 1 and words[0] in ("-d", "-e", "-f", "-s", "-n", "-z"):
        name, value = words[:2]
        del words[:2]
        return has(value) if name in ("-d", "-e", "-f", "-s") else (value != "") is (name == "-n")
    return words.pop(0) != ""


def _number(text: str) -> int:
    match = re.match(r"\s*(-?)(0[xX][0-9a-fA-F]+|\d+)", text)
    return int(match.group(1) + match.group(2), 16 if "x" in match.group(2).lower() else 10) if match else 0


def _versions(left: str, right: str) -> int:
    """Compare numbers after what is the same before them (-pgt, -plt)."""
    same = next(
        (index for index, (one, other) in enumerate(zip(left, right, strict=False)) if one != other),
        min(len(left), len(right)),
    )
    while same and left[same - 1].isdigit():
        same -= 1
    return _number(left[same:]) - _number(right[same:])


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "=": lambda left, right: left == right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "-eq": lambda left, right: _number(left) == _number(right),
    "-ne": lambda left, right: _number(left) != _number(right),
    "-lt": lambda left, right: _number(left) < _number(right),
    "-le": lambda left, right: _number(left) <= _number(right),
    "-gt": lambda left, right: _number(left) > _number(right),
    "-ge": lambda left, right: _number(left) >= _number(right),
    "-pgt": lambda left, right: _versions(left, right) > 0,
    "-plt": lambda left, right: _versions(left, right) < 0,
}
