"""The documents of a release: its verdict, and its metadata for other programs."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from imagebuild import files
from imagebuild.errors import BuildError
from imagebuild.model import Cell, IsoImage
from imagebuild.publish import attestations, bill, metadata
from imagebuild.publish.changes import Changes
from imagebuild.publish.facts import Facts
from imagebuild.publish.layout import COMPOSEINFO, IMAGES
from imagebuild.publish.material import Material
from imagebuild.publish.metadata import CosaArtifact
from imagebuild.publish.names import Names
from imagebuild.publish.parts import origin_of, parts_of
from imagebuild.report.junit import write_junit
from imagebuild.report.page import write_page
from imagebuild.smoke import verdict
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.server import COMMIT

# what IsoImage calls the installer that is made of the tree itself (installers/registry.py)
LIVE = "live"


def write_reports(work: Path, described: Facts, cells: Sequence[tuple[Cell, Path]]) -> None:
    """Write the verdict as data, as JUnit and as a page."""
    place = work / described.layout.reports
    inside = [(cell, evidence.relative_to(place)) for cell, evidence in cells]
    verdict.write(place / verdict.FILE, [verdict.at(cell, evidence) for cell, evidence in inside])
    write_junit(place / "junit.xml", inside)
    write_page(place / "report.html", f"{described.title}: {described.compose_id}", cells)


def write_metadata(
    work: Path,
    material: Material,
    names: Names,
    described: Facts,
    changes: Changes | None,
    repo: Repo,
    cells: Sequence[Cell],
) -> None:
    """Write everything below `metadata/` that is of one architecture, once its reports are there; `cells`
    have the names of the release. Raises BuildError when another program would not take it.
    """
    directory = work / described.layout.metadata
    (directory / "ostree").mkdir(parents=True)
    commit = _write_commit(work, described, repo)
    texts = {
        "changes.json": json.dumps(asdict(changes) if changes is not None else None, indent=1) + "\n",
        "changes.txt": changes.text() if changes is not None else f"{material.why_no_previous}\n",
        "meta.json": metadata.cosa_meta(
            described, names, commit_object=commit, commit_time=material.tree.timestamp
        ),
        "provenance.json": _provenance(material, described),
        **_bills(material, described, repo),
    }
    (work / described.layout.facts).write_text(described.model_dump_json(indent=1) + "\n")
    for name, text in texts.items():
        (directory / name).write_text(text)
    attester = attestations.attester_of(material.config)
    if attester is not None:
        tested_by = {
            "configuration": hashlib.sha256(material.config.model_dump_json().encode()).hexdigest(),
            verdict.FILE: files.sha256(work / described.layout.reports / verdict.FILE),
        }
        tested = attestations.tested_statement(described, cells, tested_by)
        attestations.write(directory, attester, [texts["provenance.json"], tested])


def _bills(material: Material, described: Facts, repo: Repo) -> dict[str, str]:
    """Return the bills of materials, by name."""
    # what they are written with takes a second to import
    from imagebuild.publish import bill_cyclonedx, bill_spdx  # noqa: PLC0415

    backends = {made.sha256: made.backend for made in material.downloads if isinstance(made, IsoImage)}
    parts = parts_of(repo, described.tree.commit)
    made = bill.Bill(
        facts=described,
        parts=parts,
        origin=origin_of(repo, described.tree.commit, "dpkg"),
        installers={
            fact.path: bill.live_additions(material.tools) if backends[fact.sha256] == LIVE else None
            for fact in described.downloads
            if bill.is_installer(fact)
        },
    )
    tool = f"imagebuild-{version('imagebuild')}"
    return {bill.SPDX: bill_spdx.write(made, tool), bill.CYCLONEDX: bill_cyclonedx.write(made, tool)}


def describe_all(releases: Sequence[Facts], subvariant: str) -> dict[str, str]:
    """Return path -> text of what productmd reads of a whole compose, of all its architectures. Raises
    BuildError when it would not take it.
    """
    text = metadata.images(releases, subvariant)
    entries = {fact.path: (fact.size, fact.sha256) for release in releases for fact in release.downloads}
    problems = metadata.check_images(text, compose_id=releases[0].compose_id, known=entries)
    if problems:
        raise BuildError("; ".join(problems), hint="this is a bug: please report it")
    return {COMPOSEINFO: metadata.composeinfo(releases), IMAGES: text}


def _write_commit(work: Path, described: Facts, repo: Repo) -> CosaArtifact:
    """Write the commit as it was signed: whoever has the key need not believe anybody which commit is
    released.
    """
    name = described.tree.commit
    commit = work / described.layout.metadata / "ostree" / f"{name}.commit"
    commit.write_bytes(repo.metadata_object(COMMIT, name))
    signatures = repo.detached_metadata(name)
    if signatures is not None:
        commit.with_suffix(".commitmeta").write_bytes(signatures)
    return CosaArtifact(path=str(commit.relative_to(work)), sha256=name, size=commit.stat().st_size)


def _provenance(material: Material, described: Facts) -> str:
    inputs = {f"kickstart:{name}": file.read_bytes() for name, file in material.kickstarts.items()}
    inputs["configuration"] = material.config.model_dump_json().encode()
    return metadata.provenance(
        described,
        inputs=inputs,
        tools=material.tools,
        version=version("imagebuild"),
        config=f"{described.product} {described.release}",
    )
