"""Is what a release says of itself true? Its metadata, its page and its commit are compared with what is
signed: they are signed, too, but may have been wrong when they were.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from imagebuild import json_text
from imagebuild.destinations.source import SMALL
from imagebuild.publish import attestations, bill, metadata, os_tree, page_check
from imagebuild.publish.facts import Facts
from imagebuild.publish.findings import ProblemKind, Verification
from imagebuild.publish.layout import COMPOSEINFO, FINISHED, ID, IMAGES, PAGE, STATUS
from imagebuild.publish.names import OS
from imagebuild.tools import gpg, temporary
from imagebuild.tools.checksum import HashedFile
from imagebuild.tools.gpg import SignatureError
from imagebuild.tools.ostree.binding import commit_version
from imagebuild.tools.ostree.signatures import signatures

PROVENANCE = "provenance.json"


def _small(fetched: dict[str, Path | None], path: str) -> bytes:
    file = fetched.get(path)
    if file is None:
        return b""
    with file.open("rb") as stream:
        return stream.read(SMALL)


def check_description(
    releases: Sequence[Facts],
    manifest: str,
    entries: dict[str, HashedFile],
    fetched: dict[str, Path | None],
    result: Verification,
) -> None:
    """Compare page and metadata with what is signed: they are signed too, but may have been wrong when they
    were.
    """
    for known in releases:
        _check_release(known, entries, fetched, result)
    first = releases[0]
    for text in (
        *metadata.check_images(
            _small(fetched, IMAGES),
            compose_id=first.compose_id,
            known={path: (entry.size, entry.sha256) for path, entry in entries.items()},
        ),
        *metadata.check_composeinfo(
            _small(fetched, COMPOSEINFO),
            compose_id=first.compose_id,
            product=first.product,
            release=first.release,
        ),
    ):
        result.add(ProblemKind.METADATA, text.partition(":")[0], text)
    if _small(fetched, ID).decode("utf-8", "replace").strip() != first.compose_id:
        result.add(ProblemKind.METADATA, ID, f"is not {first.compose_id}")
    if _small(fetched, STATUS) != FINISHED.encode():
        result.add(ProblemKind.METADATA, STATUS, "is not FINISHED")
    text = _small(fetched, PAGE).decode("utf-8", "replace")
    for says in page_check.problems(
        text,
        compose_id=first.compose_id,
        listed=entries,
        manifest=manifest,
        downloads=[download for known in releases for download in known.downloads],
    ):
        result.add(ProblemKind.PAGE, PAGE, says)


def _check_release(
    known: Facts, entries: dict[str, HashedFile], fetched: dict[str, Path | None], result: Verification
) -> None:
    """Compare what is said of one architecture with what is signed."""
    for fact in known.downloads:
        entry = entries.get(fact.path)
        if entry is None or (entry.size, entry.sha256) != (fact.size, fact.sha256):
            result.add(
                ProblemKind.METADATA,
                known.layout.facts,
                f"size or checksum of {fact.path} is not that of its CHECKSUM",
            )
    _check_os_tree(known, entries, fetched, result)
    _check_bills(known, fetched, result)
    provenance = f"{known.layout.metadata}/{PROVENANCE}"
    _check_attestations(known, entries, fetched, result)
    problem = _provenance_problem(_small(fetched, provenance))
    if problem is not None:
        result.add(ProblemKind.METADATA, provenance, problem)


def _check_bills(known: Facts, fetched: dict[str, Path | None], result: Verification) -> None:
    """Compare both bills of materials with each other and with what is signed; older releases have none."""
    places = [f"{known.layout.metadata}/{name}" for name in (bill.SPDX, bill.CYCLONEDX)]
    if not any(place in fetched for place in places):
        return
    spdx, cyclonedx = (_small(fetched, place) for place in places)
    for says in bill.problems(spdx, cyclonedx, known):
        result.add(ProblemKind.METADATA, known.layout.metadata, says)


def _check_attestations(
    known: Facts, entries: dict[str, HashedFile], fetched: dict[str, Path | None], result: Verification
) -> None:
    """Check the signatures of a release's attestations with the key that is signed as a part of it, and what
    they say; a release may have none.
    """
    places = {name: f"{known.layout.metadata}/{name}" for name in attestations.FILES}
    there = {name: _small(fetched, place) for name, place in places.items() if place in entries}
    provenance = _small(fetched, f"{known.layout.metadata}/{PROVENANCE}")
    for name, says in attestations.problems(there, known, provenance):
        result.add(ProblemKind.SIGNATURE, places[name], says)


def _provenance_problem(data: bytes) -> str | None:
    try:
        return metadata.check_provenance(json_text.parse(data or b"null"))
    except ValueError:
        return "it is not JSON"


def _check_os_tree(
    known: Facts, entries: dict[str, HashedFile], fetched: dict[str, Path | None], result: Verification
) -> None:
    """Compare every .treeinfo with the lists: tools that install from a tree believe it."""
    for path in (path for path in known.os_tree.values() if path not in entries):
        result.add(
            ProblemKind.METADATA, known.layout.facts, f"names {path}, which is in no CHECKSUM of this compose"
        )
    digests = {path: entry.sha256 for path, entry in entries.items()}
    for path in (path for path in entries if path.endswith(f"/{known.arch}/{OS}/{os_tree.TREEINFO}")):
        text = _small(fetched, path).decode("utf-8", "replace")
        for says in os_tree.problems(
            text,
            path.rpartition("/")[0],
            digests,
            product=known.product,
            release=known.release,
            arch=known.arch,
        ):
            result.add(ProblemKind.METADATA, path, says)


def check_commit(
    known: Facts, fetched: dict[str, Path | None], keys: Sequence[Path], result: Verification
) -> None:
    """The commit object must be the commit, in this version, signed by a key of commits."""
    path = f"{known.layout.metadata}/ostree/{known.tree.commit}.commit"
    data = _small(fetched, path)
    if hashlib.sha256(data).hexdigest() != known.tree.commit:
        result.add(ProblemKind.METADATA, path, "is not the commit that was released")
        return
    if commit_version(data) != known.tree.version:
        result.add(
            ProblemKind.METADATA,
            path,
            f"has the version {commit_version(data)!r}, not {known.tree.version!r}",
        )
    blobs = signatures(_small(fetched, f"{path}meta"))
    if not blobs:
        result.add(ProblemKind.SIGNATURE, path, "the commit is not signed")
        return
    with temporary.directory("commit") as place:
        file, signature = place / "commit", place / "signature"
        file.write_bytes(data)
        complaints = []
        for blob in blobs:
            signature.write_bytes(blob)
            try:
                gpg.check_detached(file, signature, list(keys), what=f"the commit {known.tree.commit[:12]}")
            except SignatureError as error:
                complaints.append(error.message)
            else:
                return
    result.add(ProblemKind.SIGNATURE, path, "; ".join(complaints))
