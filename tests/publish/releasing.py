"""A line of releases with a stable repository and a mirror, promoted as the program does it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild.destinations.destination import Destination
from imagebuild.destinations.registry import open_destination
from imagebuild.destinations.source import open_source
from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.publish import facts, marks
from imagebuild.publish.admission import Promotion
from imagebuild.publish.findings import Verification
from imagebuild.publish.promote import demote, promote
from imagebuild.publish.verify import Trust, verify
from imagebuild.session.releases import signer_of
from imagebuild.tools.checksum import HashedFile, hashed, text_of
from tests.release_lab import FIRST, SECOND, Line

ARM = "debian/12/aarch64/atomic-host"


def line_in(place: Path, homedir: Path) -> Line:
    """Return a line of releases below `place`, with a stable repository and a mirror there.

    Its releases are small, for what happens to them is the same for each file: an ISO and two downloads of a
    disk, under one firmware.
    """
    made = Line(place / "line", homedir, kinds=("qcow2", "raw.xz"), firmware=(Firmware.UEFI,))
    made.changes |= {
        "publish": {"repo": f"file://{place}/stable", "destination": f"file://{place}/mirror"},
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
        demote(asked, place, marks.text_of(facts.read_all(place), reason, "2026-11-26T00:00:00Z", signer))


def refused(line: Line, *places: Path, **changes: Any) -> str:
    with pytest.raises(BuildError) as error:
        go(line, *places, **changes)
    return error.value.message


def sign_again(place: Path, line: Line) -> None:
    """Sign whatever a release holds now: what only a careless or false signer can do."""
    (manifest,) = place.glob("*-CHECKSUM")
    manifest.unlink()
    with signer_of(line.config) as signer:
        for listing in [*place.rglob("*-CHECKSUM")]:
            names = [file for file in listing.parent.iterdir() if file.is_file() and file != listing]
            listing.write_text(signer.clearsign(text_of(hashed(file, file.name) for file in names)))
        under = {f"{each.parent.relative_to(place)}/" for each in place.rglob("*-CHECKSUM")}
        rest: list[HashedFile] = []
        for file in place.rglob("*"):
            path = str(file.relative_to(place))
            if file.is_file() and (path.endswith("-CHECKSUM") or not path.startswith(tuple(under))):
                rest.append(hashed(file, path))
        manifest.write_text(signer.clearsign(text_of(rest)))


def made(line: Line, version: str = "12.1") -> Path:
    """Commit a version, and release it."""
    return line.release(line.material(line.commit(version, FIRST)))


def trust(line: Line, *, keys: tuple[Path, ...] = (), commit_keys: tuple[Path, ...] = ()) -> Trust:
    """Whom to believe: the line's own key, where no others are given."""
    return Trust(
        keys=keys or (line.key,), commit_keys=commit_keys or (line.key,), open_images=False, cache=line.work
    )


def checked(line: Line, place: Path | str) -> Verification:
    """Verify a release, images unopened."""
    return verify(open_source(str(place)), trust(line))
