"""`.treeinfo`: what an installation tree holds, for tools that install from it (productmd, "Treeinfo file format 1.x")."""

from pathlib import Path

from productmd.treeinfo import TreeInfo, Variant

from imagebuild.model import Tree

KERNEL, INITRD = "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"
STAGE2 = "images/install.img"


def write_treeinfo(file: Path, product: str, release: str, variant: str, tree: Tree, epoch: int) -> None:
    """Write a .treeinfo of an installer whose only payload is an OSTree commit."""
    info = TreeInfo()
    info.release.name, info.release.short, info.release.version = product, product, release
    info.tree.arch, info.tree.build_timestamp = tree.arch, epoch
    info.tree.platforms.add(tree.arch)
    one = Variant(info)
    one.id = one.uid = one.name = "".join(letter for letter in variant if letter.isalnum())
    one.type = "variant"
    info.variants.add(one)
    info.images.images[tree.arch] = {"kernel": KERNEL, "initrd": INITRD}
    info.stage2.mainimage = STAGE2
    info.dump(str(file))
