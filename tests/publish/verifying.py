"""Releases that are changed after they were signed."""

from pathlib import Path

from imagebuild.session.releases import signer_of
from imagebuild.tools.checksum import Entry, hashed, text_of
from tests.release_lab import Line


def sign_again(place: Path, line: Line) -> None:
    """Sign whatever a release holds now: what only a careless or false signer can do."""
    (manifest,) = place.glob("*-CHECKSUM")
    manifest.unlink()
    with signer_of(line.config) as signer:
        for listing in [*place.rglob("*-CHECKSUM")]:
            names = [file for file in listing.parent.iterdir() if file.is_file() and file != listing]
            listing.write_text(signer.clearsign(text_of(hashed(file, file.name) for file in names)))
        under = {f"{each.parent.relative_to(place)}/" for each in place.rglob("*-CHECKSUM")}
        rest: list[Entry] = []
        for file in place.rglob("*"):
            path = str(file.relative_to(place))
            if file.is_file() and (path.endswith("-CHECKSUM") or not path.startswith(tuple(under))):
                rest.append(hashed(file, path))
        manifest.write_text(signer.clearsign(text_of(rest)))
