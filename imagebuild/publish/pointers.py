"""What points at releases: the list of a destination, its index and feed, and which one is the latest; each
names only what is whole.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from imagebuild import files, json_text
from imagebuild.destinations.destination import Destination
from imagebuild.destinations.local import Directory
from imagebuild.errors import BuildError
from imagebuild.publish import facts, index, marks
from imagebuild.publish.facts import Facts
from imagebuild.publish.joint import arches_in, read_parts
from imagebuild.publish.layout import manifest_of
from imagebuild.release_line.model import Config
from imagebuild.tools import gpg
from imagebuild.tools.checksum import check_name, entries_of
from imagebuild.tools.gpg import SignatureError

RELEASES = "releases.json"
LOCK = ".lock"
Step = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Pointers:
    """What points at the releases of a destination; `keys` are those that its releases are signed with,
    today's and others.

    `cache` is where locks of destinations lie that are not on this machine.
    """

    destination: Destination
    config: Config
    keys: tuple[Path, ...]
    cache: Path

    def locked(self) -> AbstractContextManager[None]:
        """One at a time changes them: other lines may have the same destination. Where that is not a
        directory, only this user's others on this machine wait.
        """
        if isinstance(self.destination, Directory):
            return files.locked(self.destination.place / LOCK, busy="", wait=True)
        name = hashlib.sha256(self.destination.address.encode()).hexdigest()[:16]
        return files.locked(self.cache / "locks" / f"destination-{name}", busy="", wait=True)

    def listed(self, *, but: Collection[str] = ()) -> list[Facts]:
        """Return the releases that are pointed at, each as it was signed (`but` are not looked at).

        Raises BuildError when the list or one of them was damaged.
        """
        return [
            known
            for name in names_listed(self.destination)
            if name not in but
            for known in self._published(name)
        ]

    def _published(self, name: str) -> list[Facts]:
        def read(path: str) -> bytes | None:
            return self.destination.read(f"{name}/{path}")

        # an older layout is looked for first: it is that of most
        arches = arches_in(read) if read(facts.FILE) is None else []
        if not arches:
            return [self._published_alone(name)]
        try:
            return [part.facts for part in read_parts(read, name, self.keys, arches)]
        except BuildError as error:
            raise BuildError(f"{name} of the destination: {error.message}", hint=_hint(name)) from error

    def _published_alone(self, name: str) -> Facts:
        what = f"{name}/{facts.FILE}"
        hint = _hint(name)
        data = self.destination.read(what)
        if data is None:
            raise BuildError(f"{what} is not at the destination, whose {RELEASES} has it", hint=hint)
        known = facts.parse(data, what=what)
        if known.compose_id != name:
            raise BuildError(f"{what} of the destination describes {known.compose_id!r}", hint=hint)
        manifest = f"{name}/{manifest_of(name, known.arch)}"
        signed = self.destination.read(manifest)
        if signed is None:
            raise BuildError(f"{manifest} is not at the destination", hint=hint)
        try:
            payload = gpg.signed_payload(signed, self.keys, what=manifest, then=True)
        except SignatureError as error:
            raise BuildError(
                error.message,
                hint=(
                    "if it is by a former key or another release line's, add that to publish.other_keys;"
                    f" else {hint}"
                ),
            ) from error
        entry = entries_of(payload, what=manifest).get(facts.FILE)
        if entry is None or entry.sha256 != hashlib.sha256(data).hexdigest():
            raise BuildError(f"{what} of the destination is not what was signed", hint=hint)
        return known

    def is_bad(self, known: Facts) -> bool:
        """Return whether a release is marked bad at the destination, by its name or by its commit."""
        return any(
            self.destination.read(marks.name_of(word)) is not None
            for word in (known.compose_id, known.tree.commit)
        )

    def write(self, releases: Sequence[Facts], step: Step = lambda _: None) -> None:
        """Write list, index and feed, then which one is the latest; what is marked bad is in none of them."""
        good = [each for each in releases if not self.is_bad(each)]
        texts = {
            RELEASES: json.dumps(sorted({each.compose_id for each in good}), indent=1) + "\n"
        } | index.index_files(self.config, good)
        for name in sorted(texts, key=lambda each: each == index.LATEST):
            step(f"write {name}")
            data = texts[name].encode()
            if self.destination.read(name) != data:
                self.destination.write(name, data)


def _hint(name: str) -> str:
    return f"promote {name} again, or take it out of the destination's {RELEASES}"


def names_listed(destination: Destination) -> list[str]:
    """Return the names of the releases that a destination points at. Raises BuildError when its list was
    damaged.
    """
    data = destination.read(RELEASES)
    hint = "remove it, or write the names of releases into it"
    try:
        names = json_text.parse(data) if data is not None else []
    except ValueError as error:
        raise BuildError(f"{RELEASES} of the destination is not JSON", hint=hint) from error
    if not isinstance(names, list) or not all(
        isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names
    ):
        raise BuildError(f"{RELEASES} of the destination is not a list of releases", hint=hint)
    for name in names:
        check_name(name)
    return names
