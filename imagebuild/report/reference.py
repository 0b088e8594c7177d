"""Reference documents, generated: docs/configuration.md from the JSON schema, docs/criteria.md from the
criteria.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

NOTE = "<!-- generated: pytest tests/report/test_reference.py --update-golden -->"


class DescribedCriterion(Protocol):
    """What is told of a criterion."""

    @property
    def name(self) -> str:
        """Its name, as cells have it."""

    @property
    def group(self) -> str:
        """What it is about."""

    @property
    def about(self) -> str:
        """What it promises, as a sentence."""

    @property
    def applies_to(self) -> str:
        """Which hosts or media it is asked of."""


def configuration(schema: Mapping[str, Any]) -> str:
    """Return the document of all keys of a configuration, from its JSON schema (draft 2020-12)."""
    definitions = schema.get("$defs", {})
    lines = [
        "# Configuration",
        "",
        NOTE,
        "",
        "A release line is one YAML file in `configs/`. `imagebuild config FILE` checks it, and names every",
        "error with line and key; `imagebuild config --schema` prints the JSON schema for editors.",
        "`${store}` in a path or an address stands for the store directory. Sizes are numbers of MiB, or",
        "text such as `6 GiB`. A key without a default must be given.",
        "",
        *_table("The release line", schema, definitions),
    ]
    for name in _reachable(schema, definitions):
        lines += _table(f"`{name}`", definitions[name], definitions)
    return "\n".join(lines).rstrip() + "\n"


def _reachable(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    """Return the names of the models that are mentioned, each once, in the order of mention."""
    seen: dict[str, None] = {}
    todo = [schema]
    while todo:
        for name in _references(todo.pop(0)):
            if name not in seen and "properties" in definitions[name]:
                seen[name] = None
                todo.append(definitions[name])
    return list(seen)


def _references(part: object) -> Iterator[str]:
    if isinstance(part, Mapping):
        reference = part.get("$ref")
        if isinstance(reference, str):
            yield reference.rpartition("/")[2]
        for key, value in part.items():
            if key != "$defs":
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _table(heading: str, model: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    required = set(model.get("required", ()))
    lines = [f"## {heading}", ""]
    if model.get("description"):
        lines += [" ".join(str(model["description"]).split()), ""]
    if not model.get("properties"):
        return lines
    lines += ["| key | value | default | |", "|---|---|---|---|"]
    for key, field in model["properties"].items():
        default = "" if key in required else _default(field)
        about = " ".join(str(field.get("description", "")).split())
        lines.append(f"| `{key}` | {_value(field, definitions)} | {default} | {_cell(about)} |")
    return [*lines, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    if default is None or default in ([], {}):
        return "—"
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{_cell(text)}`" if not isinstance(default, dict) else "see there"


def _value(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return (
            _value(definitions[name], definitions)
            if "properties" not in definitions[name]
            else f"[`{name}`](#{name.lower()})"
        )
    choices = field.get("anyOf") or field.get("oneOf") or field.get("allOf")
    if choices:
        texts = dict.fromkeys(_value(choice, definitions) for choice in choices)
        return " or ".join(text for text in texts if text != "null")
    if "enum" in field or "const" in field:
        values = field.get("enum") or [field["const"]]
        shown = ", ".join(f"`{value}`" for value in values[:8])
        return shown + (f" … ({len(values)} values)" if len(values) > len(values[:8]) else "")
    if field.get("type") == "array":
        return f"list of {_value(field.get('items', {}), definitions)}"
    if field.get("type") == "object":
        return f"mapping to {_value(_items(field), definitions)}"
    return {"string": "text", "integer": "number", "boolean": "true, false"}.get(
        str(field.get("type", "text")), str(field.get("type", "text"))
    )


def _items(field: Mapping[str, Any]) -> Mapping[str, Any]:
    patterns = field.get("patternProperties", {})
    items: Mapping[str, Any] = next(iter(patterns.values()), field.get("additionalProperties", {}))
    return items if isinstance(items, Mapping) else {}


def criteria(listed: Sequence[DescribedCriterion], kinds: Sequence[Sequence[str]] = ()) -> str:
    """Return the document of all release criteria, those about the same thing together, and a table of what
    is asked of which `kinds` of hosts (rows, the head first).
    """
    lines = [
        "# Release criteria",
        "",
        NOTE,
        "",
        "`imagebuild criteria` prints this list. How they are tested, and what the states of a cell mean:",
        "[testing.md](testing.md).",
    ]
    group = ""
    for criterion in listed:
        if criterion.group != group:
            group = criterion.group
            lines += [
                "",
                f"## {group.capitalize()}",
                "",
                "| criterion | promises | asked of |",
                "|---|---|---|",
            ]
        name = re.sub(r"[|]", "", criterion.name)
        lines.append(f"| `{name}` | {_cell(criterion.about)} | {_cell(criterion.applies_to)} |")
    return "\n".join([*lines, *_kinds(kinds)]) + "\n"


def _kinds(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the table of what is asked of which kind of host: a column is what a reader has, a row what is
    asked of it.
    """
    if not rows:
        return []
    head, *below = rows
    return [
        "",
        "## What is asked of which host",
        "",
        "What is not in this table is asked of every host. A host is of several of these kinds at once:",
        "`—` in any of its columns is *not applicable*, with that reason, and where no column says so, it is",
        "asked of what has all that it needs.",
        "",
        f"| {' | '.join(map(_cell, head))} |",
        f"|{'---|' * len(head)}",
        *(f"| `{name}` | {' | '.join(map(_cell, answers))} |" for name, *answers in below),
    ]
