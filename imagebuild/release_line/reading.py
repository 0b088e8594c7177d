"""A configuration file is read: every error names file, line and key, all at once.

`${store}` in a path or URL stands for the store directory of the run."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from imagebuild import files
from imagebuild.composers.registry import COMPOSERS
from imagebuild.config import naming, yaml_text
from imagebuild.config.beside import DIRECTORY
from imagebuild.config.places import shared_directory
from imagebuild.destinations.registry import reason_not_a_destination
from imagebuild.errors import UsageError
from imagebuild.release_line.model import Config


def load(file: Path, store: Path) -> Config:
    """Read a configuration. Raises UsageError with every error in it, one line each: file, line, key, what is
    wrong.
    """
    if re.search(r"[\x00-\x1f\x7f]", str(store.absolute())):
        raise UsageError(
            f"the path of the store has control characters: {str(store.absolute())!r}",
            hint="give --store another directory",
        )
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error
    try:
        parsed = yaml_text.parse(text)
    except ValueError as error:
        raise UsageError(f"{file}:{error}") from error
    if parsed is None or not isinstance(parsed.node, yaml.MappingNode):
        raise UsageError(f"{file}:1: a configuration is a mapping of keys")
    node = parsed.node
    problems = [f"{file}:{line}: {key}: given twice" for key, line in _repeated(node, "")]
    data = _substitute(parsed.data, str(store.absolute()))
    try:
        config = Config.model_validate(data, context={DIRECTORY: file.absolute().parent})
    except ValidationError as error:
        problems += [_problem(file, node, dict(each)) for each in error.errors()]
    else:
        problems += [
            f"{file}:{_line(node, [*key.split('.')])}: {key}: {says}"
            for key, says in (*naming.check(_names(config)), *_destination(config.publish.destination))
        ]
    if problems:
        raise UsageError(
            "\n".join(problems), hint="`imagebuild config --schema` prints what is allowed there"
        )
    return config


def _destination(url: str | None) -> Iterator[tuple[str, str]]:
    """Yield the key of the destination and what is wrong with it, if anything is."""
    reason = reason_not_a_destination(url) if url is not None and "${" not in url else None
    if reason is not None:
        yield "publish.destination", reason


def _names(config: Config) -> naming.NameParts:
    """Return what the names of a release line are made of, each with the key that says it."""
    installer, publish = config.installer, config.publish
    names = {f"images.{key}.name": image.name for key, image in config.images.items()}
    formats = {f"images.{key}.name": frozenset(image.formats) for key, image in config.images.items()}
    if installer is not None:
        names["installer.name"], formats["installer.name"] = installer.name, frozenset({"iso"})
    return naming.NameParts(
        product=config.product,
        release=config.release,
        arch=config.arch,
        arches=publish.arches,
        compose=publish.compose,
        nightly=publish.nightly,
        variants={
            "publish.variants.iso": publish.variants.iso,
            "publish.variants.images": publish.variants.images,
        },
        names=names,
        formats=formats,
        installer_variant=installer.variant if installer is not None else None,
    )


def _substitute(value: Any, store: str) -> Any:
    if isinstance(value, dict):
        return {key: _substitute(each, store) if key != "files" else each for key, each in value.items()}
    if isinstance(value, list):
        return [_substitute(each, store) for each in value]
    if not isinstance(value, str):
        return value
    # in an address the path is quoted, and unquoted where it becomes a path again (files.path_of)
    return value.replace(
        "${store}",
        files.url(Path(store)).removeprefix(files.FILE_URL) if re.match(r"[a-z0-9]+://", value) else store,
    )


def _repeated(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    seen: set[str] = set()
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name = f"{path}.{key.value}".lstrip(".")
        if key.value in seen:
            yield name, key.start_mark.line + 1
        seen.add(key.value)
        yield from _repeated(value, name)


def _problem(file: Path, node: yaml.Node, error: dict[str, Any]) -> str:
    location = [part for part in error["loc"] if part not in COMPOSERS]
    if location and location[-1] == "[key]":
        location.pop()
    line = _line(node, location)
    key = ".".join(str(part) for part in location) or "(the whole file)"
    text = {"extra_forbidden": "unknown key", "missing": "is missing"}.get(
        error["type"], error["msg"].removeprefix("Value error, ")
    )
    given = error.get("input")
    shown = (
        f" (given: {given!r})"
        if isinstance(given, str | int | float) and error["type"] not in ("extra_forbidden", "missing")
        else ""
    )
    # who wrote a password into an address does not want to read it in a log
    shown = re.sub(r"//[^/@\s]*@", "//…@", shown)
    return f"{file}:{line}: {key}: {text}{shown}"


def _line(node: yaml.Node, location: list[str | int]) -> int:
    """Return the line of the key, or of the deepest mapping on the way that exists."""
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def find(ref: str, store: Path) -> tuple[Path, Config]:
    """Return the configuration whose pattern matches the ref. Raises UsageError: none, or more than one."""
    loaded = [(file, load(file, store)) for file in sorted(shared_directory("configs").glob("*.yaml"))]
    found = [(file, config) for file, config in loaded if config.builds(ref)]
    if not found:
        known = [pattern for _, config in loaded for pattern in config.refs]
        raise UsageError(
            f"no configuration builds the ref {ref}",
            hint=f"the patterns are: {', '.join(known)}; or give --config FILE",
        )
    if len(found) > 1:
        raise UsageError(
            f"several configurations build {ref}: {', '.join(str(file) for file, _ in found)}",
            hint="give --config FILE",
        )
    return found[0]
