"""Releases on their way to a destination."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild.destinations.destination import Destination
from imagebuild.destinations.registry import open_destination
from imagebuild.publish import facts, marks
from imagebuild.publish.promote import Promotion, demote, promote
from imagebuild.session.releases import signer_of
from tests.release_lab import FIRST, SECOND, Line


@pytest.fixture
def line(tmp_path: Path, homedir: Path) -> Line:
    made = Line(tmp_path / "line", homedir)
    made.changes |= {
        "publish": {"repo": f"file://{tmp_path}/stable", "destination": f"file://{tmp_path}/mirror"},
        "tree": {
            "url": f"file://{made.place}/repo",
            "gpg_keys": [str(made.key)],
            "osname": "o",
            "remote": "r",
            "update_url": "https://example.org",
            "update_gpg_key": "/k",
        },
    }
    return made


def wanted(line: Line, *places: Path, to: Destination | None = None, **changes: Any) -> Promotion:
    loaded = line.config
    assert loaded.publish.destination is not None
    made = Promotion(
        config=loaded,
        places=places,
        destination=to or open_destination(loaded.publish.destination),
        source=line.place / "repo",
        keys=(line.key,),
        cache=line.work,
    )
    return replace(made, **changes)


def go(line: Line, *places: Path, to: Destination | None = None, **changes: Any) -> list[str]:
    asked = wanted(line, *places, to=to, **changes)
    with signer_of(asked.config) as signer:
        return promote(asked, signer)


def first_and_second(line: Line) -> tuple[Path, Path]:
    first = line.release(line.material(line.commit("12.1", FIRST)), day="20261112")
    return first, line.release(line.material(line.commit("12.2", SECOND)))


def mark_bad(line: Line, place: Path, reason: str) -> None:
    asked = wanted(line, place)
    with signer_of(asked.config) as signer:
        demote(asked, place, marks.text_of(facts.read(place), reason, "2026-11-26T00:00:00Z", signer))
