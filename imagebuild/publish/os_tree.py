"""The installation tree of a release, `VARIANT/ARCH/os`: what a network boot needs of the tested ISO, and a
`.treeinfo` that says so.

Laid out as pungi's ostree_installer phase lays out what lorax made (phases/ostree_installer.py,
`_copy_image`), but for boot.iso, which is the download beside it: kernel and initramfs, and the installer's
root file system, which `inst.stage2=` and `inst.repo=` fetch. Its `.treeinfo` is productmd's (treeinfo.py of
1.51), with the SHA-256 of every file: tools that boot from a tree (virt-install) look for it.
"""

from collections.abc import Mapping
from pathlib import Path

from productmd.treeinfo import TreeInfo

from imagebuild import files
from imagebuild.config import naming
from imagebuild.errors import BuildError
from imagebuild.installers.treeinfo import INITRD, KERNEL, NETWORK_BIOS, NETWORK_MENU, NETWORK_UEFI, STAGE2
from imagebuild.model import IsoImage, Tree
from imagebuild.publish.names import Names
from imagebuild.tools import iso

TREEINFO = ".treeinfo"
NEEDED = (KERNEL, INITRD, STAGE2)
# what is laid over the installer: ours always has the first, lorax' one has them when packages bring them
# (x86.tmpl, `installimg`)
OPTIONAL = ("images/product.img", "images/updates.img")
# what boots it from the network, where the tree's GRUB can
NETWORK = (NETWORK_BIOS, NETWORK_UEFI, NETWORK_MENU)


def lay_out(work: Path, image: IsoImage, names: Names, variant: str, tree: Tree) -> dict[str, str]:
    """Write the tree below a release directory, out of its ISO; return (role of a file -> path), for the
    page. Empty: what is tested is not an ISO.

    Nothing is there twice: the store has these files inside of the ISO only. Raises BuildError when the ISO
    lacks one that is needed.
    """
    if not names.os_tree or not iso.is_image(image.file):
        return {}
    place = work / names.os_tree
    found = iso.extract(image.file, [f"/{path}" for path in (*NEEDED, *OPTIONAL, *NETWORK)], place)
    missing = [path for path in NEEDED if f"/{path}" not in found]
    if missing:
        raise BuildError(
            f"{image.name} has no {', '.join(missing)}: nobody could boot from the network",
            hint="this is a bug: please report it",
        )
    paths = sorted(path.lstrip("/") for path in found)
    (place / TREEINFO).write_text(_treeinfo(place, paths, names, variant, tree).dumps())
    roles = {"kernel": KERNEL, "initramfs": INITRD, "root file system": STAGE2, "treeinfo": TREEINFO}
    roles |= {path.rpartition("/")[2]: path for path in (*OPTIONAL, *NETWORK) if path in paths}
    return {role: f"{names.os_tree}/{path}" for role, path in roles.items()}


def _treeinfo(place: Path, paths: list[str], names: Names, variant: str, tree: Tree) -> TreeInfo:
    info = naming.treeinfo(names.product, names.release, variant, tree.arch, tree.timestamp)
    info.images.images[tree.arch] = {"kernel": KERNEL, "initrd": INITRD} | {
        path.rpartition("/")[2]: path for path in (*OPTIONAL, *NETWORK) if path in paths
    }
    info.stage2.mainimage = STAGE2
    for path in paths:
        info.checksums.add(path, "sha256", files.sha256(place / path))
    return info


def problems(
    text: str, directory: str, listed: Mapping[str, str], *, product: str, release: str, arch: str
) -> list[str]:
    """Return what is wrong with the .treeinfo of a released tree, a sentence each; `listed` maps every signed
    path to its SHA-256.

    It was signed, but may have been wrong when it was; productmd compares it with no file.
    """
    info = TreeInfo()
    try:
        info.loads(text)
    except Exception as error:  # productmd and configparser raise whatever they stumble over
        return [f"productmd does not take it: {error}"]
    is_, should = (info.release.name, info.release.version, info.tree.arch), (product, release, arch)
    found = [] if is_ == should else [f"it is of {' '.join(map(str, is_))}, not of {' '.join(should)}"]
    named = {path for images in info.images.images.values() for path in images.values()} | {
        info.stage2.mainimage or ""
    } - {""}
    found += [f"it does not name {path}" for path in NEEDED if path not in named]
    below = {
        path.removeprefix(f"{directory}/"): digest
        for path, digest in listed.items()
        if path.startswith(f"{directory}/")
    }
    found += [
        f"it names {path}, which is in no CHECKSUM of this compose" for path in sorted(named - set(below))
    ]
    found += [f"it has no checksum of {path}" for path in sorted(named - set(info.checksums.checksums))]
    for path, (kind, digest) in sorted(info.checksums.checksums.items()):
        if kind != "sha256" or below.get(path) != digest:
            found.append(f"its checksum of {path} is not that of the CHECKSUM list")
    return found
