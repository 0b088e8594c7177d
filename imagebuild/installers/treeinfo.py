"""`.treeinfo`: what an installation tree holds, for tools that install from it (productmd, "Treeinfo file
format 1.x").
"""

from pathlib import Path

from imagebuild.config import naming
from imagebuild.model import Tree

KERNEL, INITRD = "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"
STAGE2 = "images/install.img"
# what a TFTP server hands out, beside kernel and initramfs: GRUB for PXE under BIOS and UEFI, and its menu
NETWORK_BIOS, NETWORK_UEFI = "images/pxeboot/grub-bios.0", "images/pxeboot/grub-uefi.efi"
NETWORK_MENU = "images/pxeboot/grub.cfg"


def write_treeinfo(file: Path, product: str, release: str, variant: str, tree: Tree, epoch: int) -> None:
    """Write a .treeinfo of an installer whose only payload is an OSTree commit."""
    info = naming.treeinfo(product, release, variant, tree.arch, epoch)
    info.images.images[tree.arch] = {"kernel": KERNEL, "initrd": INITRD}
    info.stage2.mainimage = STAGE2
    info.dump(str(file))
