"""What this build host can do, line by line, each with what mends it."""

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuild.config.places import cache_directory
from imagebuild.config.tree import TreeConfig
from imagebuild.deploy.ways import WAYS
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.installers.registry import INSTALLERS, choose
from imagebuild.kinds import Firmware
from imagebuild.release_line.model import Config
from imagebuild.tools import accelerator, command, gpg, guestfs
from imagebuild.tools.access import access_to
from imagebuild.tools.qemu.registry import FIRMWARES

GIB = 1024**3
QUICK_QEMU = 10
# what one build of a release line takes: store, cache and guests (measured on the demo: 12 GiB; twice that is
# comfortable)
WANTED_SPACE = 25 * GIB
# one guest of 2 GiB, compression, the appliance
WANTED_MEMORY = 6 * GIB
PROGRAMS = (
    "qemu-system-x86_64",
    "qemu-img",
    "ostree",
    "gpg",
    "xorriso",
    "mksquashfs",
    "sfdisk",
    "mcopy",
    "xz",
    "zstd",
    "ssh",
    "busybox",
    "implantisomd5",
    "sqfs2tar",
)
OPTIONAL = ("mmdebstrap", "rpm-ostree", "rsync", "rpm", "createrepo_c", "rpmbuild", "openssl", "vagrant")
MODULES = {"gi": ("python3-gi gir1.2-ostree-1.0", "python3-gobject ostree-libs")}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: what was looked at, how it is, what mends it (empty when nothing needs to). `needed`: without
    it nothing is built.
    """

    what: str
    says: str
    fix: str = ""
    needed: bool = True

    @property
    def good(self) -> bool:
        """Whether nothing needs mending."""
        return not self.fix


def examine(config: Config | None, store: Path) -> Iterator[Finding]:
    """Look at everything; slow things (the accelerator) are remembered."""
    yield _accelerator()
    if command.find(accelerator.QEMU) is not None:
        yield _emulator()
    for firmware in Firmware:
        yield _firmware(firmware)
    yield from _ways()
    for program in PROGRAMS:
        yield _program(program, needed=True)
    for program in OPTIONAL:
        yield _program(program, needed=False)
    for module, (debian, fedora) in MODULES.items():
        there = importlib.util.find_spec(module) is not None
        yield Finding(
            what=f"Python module {module}",
            says="there" if there else "missing",
            fix="" if there else f"apt-get install {debian}, or dnf install {fedora}",
        )
    yield _space(store)
    yield _memory()
    if config is not None:
        try:
            yield from release_line(config)
        except MissingToolError as error:
            # what a release line needs is asked by programs that may be missing themselves
            yield Finding(what="the release line", says=error.message, fix=error.hint)


def _accelerator() -> Finding:
    try:
        found = accelerator.probe(cache_directory())
    except BuildError as error:
        return Finding(what="accelerator", says=error.message, fix=error.hint or "install QEMU")
    says = f"{found.name}, {found.slowness:.1f} times slower than native ({found.reason})"
    # emulation works: it only takes longer
    return Finding(
        what="accelerator",
        says=says,
        fix="" if found.name == "kvm" else "a host with a working /dev/kvm is that much faster",
        needed=False,
    )


def _emulator() -> Finding:
    """Say what an older QEMU costs where guests are emulated: 10.0 is the first whose string operations are
    quick (its release notes).
    """
    said = command.version(accelerator.QEMU)
    found = re.match(r"(\d+)\.", said)
    old = found is not None and int(found[1]) < QUICK_QEMU
    fix = "Debian 12: qemu-system-x86 from bookworm-backports (.ci/bootstrap does it)" if old else ""
    return Finding(
        what="emulator",
        says=f"{said}; emulated guests cost about 1.3 times what they cost with QEMU 10" if old else said,
        fix=fix,
        needed=False,
    )


def _firmware(firmware: Firmware) -> Finding:
    try:
        digest = FIRMWARES[firmware].digest()
    except (BuildError, OSError) as error:
        return Finding(
            what=f"firmware {firmware}",
            says=str(error),
            fix="apt-get install ovmf seabios, or dnf install edk2-ovmf seabios-bin",
        )
    return Finding(
        what=f"firmware {firmware}",
        says=f"there ({digest[:12]})" if firmware is Firmware.UEFI else "SeaBIOS comes with QEMU",
    )


def _ways() -> Iterator[Finding]:
    reasons = {name: way.unavailable() for name, way in WAYS.items()}
    works = [name for name, reason in reasons.items() if not reason]
    for name, reason in reasons.items():
        fix = "" if not reason or works else guestfs.HINT
        yield Finding(what=f"populating disks: {name}", says=reason or "works", fix=fix, needed=not works)
    reason = guestfs.missing()
    yield Finding(
        what="appliance (libguestfs)",
        says=reason or "can be tried",
        fix=guestfs.HINT if reason else "",
        needed=False,
    )


def _program(name: str, *, needed: bool) -> Finding:
    if command.find(name) is not None:
        return Finding(what=name, says=command.version(name), needed=needed)
    debian, fedora = command.PACKAGES.get(name, ("", ""))
    known = [f"apt-get install {debian}" if debian else "", f"dnf install {fedora}" if fedora else ""]
    return Finding(
        what=name,
        says="not installed",
        fix=", or ".join(filter(None, known)) or f"install {name}",
        needed=needed,
    )


def _space(store: Path) -> Finding:
    place = next(each for each in (store.absolute(), *store.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free
    says = f"{free / GIB:.1f} GiB free in {place}"
    return Finding(
        what="space",
        says=says,
        fix=(
            ""
            if free >= WANTED_SPACE
            else f"imagebuild prune, or --store on a file system with {WANTED_SPACE // GIB} GiB"
        ),
    )


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    says = f"{total / GIB:.1f} GiB, {os.cpu_count()} processors"
    return Finding(
        what="memory",
        says=says,
        fix=(
            ""
            if total >= WANTED_MEMORY
            else f"{WANTED_MEMORY // GIB} GiB are needed for a guest and what runs beside it"
        ),
    )


def release_line(config: Config) -> Iterator[Finding]:
    """Look at what one release line needs: its installer, its keys."""
    if config.installer is not None:
        try:
            backend, why = choose(config.installer, config.product, config.release)
            yield Finding(what="installer ISO", says=f"{backend} ({why})")
        except BuildError as error:
            yield Finding(what="installer ISO", says=error.message, fix=error.hint or "see installer.backend")
        reason = INSTALLERS["lorax"].unavailable(config.installer, config.product, config.release)
        yield Finding(
            what="lorax",
            says=reason or "works",
            fix=_lorax_fix(reason),
            needed=False,
        )
    for key in config.tree.gpg_keys:
        there = Path(key).is_file()
        yield Finding(
            what=f"key of commits {key}",
            says="there" if there else "missing",
            fix="" if there else "check tree.gpg_keys; for the demo, imagebuild compose makes it",
        )
    if config.tree.tls is not None:
        yield _tls(config.tree)
    yield _signing(config)


def _lorax_fix(reason: str) -> str:
    if "is not that of" in reason:
        return (
            "run the release's own lorax in a container of it, or give its templates as"
            " installer.lorax.sharedir"
        )
    if "does not work" in reason:
        return (
            "install what it lacks (dnf reinstall lorax); installer.lorax.python and python_path say which"
            " one is meant"
        )
    return "dnf install lorax (Fedora), and installer.lorax.sources" if reason else ""


def _tls(tree: TreeConfig) -> Finding:
    try:
        access_to(tree).check()
    except BuildError as error:
        return Finding(what="TLS files of tree.url", says=error.message, fix=error.hint)
    return Finding(what="TLS files of tree.url", says="usable")


def _signing(config: Config) -> Finding:
    signing = config.publish.signing
    if signing is None:
        return Finding(
            what="signing key", says="not configured", fix="publish: {signing: {user: FINGERPRINT}}"
        )
    if signing.generate and signing.homedir is not None and not Path(signing.homedir).is_dir():
        return Finding(what="signing key", says=f"will be made for {signing.user} (a demonstration)")
    try:
        places = {
            "homedir": Path(signing.homedir) if signing.homedir else None,
            "key_file": Path(signing.key_file) if signing.key_file else None,
        }
        with gpg.signer(signing.user, **places, generate=False) as signer:
            return Finding(what="signing key", says=signer.fingerprint)
    except BuildError as error:
        return Finding(what="signing key", says=error.message, fix=error.hint or "gpg --import it")
