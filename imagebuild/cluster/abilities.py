"""What a machine can do, and what it would put into keys: measured there when a worker starts, told to the
head when it joins, and compared with what a step wants.

A step's key holds versions of programs, digests of firmware and the name of the accelerator (`Step.tools`). A
worker takes a step only when it would compute that key itself. How fast a guest runs there changes no
artifact and is not compared.
"""

import contextlib
import functools
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import imagebuild
from imagebuild import files
from imagebuild.architectures.registry import ARCHITECTURES, BUILT, builder_architecture
from imagebuild.config.places import cache_directory, shared_directory
from imagebuild.deploy.ways import WAYS
from imagebuild.engine.store import Store
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.formats.registry import FORMATS
from imagebuild.installers.lorax.about import CHILD, about
from imagebuild.installers.lorax.inputs import ABSENT, DEFAULT_SHAREDIR, paths, tree_digest
from imagebuild.installers.lorax.options import LoraxConfig
from imagebuild.installers.registry import INSTALLERS
from imagebuild.kinds import Firmware
from imagebuild.tools import accelerator, command, emulation
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.elsewhere import Machine
from imagebuild.tools.qemu.registry import FIRMWARES

MIB = 1024 * 1024
# programs whose versions are in keys beside those of formats and installers (wiring/)
PROGRAMS = ("mcopy", "mksquashfs", "openssl", "ostree", "qemu-img", "sfdisk")
# of what a key has, this follows from the configuration and the tree, not from a machine
OF_THE_ORDER = ("bench", "processor", "packages of ")
ROOT, LORAX, KVM = "root", "lorax", "kvm"
# in a directory of finished artifacts: which one it is, wherever it is mounted
MARK = "directory-id"


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a worker states of its machine. `memory` is in MiB, `shares` where it puts what it makes
    (`place_of`). `can`: arch-ARCH, root, kvm, lorax,
    populate-WAY. `keys`: name of what is in keys -> the values that it has here, none when it is missing.
    """

    name: str
    version: str
    source: str
    python: str
    cores: int
    memory: int
    shares: str
    can: tuple[str, ...]
    keys: Mapping[str, tuple[str, ...]]
    guests: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """All of it that decides what it makes, as 12 hexadecimal digits."""
        told = [self.source, self.python, sorted((name, list(values)) for name, values in self.keys.items())]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]

    @property
    def accelerator(self) -> Accelerator | None:
        """How guests run there; None when they cannot."""
        return Accelerator(**self.guests) if self.guests else None

    @property
    def machine(self) -> Machine:
        """It as the machine that keys are made for."""
        ways = tuple(way for way in WAYS if f"populate-{way}" in self.can)
        return Machine(name=self.name, values=self.keys, ways=ways, can=self.can, guests=self.guests)

    def as_json(self) -> dict[str, Any]:
        """Return it as dask carries it."""
        return asdict(self)


def read_abilities(told: object) -> Abilities | None:
    """Return what a worker has told; None for what no imagebuild of this kind tells."""
    try:
        return _ADAPTER.validate_python(told)
    except ValueError:
        return None


_ADAPTER = TypeAdapter(Abilities)


@functools.cache
def source_of_imagebuild() -> str:
    """Return a digest of this imagebuild: every module, template and kickstart of it, as 16 hexadecimal
    digits.
    """
    package = Path(imagebuild.__file__).parent
    roots = {"package": package, **{name: shared_directory(name) for name in ("templates", "kickstarts")}}
    lines = [
        f"{name}/{file.relative_to(root)} {hashlib.sha256(file.read_bytes()).hexdigest()}"
        for name, root in roots.items()
        for file in sorted(root.rglob("*"))
        if file.is_file() and file.suffix != ".pyc" and "share" not in file.relative_to(root).parts[:1]
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def own_version() -> str:
    """Return the version of this imagebuild."""
    return metadata.version("imagebuild")


def python_version() -> str:
    """Return what must be alike for objects to travel: CPython's minor version."""
    return ".".join(map(str, sys.version_info[:2]))


