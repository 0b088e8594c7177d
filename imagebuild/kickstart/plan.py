"""A kickstart, parsed by pykickstart, becomes a Plan: what the installed system is to be.

Sizes are bytes unless a name says otherwise; the source is the kickstart documentation of pykickstart.
"""

import difflib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imagebuild import steplog
from imagebuild.architectures.registry import DEFAULT
from imagebuild.config.prepare_root import CHECKED, AskedOfRoot
from imagebuild.kickstart import (
    boot_menu,
    checked_root,
    commands,
    containers,
    handlers,
    password,
    transient_etc,
)
from imagebuild.kickstart import source as language
from imagebuild.kickstart.arrangement import lay_out
from imagebuild.kickstart.layout import MOUNTED, SECTOR, Layout, Partition, Subvolume, Volume
from imagebuild.kickstart.mount_points import TreeFiles
from imagebuild.kickstart.problems import Origin, Problems, located, where_from
from imagebuild.kickstart.reading import Reading
from imagebuild.kickstart.scripts import Script, post_scripts
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kickstart.time_sources import time_sources
from imagebuild.kinds import BootMenu, Firmware

# a mistake in one of these and the layout makes no sense: what it lacks is the mistake's
STORAGE = frozenset(
    {
        *(
            "part",
            "partition",
            "volgroup",
            "logvol",
            "raid",
            "btrfs",
            "mount",
            "snapshot",
            "stratispool",
            "stratisfs",
        ),
        *("autopart", "reqpart", "clearpart", "ignoredisk", "%include", "%ksappend"),
    }
)


@dataclass(frozen=True, kw_only=True)
class User:
    """An account to be made; `password` is a crypt(5) hash, empty for none."""

    name: str
    password: str
    locked: bool
    groups: tuple[str, ...]
    uid: int | None
    gid: int | None
    home: str
    shell: str
    gecos: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the installed system is to be, on a machine of the architecture `arch`."""

    disk_size: int
    table: str
    partitions: tuple[Partition, ...]
    group: str
    volumes: tuple[Volume, ...]
    osname: str
    remote: str
    url: str
    ref: str
    verify: bool
    append: tuple[str, ...]
    timeout: int
    boot_password: str
    firmware: frozenset[Firmware]
    lang: str
    keyboard: str
    timezone: str
    utc: bool
    root_locked: bool
    root_password: str
    users: tuple[User, ...]
    groups: tuple[tuple[str, int | None], ...]
    ssh_keys: tuple[tuple[str, str], ...]
    hostname: str
    dhcp: bool
    selinux: str
    firewall: bool | None
    enabled: tuple[str, ...]
    disabled: tuple[str, ...]
    scripts: tuple[Script, ...]
    seed: str
    epoch: int
    sector_size: int = SECTOR
    subvolumes: tuple[Subvolume, ...] = ()
    # None: what the tree does by itself; empty: the clock is not set from the network
    time_sources: tuple[str, ...] | None = None
    root_by_ssh: bool = False
    # None: the tree decides
    boot_menu: BootMenu | None = None
    arch: str = DEFAULT
    # what the tree asks for (`AskedOfRoot`)
    composefs: str | None = None

    @property
    def verity(self) -> bool:
        """Whether the kernel is to check every file of the tree when it is read (fs-verity)."""
        return self.composefs in CHECKED

    def partition(self, content: str) -> Partition | None:
        """Return the first partition with that content."""
        return next((each for each in self.partitions if each.content == content), None)

    def file_systems(self) -> list[tuple[str, str, str]]:
        """Return (mount point, device name, file system) of what is mounted, parents first. A device name is
        a partition's or a volume's.
        """
        found = [
            (each.mount, each.name, each.content)
            for each in self.partitions
            if each.content in MOUNTED and each.mount
        ]
        found += [(each.mount, each.device, "btrfs") for each in self.subvolumes if each.mount]
        found += [
            (each.mount, each.name, each.fstype)
            for each in self.volumes
            if each.fstype in MOUNTED and each.mount
        ]
        return sorted(found, key=lambda each: (each[0].count("/") if each[0] != "/" else 0, each[0]))

    def made(self) -> dict[str, str]:
        """Return device name -> file system of all that is made before the boot loader: a btrfs is one file
        system, however often it is mounted; swap is there too, the ESP is not.
        """
        mounted = {name: fstype for _, name, fstype in self.file_systems() if fstype != "efi"}
        idle = {each.name: "btrfs" for each in self.partitions if each.content == "btrfs"}
        return mounted | idle | dict.fromkeys(self.swaps(), "swap")

    def subvolume(self, mount: str) -> str:
        """Return the name of the subvolume that is mounted there; empty when it is none."""
        return next((each.name for each in self.subvolumes if each.mount == mount), "")

    def swaps(self) -> list[str]:
        """Return the device names of swap space."""
        partitions = [each.name for each in self.partitions if each.content == "swap"]
        return partitions + [each.name for each in self.volumes if each.fstype == "swap"]

    def label(self, name: str) -> str:
        """Return the label that a partition's or volume's file system is to have."""
        labels = {each.name: each.label for each in self.partitions} | {
            each.name: each.label for each in self.volumes
        }
        return labels[name]

    def root(self) -> tuple[str, str]:
        """Return (device name, file system) of /."""
        return next((name, fstype) for mount, name, fstype in self.file_systems() if mount == "/")

    def is_volume(self, name: str) -> bool:
        """Whether a device name is a volume's."""
        return name in [volume.name for volume in self.volumes]

    def mapped(self, name: str) -> str:
        """Return the device that device-mapper makes of a volume: it doubles a hyphen inside of a name."""
        return f"/dev/mapper/{self.group.replace('-', '--')}-{name.replace('-', '--')}"

    def thin(self) -> bool:
        """Whether there are thin volumes, which only device-mapper can reach."""
        return any(volume.kind != "linear" for volume in self.volumes)

    def uuid(self, role: str) -> str:
        """Return the UUID of a part of the disk: the same for the same commit and role, so that builds can be
        compared.
        """
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"imagebuild:{self.seed}:{role}"))

    def volume_id(self, role: str) -> str:
        """Return a FAT volume id (8 hexadecimal digits) for a role."""
        return self.uuid(role)[:8].upper()


