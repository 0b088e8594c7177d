"""What lies beside the releases of a directory: the index, the feed, and which one is the latest."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from imagebuild import files
from imagebuild.publish.dates import day, stamp
from imagebuild.publish.facts import Facts, history
from imagebuild.publish.marks import unmarked
from imagebuild.release_line.model import Config
from imagebuild.report.templates import template

INDEX, FEED, LATEST = "index.html", "releases.atom", "latest.json"


def write_index(output: Path, config: Config, *, but: Iterable[str] = ()) -> None:
    """Write index, feed and which release is the latest; what is marked bad is in none of them.

    Each is replaced in one step. `but` are releases that are about to go.
    """
    gone = set(but)
    releases = [facts for facts in unmarked(output, history(output, None)) if facts.compose_id not in gone]
    for name, text in index_files(config, releases).items():
        files.replace(output / name, text)


def index_files(config: Config, releases: Sequence[Facts]) -> dict[str, str]:
    """Return name -> content of what lies beside the releases, newest first."""
    newest = sorted(releases, key=lambda facts: (facts.created, facts.date, facts.respin), reverse=True)
    composes: dict[str, list[Facts]] = {}
    for facts in newest:
        composes.setdefault(facts.compose_id, []).append(facts)
    rows = [
        {
            "facts": same[0],
            "all": sorted(same, key=lambda facts: facts.arch),
            "day": day(same[0].created),
            "href": f"{quote(name)}/{INDEX}",
        }
        for name, same in composes.items()
    ]
    values = {
        "rows": rows,
        "title": f"{config.product}: releases",
        "base": config.publish.url or "",
        "when": stamp(newest[0].created) if newest else "1970-01-01T00:00:00Z",
        "stamp": stamp,
    }
    return {
        INDEX: template("releases.html.j2").render(values),
        FEED: template("releases.atom.j2").render(values),
        LATEST: json.dumps(_latest([facts for facts in newest if not facts.nightly]), indent=1) + "\n",
    }


def _latest(production: Sequence[Facts]) -> dict[str, object]:
    """Return what `latest.json` says; one destination may have several release lines: each ref has a latest
    one.
    """
    if not production:
        return {"compose_id": None, "refs": {}}
    refs = {facts.ref: facts.compose_id for facts in reversed(production)}
    newest = production[0].model_dump(mode="json", include={"compose_id", "ref", "arch", "created"})
    return newest | {"refs": dict(sorted(refs.items()))}