def place_of(store: Store) -> str:
    """Return where others find what is put into a store: its remote's address, or its directory with the
    mark in it: on another machine, another one may lie at the same path.
    """
    remote = getattr(store, "remote", None)
    if remote is not None:
        return str(remote.url)
    with contextlib.suppress(FileExistsError):
        files.create(store.root / MARK, secrets.token_hex(4) + "\n")
    return f"{store.root} ({(store.root / MARK).read_text().strip()})"


def measure(name: str, cores: int, memory: int, store: Store) -> Abilities:
    """Return what this machine can do, `memory` in MiB. Programs are asked for their versions, and a small
    guest is run when that was not done this week.
    """
    guests = _guests()
    return Abilities(
        name=name,
        version=own_version(),
        source=source_of_imagebuild(),
        python=python_version(),
        cores=cores,
        memory=memory,
        shares=place_of(store),
        can=tuple(_can(guests)),
        keys={**_programs(), **_of_guests(guests), **_lorax()},
        guests=asdict(guests) if guests is not None else {},
    )


def _guests() -> Accelerator | None:
    try:
        return accelerator.probe(cache_directory())
    except BuildError:
        return None


def _can(guests: Accelerator | None) -> Iterable[str]:
    # its own, and those whose programs an emulator runs here
    for name in dict.fromkeys((builder_architecture(), *ARCHITECTURES)):
        if emulation.reason_not_to_run(name) is None:
            yield f"arch-{name}"
    if os.geteuid() == 0:
        yield ROOT
        if not about(LoraxConfig()).error:
            yield LORAX
    if guests is not None and guests.name == "kvm":
        yield KVM
    for name, way in WAYS.items():
        if not way.unavailable():
            yield f"populate-{name}"


def _programs() -> dict[str, tuple[str, ...]]:
    names = {*PROGRAMS, *(tool for record in FORMATS.values() for tool in record.tools)}
    names |= {tool for record in INSTALLERS.values() for tool in record.tools}
    names |= {one.guest.program for one in BUILT.values() if one.guest is not None}
    return {name: _version(name) for name in sorted(names)}


def _version(program: str) -> tuple[str, ...]:
    try:
        return (command.version(program),)
    except (MissingToolError, OSError):
        return ()


def _of_guests(guests: Accelerator | None) -> dict[str, tuple[str, ...]]:
    """Return what keys have of guests, of each architecture that is built."""
    machines = [(name, one.guest) for name, one in BUILT.items() if one.guest is not None]
    return {
        **{f"firmware {name} {arch}": _firmware(name, arch) for arch, _ in machines for name in Firmware},
        "qemu": tuple(version for _, guest in machines for version in _version(guest.program)),
        "accelerator": (
            tuple(dict.fromkeys(guests.of(arch).name for arch, _ in machines)) if guests is not None else ()
        ),
        "cpu": tuple(json.dumps(guest.processors) for _, guest in machines),
        "ovmf": tuple(
            digest for arch, _ in machines for name in Firmware for digest in _firmware(name, arch)
        ),
        "uefi-secure": tuple(
            digest for arch, _ in machines for digest in _firmware(Firmware.UEFI_SECURE, arch) or ("none",)
        ),
        "virt-firmware": (metadata.version("virt-firmware"),),
    }


def _firmware(name: Firmware, arch: str) -> tuple[str, ...]:
    try:
        return (FIRMWARES[name].digest(arch),)
    except (MissingToolError, BuildError, OSError):
        return ()


def _lorax() -> dict[str, tuple[str, ...]]:
    """Return what keys have of lorax, as installers/lorax/inputs.py names it, where nothing is configured."""
    options = LoraxConfig()
    found, shared, configured = about(options), Path(DEFAULT_SHAREDIR), Path(options.conf_file)
    own = shared_directory("templates").resolve()
    before, after = paths(options)
    return {
        "lorax": () if found.error else (f"{found.version or 'unknown'} ({found.path})",),
        CHILD.name: (files.sha256(CHILD),),
        f"templates {shared}": (tree_digest(shared),),
        f"configuration {configured}": (files.sha256(configured) if configured.exists() else ABSENT,),
        **{
            f"template {file.relative_to(own / 'lorax')}": (files.sha256(file),) for file in (*before, *after)
        },
    }
