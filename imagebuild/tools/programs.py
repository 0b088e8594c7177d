"""The programs that this machine has: where each is, and the package that has one that is missing."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from imagebuild.errors import MissingToolError

# program -> (Debian package, Fedora package)
PACKAGES: Mapping[str, tuple[str, str]] = {
    "busybox": ("busybox-static", "busybox"),
    "bzip2": ("bzip2", "bzip2"),
    "chromium": ("chromium", "chromium"),
    "createrepo_c": ("createrepo-c", "createrepo_c"),
    "checkisomd5": ("isomd5sum", "isomd5sum"),
    "dnsmasq": ("dnsmasq-base", "dnsmasq"),
    "gpg": ("gnupg", "gnupg2"),
    "implantisomd5": ("isomd5sum", "isomd5sum"),
    "losetup": ("mount", "util-linux-core"),
    "lz4": ("lz4", "lz4"),
    "mcopy": ("mtools", "mtools"),
    "mkfs.vfat": ("dosfstools", "dosfstools"),
    "mksquashfs": ("squashfs-tools", "squashfs-tools"),
    "mmdebstrap": ("mmdebstrap", "mmdebstrap"),
    "openssl": ("openssl", "openssl"),
    "ostree": ("ostree", "ostree"),
    "qemu-img": ("qemu-utils", "qemu-img"),
    "qemu-system-aarch64": ("qemu-system-arm", "qemu-system-aarch64"),
    "qemu-system-x86_64": ("qemu-system-x86", "qemu-system-x86"),
    "rpm": ("rpm", "rpm"),
    "rsync": ("rsync", "rsync"),
    "rpmbuild": ("rpm", "rpm-build"),
    "rpm-ostree": ("", "rpm-ostree"),
    "setpriv": ("util-linux", "util-linux"),
    "sfdisk": ("fdisk", "util-linux"),
    "skopeo": ("skopeo", "skopeo"),
    "sqfs2tar": ("squashfs-tools-ng", "squashfs-tools-ng"),
    "sqfstar": ("squashfs-tools", "squashfs-tools"),
    "ssh": ("openssh-client", "openssh-clients"),
    "ssh-keygen": ("openssh-client", "openssh"),
    "xorriso": ("xorriso", "xorriso"),
    "xz": ("xz-utils", "xz"),
    "zstd": ("zstd", "zstd"),
}


def search_path() -> str:
    """Return PATH with the sbin directories that ordinary users lack."""
    return os.pathsep.join([os.environ.get("PATH", "/usr/bin:/bin"), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def find(program: str) -> Path | None:
    """Return where `program` is installed, or None."""
    file = shutil.which(program, path=search_path())
    return Path(file) if file else None


def require(program: str) -> Path:
    """Return where `program` is installed.

    Raises MissingToolError, which names the package that has it.
    """
    file = find(program)
    if file is None:
        debian, fedora = PACKAGES.get(program, ("", ""))
        commands = [f"apt-get install {debian}" if debian else "", f"dnf install {fedora}" if fedora else ""]
        hint = (
            " or ".join(text for text in commands if text) or f"install {program} and make sure it is in PATH"
        )
        raise MissingToolError(f"the program {program} is not installed", hint=hint)
    return file