def read(
    text: str,
    syntax: str,
    *,
    disk_size: int,
    firmware: frozenset[Firmware],
    seed: str,
    epoch: int = 0,
    name: str = "kickstart",
    origin: Origin = (),
    refs: Sequence[str] = (),
    signed: bool = False,
    tree: TreeFiles | None = None,
    sector_size: int = SECTOR,
    encrypted: bool = False,
    arch: str = DEFAULT,
) -> Plan:
    """Turn a kickstart into a plan for a disk of `disk_size` bytes with logical blocks of `sector_size`.

    `seed` is what UUIDs are derived from (the commit), `epoch` the time (seconds since 1970) that everything
    made is given; `origin` tells where each line of the text comes from, `refs` (any, when empty) what may be
    installed, `signed` whether that is signed. Mount points are where the links of `tree` lead (None: its
    links are not known; as they are written). `encrypted`: storage may be, as in an installation. Raises
    BadKickstartError with all of: what is not a kickstart, what is not executed or no host can have (with its
    line), sizes that do not fit (with the sums).
    """
    with located(name, origin):
        asked = checked_root.asked_by(tree)
        reading, layout = _understood(
            text,
            syntax,
            disk_size,
            firmware,
            name,
            refs,
            tree,
            asked,
            signed=signed,
            sector_size=sector_size,
            encrypted=encrypted,
        )
    _note(reading, name, origin, asked)
    plan = _plan(reading.handler, layout, disk_size, firmware, seed, epoch)
    return replace(plan, boot_menu=boot_menu.boot_menu(reading), composefs=asked.composefs, arch=arch)


