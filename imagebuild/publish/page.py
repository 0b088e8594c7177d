"""The page of a release, and its announcement: static, without scripts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from imagebuild.architectures.registry import qemu_command
from imagebuild.config.naming import short
from imagebuild.formats.registry import FILE_KINDS
from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.publish import attestations, audit, bill
from imagebuild.publish.audit import Audit
from imagebuild.publish.changes import Changes
from imagebuild.publish.dates import day
from imagebuild.publish.facts import Facts, megabytes
from imagebuild.publish.growth import Growth
from imagebuild.publish.layout import COMPOSEINFO, FACTS, ID, IMAGES, KEY, MAIL, PAGE, STATUS, Layout
from imagebuild.publish.names import Names, in_order
from imagebuild.publish.trends import charts
from imagebuild.release_line.model import Config
from imagebuild.report.matrix import arrange
from imagebuild.report.templates import template
from imagebuild.smoke.hosts.registry import HOSTS
from imagebuild.tools.checksum import safe

FILE = PAGE
# releases in a chart
SHOWN = 12
# what is there for programs, of an architecture and of all of a compose
REPORTS = ("report.html", "junit.xml", "verdict.json")
METADATA = ("meta.json", "provenance.json", FACTS, "changes.txt", "changes.json", bill.SPDX, bill.CYCLONEDX)
OF_ALL = (COMPOSEINFO, IMAGES, MAIL, KEY, ID, STATUS)


@dataclass(frozen=True, kw_only=True)
class ReleasePage:
    """What a page shows; `base` is the directory it will lie in, `cells` have their evidence below
    `evidence/ARTIFACT-FIRMWARE`.
    """

    facts: Facts
    names: Names
    config: Config
    difference: Changes | None
    history: tuple[Facts, ...]
    growth: tuple[Growth, ...]
    audit: Audit | None
    cells: tuple[Cell, ...]
    base: Path


def write(directory: Path, page: ReleasePage) -> None:
    """Write the page and the announcement of a release."""
    values = _values(page)
    for file, name in ((FILE, "release.html.j2"), (MAIL, "announcement.txt.j2")):
        (directory / file).write_text(template(name, megabytes=megabytes).render(values))


def fragment(page: ReleasePage) -> str:
    """Return what the page of a compose of several architectures says of one of them."""
    values = _values(page) | {"of": f"-{page.facts.arch}"}
    return template("release_fragment.html.j2", megabytes=megabytes).render(values)


def _others(page: ReleasePage) -> list[str]:
    """Return what is there for programs, in the order of the page."""
    layout = page.names.layout
    reports = [f"{layout.reports}{name}" for name in REPORTS]
    names = [
        *METADATA,
        *([audit.FILE] if page.audit is not None else []),
        *(attestations.FILES if page.config.publish.attestations is not None else []),
    ]
    mine = [f"{layout.metadata}/{name}" for name in names]
    return [*reports, *mine] if layout.joint else [*reports, COMPOSEINFO, IMAGES, *mine, *OF_ALL[2:]]


def _values(page: ReleasePage) -> dict[str, Any]:
    facts, names, publish = page.facts, page.names, page.config.publish
    before = [earlier for earlier in page.history if earlier.nightly == facts.nightly][-(SHOWN - 1) :]
    return {
        "facts": facts,
        "names": names,
        "downloads": _downloads(facts, names),
        "commands": _commands(facts),
        "difference": page.difference,
        "growth": page.growth,
        "matrix": arrange(page.cells, lambda cell: _evidence(cell, page.base, page.facts.layout)),
        "counts": [(state, facts.counts[state]) for state in map(str, State) if facts.counts.get(state)],
        "charts": charts([*before, facts]),
        "day": day(facts.created),
        "url": f"{publish.url}{facts.compose_id}/" if publish.url else "",
        "checksums": [{"path": path, "name": path.rpartition("/")[2]} for path in names.checksums],
        "others": _others(page),
        "audit": page.audit,
        "reports": names.layout.reports,
        "of": "",
    }


def _downloads(facts: Facts, names: Names) -> list[dict[str, Any]]:
    """Return each download as the page shows it, and how it is booted."""
    by_path = {fact.path: fact for fact in facts.downloads}
    box = f"{short(facts.product).lower()}/{facts.release}-atomic-host"
    downloads = []
    for download in in_order(names.downloads):
        name = download.path.rpartition("/")[2]
        kind = FILE_KINDS[download.format]
        downloads.append(
            {
                "name": name,
                "title": kind.title,
                "text": kind.text,
                "command": kind.command.format(name=name, box=box, qemu=qemu_command(facts.arch)),
                "fact": by_path[download.path],
                "path": download.path,
            }
        )
    return downloads


def _commands(facts: Facts) -> dict[str, list[str]]:
    """Return heading -> commands with which hosts come to this release, and go back."""
    return {
        heading: [line.format(version=facts.tree.version, commit=facts.tree.commit) for line in lines]
        for heading, lines in HOSTS[facts.host_kind].page.items()
    }


def _evidence(cell: Cell, base: Path, layout: Layout) -> str:
    """Return the address of a cell's evidence; empty when it has none."""
    file = base / layout.evidence / safe(f"{cell.artifact}-{cell.firmware}") / cell.evidence
    return quote(str(file.relative_to(base))) if file.is_file() else ""
