"""What is known of a release that is being put together, as `metadata/release.json` says it."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from imagebuild.model import Image, IsoImage, Tree
from imagebuild.publish import facts
from imagebuild.publish.facts import DownloadFacts, Facts, TreeFacts
from imagebuild.publish.material import Material
from imagebuild.publish.names import Download, Names
from imagebuild.report import boots
from imagebuild.tools.ostree.kernel import boot_files
from imagebuild.tools.ostree.repository import Repo


def describe(
    material: Material,
    names: Names,
    placed: Mapping[str, str],
    repo: Repo,
    signer: str,
    os_tree: Mapping[str, str],
) -> Facts:
    """Return what is known; `placed` maps the path of each download to its name in the store, `os_tree` what
    a file of the installation tree is for to its path; `signer` is a fingerprint.
    """
    return Facts(
        compose_id=names.compose_id,
        date=names.date,
        respin=names.respin,
        nightly=names.nightly,
        product=names.product,
        release=names.release,
        title=material.tree.pretty_name,
        ref=material.tree.ref,
        remote=material.config.tree.remote,
        arch=names.arch,
        host_kind=material.tree.host_kind,
        created=material.created,
        gate=material.gate,
        tree=_tree_facts(material.tree, repo, _kernel_arguments(material)),
        why_no_previous=material.why_no_previous or "",
        updates=material.updates,
        downloads=tuple(
            _download_facts(material, download, placed[download.path]) for download in names.downloads
        ),
        os_tree=dict(os_tree),
        counts=dict(Counter(str(cell.state) for cell, _ in material.cells)),
        accelerator=material.accelerator,
        slowness=material.slowness,
        signer=signer,
        joint=names.joint,
    )


def describe_previous(material: Material, repo: Repo, history: Sequence[Facts]) -> TreeFacts | None:
    """Return what is known of the tree that hosts come from."""
    previous = material.previous
    if previous is None:
        return None
    # what its hosts were booted with is known from its own release only
    arguments = [
        release.tree.kernel_arguments for release in history if release.tree.commit == previous.commit
    ]
    return _tree_facts(previous, repo, arguments[-1] if arguments else "")


def _download_facts(material: Material, download: Download, name: str) -> DownloadFacts:
    image = next(made for made in material.downloads if made.name == name)
    return DownloadFacts(
        path=download.path,
        image=download.image,
        format=download.format,
        size=image.size,
        sha256=image.sha256,
        disk_size=image.disk_size if isinstance(image, Image) else None,
        content=image.content or None if isinstance(image, Image) else None,
        volume_id=image.volume_id if isinstance(image, IsoImage) else None,
        media_md5=image.md5 if isinstance(image, IsoImage) else None,
        boot=_boot_times(material, name),
        secure_boot=image.secure_boot,
    )


def _boot_times(material: Material, artifact: str) -> dict[str, float]:
    """Return firmware -> seconds from power-on to ssh, of the first boot in the evidence."""
    times: dict[str, float] = {}
    for cell, evidence in material.cells:
        file = evidence / boots.FILE
        if cell.artifact == artifact and str(cell.firmware) not in times and file.is_file():
            phases = [boot.get("phases", {}) for boot in json.loads(file.read_text())]
            seconds = [reached["ssh"] for reached in phases if "ssh" in reached]
            if seconds:
                times[str(cell.firmware)] = round(float(seconds[0]), 1)
    return times


def _kernel_arguments(material: Material) -> str:
    for _, evidence in material.cells:
        journal = evidence / "journal.txt"
        arguments = facts.command_line(journal.read_text("utf-8", "replace")) if journal.is_file() else ""
        if arguments:
            return arguments
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
