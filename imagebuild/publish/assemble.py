"""Put a release together in a directory of its own: hard links to what was tested, then everything that
describes it, then signatures.

Built beside its place and renamed into it: a release directory is whole or not there. Its number is taken
first, and never given again.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter

from imagebuild import files
from imagebuild.errors import BuildError, UsageError
from imagebuild.kinds import HostKind
from imagebuild.model import Cell, Image, IsoImage, Tree
from imagebuild.publish import changes, facts, index, marks, metadata, os_tree, page, page_check
from imagebuild.publish.changes import Changes
from imagebuild.publish.facts import DownloadFacts, Facts, TreeFacts
from imagebuild.publish.growth import Growth, growths
from imagebuild.publish.material import Material
from imagebuild.publish.names import Download, Names, suffix
from imagebuild.release_line.model import Config
from imagebuild.report.junit import write_junit
from imagebuild.report.page import write_page
from imagebuild.smoke import criteria
from imagebuild.smoke.waivers import FIT, unfit
from imagebuild.tools.checksum import Entry, hashed, safe, text_of
from imagebuild.tools.gpg import Signer
from imagebuild.tools.ostree.kernel import boot_files
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.server import COMMIT

KEY = "RELEASE-KEY.asc"
FIRST_BOOT = "boots.json"


def assemble(output: Path, material: Material, names: Names, signer: Signer) -> Path:
    """Make `output/COMPOSE_ID` and return it.

    Raises BuildError: a criterion does not hold, a download changed since it was made, something grew without
    a waiver, the page would not be right.
    """
    target, work = output / names.compose_id, output / f".{names.compose_id}.partial"
    if target.exists():
        raise UsageError(
            f"{target} exists already", hint="a release is never written over: take the next respin number"
        )
    pairs = _pairs(material, names)
    repo = Repo(material.tree.repo)
    atomic = by_atomic_too(repo, material.tree.commit, material.tree.host_kind)
    problems = check_fit(
        [cell for cell, _ in material.cells],
        material.config,
        {image.name: each for each, image in pairs},
        atomic=atomic,
    )
    if problems:
        raise BuildError(
            f"nothing is signed that does not hold: {'; '.join(problems)}",
            hint="imagebuild all says what to do",
        )
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    placed = _place_downloads(work, pairs)
    installation = _place_os_tree(work, material, names)
    cells = _place_evidence(work, material, {stored: Path(path).name for path, stored in placed.items()})
    history = facts.history(output, material.tree.ref, but=names.compose_id)
    good = marks.unmarked(output, history)
    difference, found = _describe(material, names, placed, repo, signer, history)
    found = found.model_copy(update={"os_tree": installation})
    grown = _held_against(found, history, good, material, placed)
    _write_reports(work, found, cells)
    _write_metadata(work, material, names, found, difference, repo)
    (work / KEY).write_text(signer.public_key())
    (work / "COMPOSE_ID").write_text(names.compose_id + "\n")
    (work / "STATUS").write_text("FINISHED\n")
    release = page.ReleasePage(
        facts=found,
        names=names,
        config=material.config,
        difference=difference,
        history=tuple(good),
        growth=tuple(grown),
        cells=tuple(cell for cell, _ in cells),
        base=work,
    )
    page.write(work, release)
    entries = _sign(
        work,
        names,
        found,
        signer,
        detached=material.config.publish.signing is not None and material.config.publish.signing.detached,
    )
    problems = page_check.problems(
        (work / page.FILE).read_text(), compose_id=names.compose_id, listed=entries, facts=found
    )
    if problems:
        raise BuildError(
            f"the page of {names.compose_id} is not right: {'; '.join(problems)}",
            hint="correct templates/release.html.j2",
        )
    _sync(work)
    work.rename(target)
    files.sync_directory(output)
    index.write_index(output, material.config)
    return target


def _pairs(material: Material, names: Names) -> list[tuple[Download, Image | IsoImage]]:
    """Return each published download and what the store has for it. Raises BuildError when one is missing, or
    there are more.
    """
    pairs = [(each, _of(material, each)) for each in names.downloads]
    missing = [each.path for each, image in pairs if image is None]
    if missing or len(pairs) != len(material.downloads):
        raise BuildError(
            "the downloads are not those that the configuration names: missing"
            f" {', '.join(missing) or '(none)'}"
        )
    return [(each, image) for each, image in pairs if image is not None]


def _place_downloads(work: Path, pairs: Sequence[tuple[Download, Image | IsoImage]]) -> dict[str, str]:
    """Link every download to its published name, and read it once against what was recorded. Returns path ->
    name in the store.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(lambda pair: _place(work, *pair), pairs))
    return {each.path: image.name for each, image in pairs}


