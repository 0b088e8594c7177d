"""Put a release together in a directory of its own: hard links to what was tested, then everything that
describes it, then signatures.

Built beside its place and renamed into it: a release directory is whole or not there. Its number is taken
first, and never given again.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebuild import files
from imagebuild.errors import BuildError, UsageError
from imagebuild.model import Image, IsoImage
from imagebuild.publish import audit, changes, cleaning, facts, index, joint, marks, os_tree, page, page_check
from imagebuild.publish.audit import Audit
from imagebuild.publish.description import describe, describe_previous
from imagebuild.publish.documents import describe_all, write_metadata, write_reports
from imagebuild.publish.downloads import pairs_of, place_downloads, place_evidence
from imagebuild.publish.facts import Facts, TreeFacts
from imagebuild.publish.fitness import needs_atomic, unfit_downloads
from imagebuild.publish.growth import Growth, growths
from imagebuild.publish.layout import FINISHED, ID, KEY, STATUS
from imagebuild.publish.material import Material
from imagebuild.publish.names import Download, Names
from imagebuild.publish.page import ReleasePage
from imagebuild.publish.signing import sign
from imagebuild.tools.gpg import Signer
from imagebuild.tools.ostree import deltas
from imagebuild.tools.ostree.repository import Repo


def assemble(output: Path, material: Material, names: Names, signer: Signer) -> Path:
    """Make `output/COMPOSE_ID` and return it.

    Raises BuildError: a criterion does not hold, a download changed since it was made, something grew without
    a waiver, the page would not be right.
    """
    target, work = output / names.compose_id, output / _work_of(names)
    if (target / names.layout.facts if names.joint else target).exists():
        raise UsageError(
            f"{target} exists already", hint="a release is never written over: take the next respin number"
        )
    pairs = pairs_of(material, names)
    repo = Repo(material.tree.repo)
    _refuse_unfit(material, pairs, repo)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    content = _fill(work, output, material, names, pairs, signer)
    for delta in material.deltas:
        # from there promotion takes what was tested
        deltas.put(repo, delta.place)
    if names.joint:
        _sign_part(work, content, signer)
        joint.clear(target, names.arch)
        joint.add(target, work)
        joint.complete(target, material.config, signer)
    else:
        _write_common(work, content, signer)
        _sign_and_check(work, content, signer)
        files.sync_tree(work)
        work.rename(target)
    files.sync(output)
    index.write_index(output, material.config)
    return target


def _refuse_unfit(material: Material, pairs: Sequence[tuple[Download, Image | IsoImage]], repo: Repo) -> None:
    problems = unfit_downloads(
        [cell for cell, _ in material.cells],
        material.config,
        {image.name: download for download, image in pairs},
        atomic=needs_atomic(repo, material.tree.commit, material.tree.host_kind),
        older=material.older,
    )
    if problems:
        raise BuildError(
            f"nothing is signed that does not hold: {'; '.join(problems)}",
            hint="imagebuild all says what to do",
        )


def _fill(
    work: Path,
    output: Path,
    material: Material,
    names: Names,
    pairs: Sequence[tuple[Download, Image | IsoImage]],
    signer: Signer,
) -> ReleasePage:
    """Put in everything but the page and the signatures; return what the page has to say."""
    repo = Repo(material.tree.repo)
    placed = place_downloads(work, pairs)
    installation = _place_os_tree(work, material, names)
    tested_as = {stored: Path(path).name for path, stored in placed.items()}
    cleaner = cleaning.builder(material.tree.repo.parent, output)
    cells = place_evidence(work, material, tested_as, names.layout.evidence, cleaner)
    history = facts.history(output, material.tree.ref, but=names.compose_id)
    good = marks.unmarked(output, history)
    described = describe(material, names, placed, repo, signer.fingerprint, installation)
    previous = describe_previous(material, repo, history)
    described = described.model_copy(update={"previous": previous})
    difference = changes.difference(repo, previous, described.tree) if previous is not None else None
    grown = _check_growth(described, history, good, material, placed)
    audited = _audit(material, repo, previous)
    write_reports(work, described, cells)
    write_metadata(work, material, names, described, difference, repo, [cell for cell, _ in cells])
    if audited is not None:
        document = json.dumps(audited.document(), indent=1) + "\n"
        (work / described.layout.metadata / audit.FILE).write_text(document)
    return ReleasePage(
        facts=described,
        names=names,
        config=material.config,
        difference=difference,
        history=tuple(good),
        growth=tuple(grown),
        audit=audited,
        cells=tuple(cell for cell, _ in cells),
        base=work,
    )


def _work_of(names: Names) -> str:
    """Return the name of the directory in which a release is put together."""
    return f".{names.compose_id}{f'-{names.arch}' if names.joint else ''}.partial"


def _write_common(work: Path, content: ReleasePage, signer: Signer) -> None:
    """Write what a compose of several architectures has once for all of them, here for the only one."""
    for path, text in describe_all([content.facts], content.config.publish.subvariant).items():
        (work / path).write_text(text)
    (work / KEY).write_text(signer.public_key())
    (work / ID).write_text(content.names.compose_id + "\n")
    (work / STATUS).write_text(FINISHED)
    page.write(work, content)


def _sign_part(work: Path, content: ReleasePage, signer: Signer) -> None:
    """Sign what a joint compose has of one architecture, with its part of the page."""
    signing, names = content.config.publish.signing, content.names
    (work / names.layout.fragment).write_text(page.fragment(content))
    sign(work, names, content.facts, signer, detached=signing is not None and signing.detached)
    files.sync_tree(work)


def _sign_and_check(work: Path, content: ReleasePage, signer: Signer) -> None:
    """Sign, then raise BuildError when the page is not right."""
    signing, compose_id = content.config.publish.signing, content.names.compose_id
    detached = signing is not None and signing.detached
    entries = sign(work, content.names, content.facts, signer, detached=detached)
    text = (work / page.FILE).read_text()
    problems = page_check.problems(
        text,
        compose_id=compose_id,
        listed=entries,
        manifest=content.names.manifest,
        downloads=content.facts.downloads,
    )
    if problems:
        raise BuildError(
            f"the page of {compose_id} is not right: {'; '.join(problems)}",
            hint="correct templates/release.html.j2",
        )


def _place_os_tree(work: Path, material: Material, names: Names) -> dict[str, str]:
    """Lay out what a network boot needs; return what is where."""
    image = next((made for made in material.downloads if isinstance(made, IsoImage)), None)
    installer = material.config.installer
    return (
        os_tree.lay_out(work, image, names, installer.variant, material.tree)
        if image is not None and installer is not None
        else {}
    )


def _audit(material: Material, repo: Repo, previous: TreeFacts | None) -> Audit | None:
    """Return what is known of the packages' vulnerabilities; None when nobody asked. Raises BuildError for
    those that nobody answers for.
    """
    wanted = material.config.publish.audit
    if wanted is None:
        return None
    old = previous.commit if previous is not None and repo.has(previous.commit) else None
    audited = audit.audit(
        Path(wanted.advisories),
        audit.inventory(repo, material.tree.commit),
        audit.inventory(repo, old) if old is not None else None,
        material.config.waivers,
        material.today,
    )
    audit.check(audited, wanted)
    return audited


def _check_growth(
    described: Facts,
    history: Sequence[Facts],
    good: Sequence[Facts],
    material: Material,
    placed: Mapping[str, str],
) -> list[Growth]:
    """Return what grew and was waived. Raises BuildError for growth that nobody answers for."""
    booted = {
        path: {str(cell.firmware) for cell, _ in material.cells if cell.artifact == name}
        for path, name in placed.items()
    }
    grown = growths(
        described,
        _compared_with(described, history, good),
        material.config.publish.growth,
        material.config.waivers,
        material.today,
        booted=booted,
    )
    unwaived = [growth for growth in grown if not growth.waived]
    if unwaived:
        kinds = ", ".join(dict.fromkeys(growth.kind for growth in unwaived))
        raise BuildError(
            "; ".join(growth.says for growth in unwaived),
            hint=f"find out why, or waive it in the configuration: criterion {kinds}",
        )
    return grown


def _compared_with(described: Facts, history: Sequence[Facts], good: Sequence[Facts]) -> Facts | None:
    """Return the release of what hosts come from; without one, the last that is not bad."""
    commit = described.previous.commit if described.previous is not None else None
    same = [release for release in reversed(history) if release.tree.commit == commit]
    alike = [release for release in reversed(good) if release.nightly == described.nightly]
    return next(iter((*same, *alike)), None)
