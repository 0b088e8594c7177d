"""What this machine can do, line by line, each with what to do about it."""

import contextlib
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from imagebuild.architectures.registry import DEFAULT, builder_architecture, guest_of
from imagebuild.composers.registry import COMPOSERS
from imagebuild.config.places import cache_directory
from imagebuild.config.tree import TreeConfig
from imagebuild.deploy.ways import WAYS
from imagebuild.destinations.registry import DESTINATIONS
from imagebuild.engine.remote import Remote
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.formats.format import Format
from imagebuild.formats.registry import FORMATS
from imagebuild.installers.installer import Installer
from imagebuild.installers.registry import INSTALLERS, choose
from imagebuild.kinds import Firmware
from imagebuild.release_line.model import Config
from imagebuild.session import signed_trees
from imagebuild.tools import accelerator, command, emulation, gpg, guestfs
from imagebuild.tools.access import access_to
from imagebuild.tools.qemu.registry import FIRMWARES

GIB = 1024**3
QUICK_QEMU = 10
# what one build of a release line takes: store, cache and guests (measured on the demo: 12 GiB; twice that is
# comfortable)
WANTED_SPACE = 25 * GIB
# one guest of 2 GiB, compression, the appliance
WANTED_MEMORY = 6 * GIB
# what every build runs, whatever it makes; what some commands run, or only tests
ALWAYS = ("qemu-img", "ostree", "gpg", "sfdisk", "mcopy", "ssh")
SOMETIMES = ("rpm", "createrepo_c", "rpmbuild", "openssl", "vagrant")
MODULES = {"gi": ("python3-gi gir1.2-ostree-1.0", "python3-gobject ostree-libs")}


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One line: what was looked at, how it is, what to do about it (empty: nothing). `needed`: without it
    nothing is built.
    """

    what: str
    says: str
    fix: str = ""
    needed: bool = True

    @property
    def good(self) -> bool:
        """Whether nothing need be done."""
        return not self.fix


def examine(config: Config | None, store: Path, store_remote: str | None = None) -> Iterator[Diagnosis]:
    """Look at everything; slow things (the accelerator) are remembered."""
    yield _accelerator()
    arch = config.arch if config is not None else DEFAULT
    guest = guest_of(arch)
    if command.find(guest.program) is not None:
        yield _emulator(guest.program)
    for firmware in guest.firmware:
        yield _firmware(firmware, arch)
    if arch != builder_architecture():
        yield _foreign(arch)
    yield from _ways()
    for program, needed in _programs(config).items():
        yield _program(program, needed=needed)
    for module, (debian, fedora) in MODULES.items():
        there = importlib.util.find_spec(module) is not None
        yield Diagnosis(
            what=f"Python module {module}",
            says="there" if there else "missing",
            fix="" if there else f"apt-get install {debian}, or dnf install {fedora}",
        )
    yield _space(store)
    yield _memory()
    if store_remote is not None:
        yield _remote(store_remote)
    if config is not None:
        try:
            yield from release_line(config)
        except MissingToolError as error:
            # what a release line needs is asked by programs that may be missing themselves
            yield Diagnosis(what="the release line", says=error.message, fix=error.hint)


def _accelerator() -> Diagnosis:
    try:
        found = accelerator.probe(cache_directory())
    except BuildError as error:
        return Diagnosis(what="accelerator", says=error.message, fix=error.hint or "install QEMU")
    says = f"{found.name}, {found.slowness:.1f} times slower than native ({found.reason})"
    # emulation works: it only takes longer
    return Diagnosis(
        what="accelerator",
        says=says,
        fix="" if found.name == "kvm" else "a host with a working /dev/kvm is that much faster",
        needed=False,
    )


def _emulator(program: str) -> Diagnosis:
    """Say what an older QEMU costs where guests are emulated: 10.0 is the first whose string operations are
    quick (its release notes).
    """
    said = command.version(program)
    found = re.match(r"(\d+)\.", said)
    old = found is not None and int(found[1]) < QUICK_QEMU
    package = command.PACKAGES[program][0]
    fix = f"Debian 12: {package} from bookworm-backports (.ci/bootstrap does it)" if old else ""
    return Diagnosis(
        what="emulator",
        says=f"{said}; emulated guests cost about 1.3 times what they cost with QEMU 10" if old else said,
        fix=fix,
        needed=False,
    )


def _firmware(firmware: Firmware, arch: str) -> Diagnosis:
    try:
        digest = FIRMWARES[firmware].digest(arch)
    except (BuildError, OSError) as error:
        return Diagnosis(
            what=f"firmware {firmware}",
            says=str(error),
            fix=guest_of(arch).firmware[firmware].package or "install QEMU",
        )
    return Diagnosis(
        what=f"firmware {firmware}",
        says=f"there ({digest[:12]})" if firmware.is_uefi else "SeaBIOS comes with QEMU",
    )


def _foreign(arch: str) -> Diagnosis:
    """Say whether disks of another architecture can be made here."""
    reason = emulation.reason_not_to_run(arch)
    return Diagnosis(
        what=f"programs for {arch}",
        says=reason or "run through an emulator that is registered",
        fix=emulation.HINT if reason is not None else "",
    )


def _ways() -> Iterator[Diagnosis]:
    reasons = {name: way.unavailable() for name, way in WAYS.items()}
    works = [name for name, reason in reasons.items() if not reason]
    for name, reason in reasons.items():
        fix = "" if not reason or works else guestfs.HINT
        yield Diagnosis(what=f"populating disks: {name}", says=reason or "works", fix=fix, needed=not works)
    appliance = guestfs.missing()
    yield Diagnosis(
        what="appliance (libguestfs)",
        says=appliance or "can be tried",
        fix=guestfs.HINT if appliance else "",
        needed=False,
    )


def _programs(config: Config | None) -> dict[str, bool]:
    """Return the programs, and whether nothing is built without them: those that the formats and the backend
    of a release line name in their records; without a line those of all.
    """
    builders: list[Format | Installer] = [*FORMATS.values(), *INSTALLERS.values()]
    used = builders if config is None else _used_by(config)
    guests = guest_of(config.arch if config is not None else DEFAULT).program
    needed = (guests, *ALWAYS, *chain.from_iterable(record.tools for record in used))
    others = (*builders, *COMPOSERS.values(), *DESTINATIONS.values())
    listed = (*needed, *chain.from_iterable(record.tools for record in others), *SOMETIMES)
    return {name: name in needed for name in listed}


def _used_by(config: Config) -> list[Format | Installer]:
    names = {name for image in config.images.values() for name in image.formats}
    used: list[Format | Installer] = [FORMATS[name] for name in FORMATS if name in names]
    if config.installer is not None:
        # one that cannot be used is told of with the release line
        with contextlib.suppress(BuildError):
            used.append(INSTALLERS[choose(config.installer, config.product, config.release)[0]])
    return used


def _program(name: str, *, needed: bool) -> Diagnosis:
    if command.find(name) is not None:
        return Diagnosis(what=name, says=command.version(name), needed=needed)
    debian, fedora = command.PACKAGES.get(name, ("", ""))
    packages = [f"apt-get install {debian}" if debian else "", f"dnf install {fedora}" if fedora else ""]
    return Diagnosis(
        what=name,
        says="not installed",
        fix=", or ".join(filter(None, packages)) or f"install {name}",
        needed=needed,
    )


def _space(store: Path) -> Diagnosis:
    directory = next(path for path in (store.absolute(), *store.absolute().parents) if path.exists())
    free = shutil.disk_usage(directory).free
    says = f"{free / GIB:.1f} GiB free in {directory}"
    return Diagnosis(
        what="space",
        says=says,
        fix=(
            ""
            if free >= WANTED_SPACE
            else f"imagebuild prune, or --store on a file system with {WANTED_SPACE // GIB} GiB"
        ),
    )


def _memory() -> Diagnosis:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    says = f"{total / GIB:.1f} GiB, {os.cpu_count()} processors"
    return Diagnosis(
        what="memory",
        says=says,
        fix=(
            ""
            if total >= WANTED_MEMORY
            else f"{WANTED_MEMORY // GIB} GiB are needed for a guest and what runs beside it"
        ),
    )


def _remote(url: str) -> Diagnosis:
    """Say whether a remote store works, and whether the first writer wins there, by asking it."""
    try:
        wrong = Remote(url).creates()
    except BuildError as error:
        return Diagnosis(what="remote store", says=error.message, fix=error.hint or "check its address")
    if wrong is None:
        return Diagnosis(what="remote store", says=f"{url} works, and has conditional writes")
    # what was written is read back: only of two who write in the same moment the first may lose
    return Diagnosis(
        what="remote store",
        says=f"{url} works, but {wrong}: of two machines that finish the same step at once both may win",
        fix="use a service that honours If-None-Match (Amazon S3, and others that follow it)",
        needed=False,
    )


def release_line(config: Config) -> Iterator[Diagnosis]:
    """Look at what one release line needs: its installer, its keys."""
    if config.installer is not None:
        try:
            backend, why = choose(config.installer, config.product, config.release)
            yield Diagnosis(what="installer ISO", says=f"{backend} ({why})")
        except BuildError as error:
            yield Diagnosis(
                what="installer ISO", says=error.message, fix=error.hint or "see installer.backend"
            )
        for name, record in INSTALLERS.items():
            reason = record.unavailable(config.installer, config.product, config.release)
            fix = record.advice(reason) if reason is not None else ""
            yield Diagnosis(what=f"installer backend {name}", says=reason or "works", fix=fix, needed=False)
    for ref, says, fix in signed_trees.look(config):
        # without it everything works as it did, but on machines with Secure Boot
        yield Diagnosis(what=f"Secure Boot of {ref}", says=says, fix=fix, needed=False)
    for key in config.tree.gpg_keys:
        there = Path(key).is_file()
        yield Diagnosis(
            what=f"key of commits {key}",
            says="there" if there else "missing",
            fix="" if there else "check tree.gpg_keys; for the demo, imagebuild compose makes it",
        )
    if config.tree.tls is not None:
        yield _tls(config.tree)
    yield _signing(config)


def _tls(tree: TreeConfig) -> Diagnosis:
    try:
        access_to(tree).check()
    except BuildError as error:
        return Diagnosis(what="TLS files of tree.url", says=error.message, fix=error.hint)
    return Diagnosis(what="TLS files of tree.url", says="usable")


def _signing(config: Config) -> Diagnosis:
    signing = config.publish.signing
    if signing is None:
        return Diagnosis(
            what="signing key", says="not configured", fix="publish: {signing: {user: FINGERPRINT}}"
        )
    if signing.generate and signing.homedir is not None and not Path(signing.homedir).is_dir():
        return Diagnosis(what="signing key", says=f"will be made for {signing.user} (a demonstration)")
    try:
        places = {
            "homedir": Path(signing.homedir) if signing.homedir else None,
            "key_file": Path(signing.key_file) if signing.key_file else None,
        }
        with gpg.signer(signing.user, **places, generate=False) as signer:
            return Diagnosis(what="signing key", says=signer.fingerprint)
    except BuildError as error:
        return Diagnosis(what="signing key", says=error.message, fix=error.hint or "gpg --import it")