def _place_os_tree(work: Path, material: Material, names: Names) -> dict[str, str]:
    """Lay out what a network boot needs; return what is where."""
    image = next((each for each in material.downloads if isinstance(each, IsoImage)), None)
    installer = material.config.installer
    return (
        os_tree.lay_out(work, image, names, installer.variant, material.tree)
        if image is not None and installer is not None
        else {}
    )


def _of(material: Material, download: Download) -> Image | IsoImage | None:
    """Return what the store has for a published name."""
    for image in material.downloads:
        if isinstance(image, IsoImage):
            if download.format == "iso":
                return image
        elif image.format == download.format and image.name == _store_name(material, download):
            return image
    return None


def _store_name(material: Material, download: Download) -> str:
    return (
        f"{material.config.images[download.image].name}-{material.tree.version}.{material.tree.arch}.{suffix(download.format)}"
        if download.format != "iso"
        else ""
    )


def _place(work: Path, download: Download, image: Image | IsoImage) -> None:
    entry = hashed(image.file, download.path)
    if (entry.size, entry.sha256) != (image.size, image.sha256):
        raise BuildError(
            f"{image.file} is not what was tested any more: its SHA-256 is {entry.sha256}, not"
            f" {image.sha256}",
            hint="remove its directory in the store; imagebuild all makes and tests it again",
        )
    target = work / download.path
    target.parent.mkdir(parents=True, exist_ok=True)
    _link(image.file, target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError as error:
        # never written over: it may be a link into the store
        raise BuildError(
            f"{target.name} is there twice in {target.parent}",
            hint="two files of the evidence have nearly the same name",
        ) from error
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _place_evidence(work: Path, material: Material, names: Mapping[str, str]) -> list[tuple[Cell, Path]]:
    """Link the evidence of every cell, under the names that the downloads have now."""
    placed: dict[tuple[str, str, Path], Path] = {}
    found = []
    for cell, place in material.cells:
        artifact = names.get(cell.artifact, cell.artifact)
        key = (artifact, str(cell.firmware), place)
        if key not in placed:
            placed[key] = work / "evidence" / safe(f"{artifact}-{cell.firmware}")
            _link_tree(place, placed[key])
        found.append((replace(cell, artifact=artifact), placed[key]))
    return found


def _link_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for place in sorted(source.iterdir()):
        if place.is_dir() and not place.is_symlink():
            _link_tree(place, target / safe(place.name))
        elif place.is_file() and not place.is_symlink():
            _link(place, target / safe(place.name))


# --- what is known ------------------------------------------------------------------------------------------


def _describe(
    material: Material,
    names: Names,
    placed: Mapping[str, str],
    repo: Repo,
    signer: Signer,
    history: Sequence[Facts],
) -> tuple[Changes | None, Facts]:
    tree = _tree_facts(material.tree, repo, _kernel_arguments(material))
    before = None
    if material.previous is not None:
        # what its hosts were booted with is known from its own release only
        known = [
            each.tree.kernel_arguments for each in history if each.tree.commit == material.previous.commit
        ]
        before = _tree_facts(material.previous, repo, known[-1] if known else "")
    counts: dict[str, int] = {}
    for cell, _ in material.cells:
        counts[str(cell.state)] = counts.get(str(cell.state), 0) + 1
    found = Facts(
        compose_id=names.compose_id,
        date=names.date,
        respin=names.respin,
        nightly=names.nightly,
        product=names.product,
        release=names.release,
        title=f"{material.tree.pretty_name}",
        ref=material.tree.ref,
        remote=material.config.tree.remote,
        arch=names.arch,
        host_kind=material.tree.host_kind,
        created=material.created,
        gate=material.gate,
        tree=tree,
        previous=before,
        why_no_previous=material.why_no_previous,
        downloads=tuple(_download_facts(material, each, placed[each.path]) for each in names.downloads),
        counts=counts,
        accelerator=material.accelerator,
        slowness=material.slowness,
        signer=signer.fingerprint,
    )
    return (changes.difference(repo, before, tree) if before is not None else None), found


def _download_facts(material: Material, download: Download, name: str) -> DownloadFacts:
    image = next(each for each in material.downloads if each.name == name)
    return DownloadFacts(
        path=download.path,
        image=download.image,
        format=download.format,
        size=image.size,
        sha256=image.sha256,
        disk_size=image.disk_size if isinstance(image, Image) else None,
        volume_id=image.volume_id if isinstance(image, IsoImage) else None,
        media_md5=image.md5 if isinstance(image, IsoImage) else None,
        boot=_boot_times(material, name),
    )


def _boot_times(material: Material, artifact: str) -> dict[str, float]:
    """Return firmware -> seconds from power-on to ssh, of the first boot in the evidence."""
    found: dict[str, float] = {}
    for cell, place in material.cells:
        if cell.artifact == artifact and str(cell.firmware) not in found and (place / FIRST_BOOT).is_file():
            boots = json.loads((place / FIRST_BOOT).read_text())
            seconds = [each["phases"]["ssh"] for each in boots if "ssh" in each.get("phases", {})]
            if seconds:
                found[str(cell.firmware)] = round(float(seconds[0]), 1)
    return found


def _kernel_arguments(material: Material) -> str:
    for _, place in material.cells:
        journal = place / "journal.txt"
        found = facts.command_line(journal.read_text("utf-8", "replace")) if journal.is_file() else ""
        if found:
            return found
    return ""


def _tree_facts(tree: Tree, repo: Repo, arguments: str) -> TreeFacts:
    path = boot_files(repo, tree.commit).initramfs
    initramfs = (repo.read(tree.commit, str(path)) if path is not None else None) or b""
    return TreeFacts(
        commit=tree.commit,
        version=tree.version,
        kernel=tree.kernel,
        kernel_arguments=arguments,
        initramfs_size=len(initramfs),
        initramfs_sha256=hashlib.sha256(initramfs).hexdigest() if initramfs else "",
        size=tree.size,
        files=tree.files,
    )


def _held_against(
    found: Facts,
    history: Sequence[Facts],
    good: Sequence[Facts],
    material: Material,
    placed: Mapping[str, str],
) -> list[Growth]:
    commit = found.previous.commit if found.previous is not None else None
    same = [each for each in good if each.nightly == found.nightly]
    # what hosts come from; without a release of that, the last one
    last = next(
        (each for each in reversed(history) if each.tree.commit == commit), same[-1] if same else None
    )
    booted = {
        path: {str(cell.firmware) for cell, _ in material.cells if cell.artifact == name}
        for path, name in placed.items()
    }
    grown = growths(
        found, last, material.config.publish.growth, material.config.waivers, material.today, booted=booted
    )
    held = [each for each in grown if not each.waived]
    if held:
        raise BuildError(
            "; ".join(each.says for each in held),
            hint=(
                "find out why, or waive it in the configuration: criterion"
                f" {', '.join(dict.fromkeys(each.kind for each in held))}"
            ),
        )
    return grown


# --- files --------------------------------------------------------------------------------------------------


def _write_reports(work: Path, found: Facts, cells: Sequence[tuple[Cell, Path]]) -> None:
    rows = [
        {
            **TypeAdapter(Cell).dump_python(cell, mode="json"),
            "evidence": str((place / cell.evidence).relative_to(work)),
        }
        for cell, place in cells
    ]
    (work / "verdict.json").write_text(json.dumps(rows, indent=1) + "\n")
    write_junit(work / "junit.xml", [(cell, place.relative_to(work)) for cell, place in cells])
    write_page(work / "report.html", f"{found.title}: {found.compose_id}", cells)


def _write_metadata(
    work: Path, material: Material, names: Names, found: Facts, difference: Changes | None, repo: Repo
) -> None:
    place = work / "metadata"
    (place / "ostree").mkdir(parents=True)
    (work / facts.FILE).write_text(found.model_dump_json(indent=1) + "\n")
    (place / "composeinfo.json").write_text(
        metadata.composeinfo(material.config, names, os_tree=names.os_tree if found.os_tree else "")
    )
    text = metadata.images(found, names, material.config.publish.subvariant)
    (place / "images.json").write_text(text)
    known = {each.path: (each.size, each.sha256) for each in found.downloads}
    problems = metadata.check_images(text, compose_id=names.compose_id, known=known)
    if problems:
        raise BuildError("; ".join(problems), hint="this is a bug: please report it")
    (place / "changes.json").write_text(
        json.dumps(asdict(difference) if difference is not None else None, indent=1) + "\n"
    )
    (place / "changes.txt").write_text(
        difference.text() if difference is not None else f"{material.why_no_previous}\n"
    )
    # the commit as it was signed: whoever has the key needs nobody's word for which commit is released
    commit = place / "ostree" / f"{found.tree.commit}.commit"
    commit.write_bytes(repo.metadata_object(COMMIT, found.tree.commit))
    signatures = repo.detached_metadata(found.tree.commit)
    if signatures is not None:
        commit.with_suffix(".commitmeta").write_bytes(signatures)
    artifact = metadata.CosaArtifact(
        path=str(commit.relative_to(work)), sha256=found.tree.commit, size=commit.stat().st_size
    )
    (place / "meta.json").write_text(
        metadata.cosa_meta(found, names, commit_object=artifact, commit_time=material.tree.timestamp)
    )
    inputs = {f"kickstart:{name}": file.read_bytes() for name, file in material.kickstarts.items()}
    config = material.config.model_dump_json()
    inputs["configuration"] = config.encode()
    (place / "provenance.json").write_text(
        metadata.provenance(
            found,
            inputs=inputs,
            tools=material.tools,
            version=_version(),
            config=f"{found.product} {found.release}",
        )
    )


def _version() -> str:
    return version("imagebuild")


def _sign(work: Path, names: Names, found: Facts, signer: Signer, *, detached: bool) -> dict[str, Entry]:
    """Write every CHECKSUM file; return path -> entry of everything listed, the directories' CHECKSUM files
    among it.
    """
    known = {each.path: Entry(name=each.path, size=each.size, sha256=each.sha256) for each in found.downloads}
    if detached:
        for path in list(known):
            signer.detach(work / path, work / f"{path}.sig")
            known[f"{path}.sig"] = hashed(work / f"{path}.sig", f"{path}.sig")
    for checksum in names.checksums:
        mine = [
            replace(entry, name=Path(path).name)
            for path, entry in known.items()
            if names.checksum_of(path) == checksum
        ]
        (work / checksum).write_text(signer.clearsign(text_of(mine)))
    rest = sorted(
        str(file.relative_to(work))
        for file in work.rglob("*")
        if file.is_file() and str(file.relative_to(work)) not in known
    )
    entries = {path: hashed(work / path, path) for path in rest}
    (work / names.manifest).write_text(signer.clearsign(text_of(entries.values())))
    return known | entries


def _sync(directory: Path) -> None:
    """Have everything on the disk before the release gets its name."""
    for place, _, names in os.walk(directory):
        for name in names:
            with (Path(place) / name).open("rb") as stream:
                os.fsync(stream.fileno())
        files.sync_directory(Path(place))


def by_atomic_too(repo: Repo, commit: str, kind: HostKind) -> bool:
    """Whether a release must have been held against the criteria by `atomic host`, too: its tree says so."""
    return kind is HostKind.RPM_OSTREE and repo.has_atomic(commit)


def check_fit(
    cells: Sequence[Cell], config: Config, downloads: Mapping[str, Download | DownloadFacts], *, atomic: bool
) -> list[str]:
    """Return what keeps downloads, by the names they were tested under, from being signed: what does not
    hold, and what nobody tested.

    `atomic`: the tree has that command (`by_atomic_too`).
    """
    bad = [
        f"{cell.artifact} under {cell.firmware}: {cell.criterion} is {cell.state}"
        for cell in cells
        if cell.state not in FIT
    ]
    for name, download in downloads.items():
        owner = config.installer if download.format == "iso" else config.images.get(download.image)
        wanted = criteria.required(atomic=atomic, installer=download.format == "iso")
        says = (
            unfit(name, owner.firmware, cells, wanted)
            if owner is not None
            else "the configuration has no such image"
        )
        bad += [f"{name} {says}"] if says and not bad else []
    return bad
