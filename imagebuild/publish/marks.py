"""What is marked bad, with a signed reason: it is not promoted, under no name, and nothing calls it the
latest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagebuild.errors import BuildError
from imagebuild.publish.facts import Facts
from imagebuild.tools import gpg
from imagebuild.tools.checksum import check_name
from imagebuild.tools.gpg import SignatureError, Signer

PLACE = "bad"


class Readable(Protocol):
    """Where marks are kept."""

    def read(self, name: str) -> bytes | None:
        """Return a small file; None when it is not there."""
        ...


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Why a compose is bad, and who says so (`signed` is empty when nobody does: then it is bad all the
    same).
    """

    compose_id: str
    reason: str
    signed: str = ""


def name_of(word: str) -> str:
    """Return where the mark of a compose, or of a commit, lies."""
    check_name(word)
    return f"{PLACE}/{word}.asc"


def text_of(releases: Sequence[Facts], reason: str, when: str, signer: Signer) -> str:
    """Return a signed mark of a compose with these architectures. Raises BuildError for an empty reason, or
    one that is not plain text.
    """
    words = " ".join(reason.split())
    if not words or not words.isprintable():
        raise BuildError(
            "a reason is needed: why is the release bad?", hint="give a reason in plain text: --reason '…'"
        )
    lines = [
        f"compose: {releases[0].compose_id}",
        *(f"commit: {facts.tree.commit}" for facts in releases),
        f"version: {releases[0].tree.version}",
        f"when: {when}",
        f"reason: {words}",
    ]
    return signer.clearsign("\n".join(lines) + "\n")


def marks_of(facts: Facts, places: Sequence[Readable], keys: Sequence[Path]) -> list[Mark]:
    """Return every mark of a compose or of its commit. One that nobody signed counts too: it fails towards
    safety.
    """
    found = []
    for place in places:
        for word in (facts.compose_id, facts.tree.commit):
            data = place.read(name_of(word))
            if data is None:
                continue
            try:
                payload, signed = (
                    gpg.signed_payload(data, keys, what=name_of(word)).decode("utf-8", "replace"),
                    "signed",
                )
            except SignatureError as error:
                payload, signed = data.decode("utf-8", "replace"), ""
                del error
            fields = dict(line.partition(": ")[::2] for line in payload.splitlines() if ": " in line)
            found.append(
                Mark(
                    compose_id=fields.get("compose", word),
                    reason=fields.get("reason", "(no reason)"),
                    signed=signed,
                )
            )
    return found


def is_marked(output: Path, *words: str) -> bool:
    """Return whether one of some names or commits is marked bad in a directory."""
    return any((output / name_of(word)).exists() for word in words)


def unmarked(output: Path, releases: Sequence[Facts]) -> list[Facts]:
    """Return the releases of a directory that are not marked bad there, neither by name nor by commit."""
    return [each for each in releases if not is_marked(output, each.compose_id, each.tree.commit)]
