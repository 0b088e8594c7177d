"""YAML that others wrote, read within bounds: what its aliases stand for is counted before it is made.

PyYAML (6.0, constructor.py) raises whatever it stumbles over for a tag whose text is not of its kind:
KeyError for `!!bool x`, AttributeError for `!!timestamp 0`, ValueError for the 31st of February, or a number
of 5,000 digits.
"""

from dataclasses import dataclass
from typing import Any

import yaml

# nodes, those that an alias stands for counted each time: our largest configuration has less than a thousand
MOST_NODES = 100_000


@dataclass(frozen=True)
class ParsedYaml:
    """A document: its nodes, which know their lines, and what they say."""

    node: yaml.Node
    data: Any


def parse(text: str) -> ParsedYaml | None:
    """Return the document in a text; None when there is none. Raises ValueError, whose text is for people,
    and begins with the line where that is known.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return None
        _expanded(node, {})
        return ParsedYaml(node, yaml.safe_load(text))
    except RecursionError as error:
        raise ValueError(" it is nested too deep") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{mark.line + 1}:" if mark else ""
        raise ValueError(f"{line} not YAML: {getattr(error, 'problem', error)}") from error
    except ValueError as error:
        raise ValueError(f" not YAML: {str(error).strip()}") from error
    except Exception as error:  # whatever PyYAML stumbles over
        raise ValueError(f" not YAML: a value is not of the kind that its tag says ({error!r})") from error


def _expanded(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many nodes a node stands for. Raises ValueError for too many, and for one that is in
    itself.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError(f"line {node.start_mark.line + 1} is a part of itself")
        return known[id(node)]
    known[id(node)], count = 0, 1
    for part in node.value if isinstance(node, yaml.CollectionNode) else ():
        count += sum(_expanded(each, known) for each in (part if isinstance(part, tuple) else (part,)))
    if count > MOST_NODES:
        raise ValueError(f"line {node.start_mark.line + 1} stands for more than {MOST_NODES} values")
    known[id(node)] = count
    return count
