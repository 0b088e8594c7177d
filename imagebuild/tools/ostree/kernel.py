"""Where a tree keeps the kernel and the initramfs that its hosts boot: every layout that `ostree admin
deploy` takes.

libostree 2022.7, ostree-sysroot-deploy.c: get_kernel_from_tree and what it calls. rpm-ostree before 2017.9
(all of Fedora 25, Fedora 26 until September 2017, CentOS 7) left the initramfs in /usr/lib/ostree-boot and
/boot only.
"""

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from imagebuild.errors import BuildError
from imagebuild.tools.ostree.repository import Repo

MODULES = "usr/lib/modules"
# the first of these that is there is looked into, and no other one
LEGACY = ("usr/lib/ostree-boot", "boot")
# beside the kernel in /usr/lib/modules/VERSION
INITRAMFS = ("initramfs.img", "initramfs")
# NAME-VERSION-CHECKSUM: one checksum of all that is booted together, in every name
CHECKSUMMED = re.compile(r"(vmlinuz|initramfs|devicetree)-(?:(.+)-)?([0-9a-f]{64})")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")
HINT = "correct the compose: one kernel and its initramfs in /usr/lib/modules/VERSION"


@dataclass(frozen=True, kw_only=True)
class BootFiles:
    """What a tree boots: the kernel's release string, and the paths of both files in the commit; not every
    kernel needs an initramfs.
    """

    version: str
    kernel: PurePosixPath
    initramfs: PurePosixPath | None


def boot_files(repo: Repo, commit: str) -> BootFiles:
    """Return what `ostree admin deploy` would copy to /boot of a commit's hosts. No file is read, and no
    directory but those named above.

    Raises BuildError: no kernel, several of which libostree takes any, names that cannot belong together.
    """
    legacy = _in_legacy(repo, commit)
    in_modules = _in_modules(repo, commit)
    if any(files.initramfs for files in legacy) and not any(files.initramfs for files in in_modules):
        return _only(repo, commit, legacy)
    if not legacy and not in_modules:
        raise BuildError(
            "the tree needs one kernel in /usr/lib/modules/VERSION/vmlinuz, but it has none (nor one with a"
            f" checksum in its name in /{LEGACY[0]} or /{LEGACY[1]})",
            hint=HINT,
        )
    return _only(repo, commit, in_modules or legacy)


def kernel_of(repo: Repo, commit: str) -> bytes:
    """Return the kernel that a commit's hosts boot. Raises BuildError."""
    kernel = repo.read(commit, str(boot_files(repo, commit).kernel))
    assert kernel is not None, "boot_files returns what is there"
    return kernel


def _only(repo: Repo, commit: str, kernels: list[BootFiles]) -> BootFiles:
    if len(kernels) > 1:
        paths = ", ".join(str(files.kernel) for files in kernels)
        raise BuildError(
            f"the tree needs one kernel in /usr/lib/modules/VERSION/vmlinuz, but it has {paths}: hosts would"
            " boot any of them",
            hint=HINT,
        )
    boot = kernels[0]
    if not boot.version:
        # a name with a checksum and nothing else: the modules say what it is a kernel of
        boot = replace(boot, version="".join(repo.listing(commit, MODULES)))
    if not VERSION.fullmatch(boot.version):
        raise BuildError(
            f"the tree's kernel {str(boot.kernel)!r} has no usable version: {boot.version!r}", hint=HINT
        )
    missing = [
        str(path)
        for path in (boot.kernel, boot.initramfs)
        if path is not None and not repo.has_file(commit, str(path))
    ]
    if missing:
        raise BuildError(f"the tree's {missing[0]} is not a file", hint=HINT)
    return boot


def _in_modules(repo: Repo, commit: str) -> list[BootFiles]:
    kernels = []
    for version in repo.listing(commit, MODULES):
        modules = PurePosixPath("/", MODULES, version)
        # a link to another version's directory is not followed; one in it is
        directory = repo.entry(commit, str(modules)).is_directory
        if directory and repo.has_file(commit, f"{modules}/vmlinuz"):
            initramfs = next(
                (modules / name for name in INITRAMFS if repo.has_file(commit, f"{modules}/{name}")), None
            )
            kernels.append(BootFiles(version=version, kernel=modules / "vmlinuz", initramfs=initramfs))
    return kernels


def _in_legacy(repo: Repo, commit: str) -> list[BootFiles]:
    """Return the kernels with a checksum in their names. Raises BuildError when such names do not belong
    together.
    """
    entries = ((directory, repo.find(commit, directory)) for directory in LEGACY)
    directory = next(
        (directory for directory, entry in entries if entry is not None and entry.is_directory), None
    )
    listing = repo.listing(commit, directory) if directory is not None else []
    names = [name for name in map(CHECKSUMMED.fullmatch, listing) if name is not None]
    kernels = [name for name in names if name[1] == "vmlinuz"]
    initramfs = [PurePosixPath(f"/{directory}", name[0]) for name in names if name[1] == "initramfs"]
    if kernels and len(names) > len(kernels) and len({name[3] for name in names}) > 1:
        # libostree takes the first that the directory lists, and refuses them if they differ
        raise BuildError(
            f"the tree's /{directory} has {', '.join(name[0] for name in names)}: kernel and initramfs have"
            " the same checksum in their names, or no host can deploy them",
            hint=HINT,
        )
    # of several for one kernel any would be taken, too: they have the same checksum
    return [
        BootFiles(
            version=name[2] or "",
            kernel=PurePosixPath(f"/{directory}", name[0]),
            initramfs=next(iter(initramfs), None),
        )
        for name in kernels
    ]
