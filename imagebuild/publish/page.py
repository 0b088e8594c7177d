"""The page of a release, the index of releases, the feed and the mail: static, without scripts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from imagebuild import files
from imagebuild.config.naming import short
from imagebuild.config.places import shared_directory
from imagebuild.formats.registry import FILE_KINDS
from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.publish.changes import Difference
from imagebuild.publish.facts import Facts, history, megabytes
from imagebuild.publish.growth import Growth
from imagebuild.publish.marks import unmarked
from imagebuild.publish.names import Names, in_order
from imagebuild.release_line.model import Config
from imagebuild.smoke.hosts.registry import HOSTS
from imagebuild.tools.checksum import safe

FILE, INDEX, FEED, MAIL, LATEST = (
    "index.html",
    "index.html",
    "releases.atom",
    "announcement.txt",
    "latest.json",
)
# releases in a chart
SHOWN = 12
# units of a chart's height
HIGHEST = 40.0


@dataclass(frozen=True, kw_only=True)
class Release:
    """What a page shows; `base` is the directory it will lie in, `cells` have their evidence below
    `evidence/ARTIFACT-FIRMWARE`.
    """

    facts: Facts
    names: Names
    config: Config
    difference: Difference | None
    history: tuple[Facts, ...]
    growth: tuple[Growth, ...]
    cells: tuple[Cell, ...]
    base: Path


def write(directory: Path, release: Release) -> None:
    """Write the page and the announcement of a release."""
    values = _values(release)
    (directory / FILE).write_text(_template("release.html.j2").render(values))
    (directory / MAIL).write_text(_template("announcement.txt.j2").render(values))


def write_index(output: Path, config: Config, *, but: Iterable[str] = ()) -> None:
    """Write what lies beside the releases of a directory: index, feed, and which one is the latest; what is
    marked bad is in none of them.

    Each is replaced in one step. `but` are releases that are about to go.
    """
    gone = set(but)
    shown = [each for each in unmarked(output, history(output, None)) if each.compose_id not in gone]
    for name, text in index_files(config, shown).items():
        files.replace(output / name, text)


def index_files(config: Config, releases: Sequence[Facts]) -> dict[str, str]:
    """Return name -> content of what lies beside the releases, newest first."""
    newest = sorted(releases, key=lambda each: (each.created, each.date, each.respin), reverse=True)
    rows = [
        {"facts": each, "day": _day(each.created), "href": f"{quote(each.compose_id)}/{FILE}"}
        for each in newest
    ]
    values = {
        "rows": rows,
        "title": f"{config.product}: releases",
        "base": config.publish.url or "",
        "when": _stamp(newest[0].created) if newest else "1970-01-01T00:00:00Z",
        "stamp": _stamp,
    }
    found = {
        name: _template(template).render(values)
        for name, template in ((INDEX, "releases.html.j2"), (FEED, "releases.atom.j2"))
    }
    production = [each for each in newest if not each.nightly]
    found[LATEST] = json.dumps({"compose_id": None, "refs": {}}, indent=1) + "\n"
    if production:
        # one destination may have several release lines: which one is the latest is said of each ref
        refs = {each.ref: each.compose_id for each in reversed(production)}
        latest = production[0].model_dump(mode="json", include={"compose_id", "ref", "arch", "created"})
        found[LATEST] = json.dumps(latest | {"refs": dict(sorted(refs.items()))}, indent=1) + "\n"
    return found


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shared_directory("templates")),
        autoescape=jinja2.select_autoescape(disabled_extensions=("txt.j2",), default=True),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "megabytes": megabytes,
        "css": lambda state: str(state).replace(" ", "-"),
        "link": quote,
    }
    return environment.get_template(name)


def _values(release: Release) -> dict[str, Any]:
    facts, names, publish = release.facts, release.names, release.config.publish
    by_path = {each.path: each for each in facts.downloads}
    downloads = []
    for download in in_order(names.downloads):
        name = download.path.rpartition("/")[2]
        kind = FILE_KINDS[download.format]
        box = f"{short(facts.product).lower()}/{facts.release}-atomic-host"
        downloads.append(
            {
                "name": name,
                "title": kind.title,
                "text": kind.text,
                "command": kind.command.format(name=name, box=box),
                "fact": by_path[download.path],
                "path": download.path,
            }
        )
    commands = {
        heading: [line.format(version=facts.tree.version, commit=facts.tree.commit) for line in lines]
        for heading, lines in HOSTS[facts.host_kind].page.items()
    }
    shown = [each for each in release.history if each.nightly == facts.nightly][-(SHOWN - 1) :]
    return {
        "facts": facts,
        "names": names,
        "downloads": downloads,
        "commands": commands,
        "difference": release.difference,
        "growth": release.growth,
        "matrix": _matrix(release),
        "counts": [(state, facts.counts[state]) for state in map(str, State) if facts.counts.get(state)],
        "charts": _charts([*shown, facts]),
        "day": _day(facts.created),
        "url": f"{publish.url}{facts.compose_id}/" if publish.url else "",
        "previous": facts.previous,
        "checksums": [{"path": path, "name": path.rpartition("/")[2]} for path in names.checksums],
        "others": [
            "report.html",
            "junit.xml",
            "verdict.json",
            "metadata/composeinfo.json",
            "metadata/images.json",
            "metadata/meta.json",
            "metadata/provenance.json",
            "metadata/release.json",
            "metadata/changes.txt",
            "metadata/changes.json",
            MAIL,
            "RELEASE-KEY.asc",
            "COMPOSE_ID",
            "STATUS",
        ],
    }


def _matrix(release: Release) -> dict[str, Any]:
    columns = list(dict.fromkeys((cell.artifact, str(cell.firmware)) for cell in release.cells))
    found = {(cell.criterion, cell.artifact, str(cell.firmware)): cell for cell in release.cells}
    places = (
        {path.name: path for path in (release.base / "evidence").iterdir()}
        if (release.base / "evidence").is_dir()
        else {}
    )
    rows = []
    for criterion in dict.fromkeys(cell.criterion for cell in release.cells):
        cells = [_shown(found.get((criterion, *column)), places, release.base) for column in columns]
        rows.append({"criterion": criterion.replace("-", " "), "cells": cells})
    short = {each.path.rpartition("/")[2]: f"{each.image} {each.format}" for each in release.facts.downloads}
    return {
        "columns": [(short.get(artifact, artifact), firmware) for artifact, firmware in columns],
        "rows": rows,
    }


def _shown(cell: Cell | None, places: Mapping[str, Path], base: Path) -> dict[str, Any] | None:
    if cell is None:
        return None
    place = next(
        (each for name, each in places.items() if name == safe(f"{cell.artifact}-{cell.firmware}")), None
    )
    file = place / cell.evidence if place is not None else None
    href = quote(str(file.relative_to(base))) if file is not None and file.is_file() else ""
    return {"state": cell.state, "href": href, "reason": cell.reason, "carried": cell.carried}


# --- charts -------------------------------------------------------------------------------------------------


def _charts(releases: Sequence[Facts]) -> list[dict[str, Any]]:
    """Return small charts over the last releases: one of the tree, two of each download. Columns are up to
    HIGHEST units high.
    """
    series: dict[str, list[tuple[str, float, str]]] = {}

    def add(name: str, facts: Facts, value: float, text: str) -> None:
        series.setdefault(name, []).append((facts.compose_id, value, text))

    for facts in releases:
        add("size: tree", facts, facts.tree.size, megabytes(facts.tree.size))
        for download in facts.downloads:
            add(f"size: {download.image} {download.format}", facts, download.size, megabytes(download.size))
        for download in facts.downloads:
            for firmware, seconds in download.boot.items():
                # as if all had been booted on one machine
                add(
                    f"boot: {download.image} {download.format}, {firmware}",
                    facts,
                    seconds / facts.slowness,
                    f"{seconds / facts.slowness:.1f} s",
                )
    return [_chart(name, values) for name, values in series.items()]


def _chart(name: str, values: Sequence[tuple[str, float, str]]) -> dict[str, Any]:
    largest = max(value for _, value, _ in values) or 1.0
    columns = [
        {
            "x": 14 * number,
            "y": round(HIGHEST - HIGHEST * value / largest, 2),
            "height": round(HIGHEST * value / largest, 2),
            "text": f"{compose}: {text}",
        }
        for number, (compose, value, text) in enumerate(values)
    ]
    return {
        "name": name,
        "columns": columns,
        "first": values[0][2],
        "last": values[-1][2],
        "width": 14 * len(values),
        "count": len(values),
    }


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