def _plan(
    handler: Any, layout: Layout, disk_size: int, firmware: frozenset[Firmware], seed: str, epoch: int
) -> Plan:
    setup, loader, root = handler.ostreesetup, handler.bootloader, handler.rootpw
    networks = handlers.data(handler, "network")
    return Plan(
        disk_size=disk_size,
        **vars(layout),
        osname=setup.osname,
        remote=setup.remote or setup.osname,
        url=setup.url,
        ref=setup.ref,
        verify=not setup.nogpg,
        append=tuple((loader.appendLine or "").split()),
        timeout=loader.timeout if loader.timeout is not None else 5,
        boot_password=loader.password or "",
        firmware=firmware,
        lang=handler.lang.lang or "C.UTF-8",
        keyboard=handler.keyboard.vc_keymap or handler.keyboard.keyboard or "us",
        timezone=handler.timezone.timezone or "Etc/UTC",
        utc=bool(handler.timezone.isUtc),
        root_locked=bool(root.lock),
        root_password="" if root.lock else _hash(root.password, root.isCrypted, f"{seed} root"),
        users=tuple(_users(handler, seed)),
        groups=tuple((group.name, group.gid) for group in handlers.data(handler, "group")),
        ssh_keys=tuple((key.username, key.key) for key in handlers.data(handler, "sshkey")),
        hostname=next((network.hostname for network in networks if network.hostname), ""),
        dhcp=any(network.bootProto == "dhcp" and bool(network.onboot) for network in networks),
        selinux=_selinux(handler),
        firewall=handler.firewall.enabled if handler.firewall.seen else None,
        enabled=tuple(handler.services.enabled),
        disabled=tuple(handler.services.disabled),
        scripts=tuple(post_scripts(handler)),
        seed=seed,
        epoch=epoch,
        time_sources=time_sources(handler),
        root_by_ssh=bool(getattr(root, "allow_ssh", False)),
    )


def _note(reading: Reading, name: str, origin: Origin, asked: AskedOfRoot) -> None:
    """Say in the step's log what of a kickstart has nothing to do here, or does not last."""
    lost = transient_etc.notes(reading) if asked.transient_etc else ()
    for line, text in (*commands.notes(reading), *lost):
        steplog.note(f"{where_from(name, line, origin)}: {text}")


def _understood(
    text: str,
    syntax: str,
    disk_size: int,
    firmware: frozenset[Firmware],
    name: str,
    refs: Sequence[str],
    tree: TreeFiles | None,
    asked: AskedOfRoot,
    *,
    signed: bool,
    sector_size: int,
    encrypted: bool,
) -> tuple[Reading, Layout]:
    """Return what a kickstart says and its layout. Raises BadKickstartError with everything that is wrong."""
    reading = language.read(text, syntax, name)
    problems = Problems(name)
    problems.extend(reading.problems)
    problems.extend(commands.refused(reading, encrypted=encrypted))
    if refs:
        with problems.gathering():
            language.checks(reading, text, refs, signed=signed, name=name)
    elif (
        not reading.lines_of("ostreesetup") and not language.includes(text) and not containers.lines(reading)
    ):
        problems.add(0, "there is no ostreesetup: nothing to install")
    layout = None
    if not _storage_is_wrong(text, problems):
        with problems.gathering():
            layout = lay_out(reading.handler, disk_size, firmware, name, tree, sector_size=sector_size)
            if "/" not in layout.mounts():
                raise BadKickstartError(f"{name}: nothing is mounted at /")
            checked_root.refuse(reading, layout, asked, problems)
            if asked.transient_etc and tree is not None:
                transient_etc.refuse(reading, layout, tree, problems)
    problems.refuse()
    assert layout is not None, "nothing is wrong, so it was worked out"
    return reading, layout


def _storage_is_wrong(text: str, problems: Problems) -> bool:
    """Whether a problem is about storage, or may be: a command that nobody knows and that looks like one."""
    lines = text.splitlines()
    wrong = {next(iter(lines[line - 1].split()), "") for line in problems.lines() if 0 < line <= len(lines)}
    return any(word in STORAGE or difflib.get_close_matches(word, STORAGE, n=1) for word in wrong)


def _hash(secret: str, hashed: bool, salt: str) -> str:
    return secret if hashed or not secret else password.hashed(secret, salt)


def _users(handler: Any, seed: str) -> Iterator[User]:
    for each in handlers.data(handler, "user"):
        secret = _hash(each.password, each.isCrypted, f"{seed} {each.name}")
        yield User(
            name=each.name,
            password=secret,
            locked=bool(each.lock) or not secret,
            groups=tuple(group for group in each.groups if group),
            uid=each.uid,
            gid=each.gid,
            home=each.homedir or f"/home/{each.name}",
            shell=each.shell or "/bin/bash",
            gecos=each.gecos or "",
        )


def _selinux(handler: Any) -> str:
    # pykickstart.constants: SELINUX_DISABLED 0, ENFORCING 1, PERMISSIVE 2
    return {0: "disabled", 1: "enforcing", 2: "permissive"}.get(handler.selinux.selinux, "")
