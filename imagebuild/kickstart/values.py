"""Values of a kickstart that no host can have: names, places, modes of the network and of log-ins."""

import re

from pykickstart.constants import DISPLAY_MODE_TEXT

from imagebuild.kickstart.handlers import data
from imagebuild.kickstart.problems import Problems
from imagebuild.kickstart.reading import Command, Reading

# what every tree does by itself, in the words of authconfig(8): two of them mean the same
SHADOW = {
    "--enableshadow": "--useshadow",
    "--useshadow": "--useshadow",
    "--passalgo=sha512": "--passalgo=sha512",
}
AUTHENTICATION = frozenset(SHADOW.values())
# hostname(7); locale(7); zoneinfo's names; useradd(8), the characters of shadow's `is_valid_name` and Samba's
# `$`
HOSTNAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62}))*\.?")
LOCALE = re.compile(r"[A-Za-z0-9_.@-]+")
KEYMAP = re.compile(r"[A-Za-z0-9_.@+-]+")
ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]+")  # systemd.unit(5), "Unit names"
ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")
# xfsprogs 6.1, libxfs/xfs_format.h, XFSLABEL_MAX; e2fsprogs 1.47, lib/ext2fs/ext2_fs.h, EXT2_LABEL_LEN; util-
# linux 2.38, swapheader.h
# and Linux 6.1, include/uapi/linux/btrfs.h, BTRFS_LABEL_SIZE
LABEL_BYTES = {"xfs": 12, "ext4": 16, "swap": 16, "btrfs": 255}


def refuse_mode(reading: Reading, problems: Problems) -> None:
    """Refuse the modes that hide a failure of %post."""
    mode = reading.handler.displaymode
    if mode.seen and mode.displayMode != DISPLAY_MODE_TEXT:
        problems.add(mode.lineno, "use `text`: in the other modes a failing %post goes unnoticed")


def refuse_network(reading: Reading, problems: Problems) -> None:
    """Refuse what of a network is not set up."""
    named = ""
    for network in data(reading.handler, "network"):
        if network.device not in (None, "", "link") or network.bootProto not in ("", "dhcp"):
            problems.add(
                network.lineno, "network: only --bootproto=dhcp on --device=link is executed by imagebuild"
            )
        if network.hostname and not HOSTNAME.fullmatch(network.hostname):
            problems.add(network.lineno, f"network: --hostname={network.hostname} is not a host name")
        if named and network.hostname not in (None, "", named):
            problems.add(network.lineno, f"network: --hostname={network.hostname}, but it is {named} already")
        named = named or network.hostname or ""


def refuse_authentication(reading: Reading, problems: Problems) -> None:
    """Refuse ways of authentication that differ from every tree's."""
    for written in reading.commands:
        if written.name in ("auth", "authconfig", "authselect") and not _is_usual(written):
            text = "`authselect` is not executed by imagebuild" if written.name == "authselect" else (
                f"{written.name}: only --useshadow --passalgo=sha512, every tree's own, is executed"
            )  # fmt: skip
            problems.add(written.line, text)


def _is_usual(written: Command) -> bool:
    """Whether authentication is to be what it is anyway. `--passalgo sha512` is `--passalgo=sha512`."""
    words = re.sub(r"(--passalgo)\s+", r"\1=", " ".join(written.words[1:])).split()
    return {SHADOW.get(word, word) for word in words} <= AUTHENTICATION


def refuse_loader(reading: Reading, problems: Problems) -> None:
    """Refuse what of a boot loader is not set up."""
    loader = reading.handler.bootloader
    if not loader.seen or loader.lineno in reading.problems.lines():
        return  # of a line that could not be read only the defaults are there

    def line(option: str) -> int:
        return reading.set_at.get((id(loader), option), int(loader.lineno))

    if loader.location not in ("", None, "mbr", "boot"):
        problems.add(
            line("location"), f"bootloader --location={loader.location} is not executed by imagebuild"
        )
    if loader.password and not loader.isCrypted:
        problems.add(
            line("password"),
            "bootloader: only --iscrypted passwords are executed",
            "grub-mkpasswd-pbkdf2 makes one",
        )


def refuse_names(reading: Reading, problems: Problems) -> None:
    """Refuse what the installed system could make nothing of: locale, time zone, key map, names of
    accounts.
    """
    handler = reading.handler
    for command, value, pattern, what in (
        (handler.lang, handler.lang.lang, LOCALE, "locale"),
        (handler.timezone, handler.timezone.timezone, ZONE, "time zone"),
        (handler.keyboard, handler.keyboard.vc_keymap or handler.keyboard.keyboard, KEYMAP, "key map"),
    ):
        # where a line could not be read, pykickstart may have left a list of words
        if command.seen and isinstance(value, str) and value and not pattern.fullmatch(value):
            problems.add(command.lineno, f"{command.currentCmd}: {value} is not a {what}")
    for service in (*handler.services.enabled, *handler.services.disabled):
        if not UNIT.fullmatch(service):
            problems.add(
                handler.services.lineno,
                f"services: {service} is not a name of a unit",
                "put commas between names, and no blanks",
            )
    for kind, names in (
        (
            "user",
            [(user.lineno, name) for user in data(handler, "user") for name in (user.name, *user.groups)],
        ),
        ("group", [(group.lineno, group.name) for group in data(handler, "group")]),
        ("sshkey", [(key.lineno, key.username) for key in data(handler, "sshkey")]),
    ):
        for number, name in names:
            if name and not ACCOUNT.fullmatch(name):
                problems.add(number, f"{kind}: {name} is not a name of a user or group")


def refuse_labels(reading: Reading, problems: Problems) -> None:
    """Refuse labels of what gets none (an ESP, a BIOS boot partition, a physical volume, a thin pool), and
    those that would be cut off.
    """
    for part in data(reading.handler, "part"):
        if part.label and (
            part.mountpoint.startswith(("pv.", "btrfs."))
            or {part.fstype, part.mountpoint} & {"efi", "biosboot"}
        ):
            problems.add(
                part.lineno,
                f"part {part.mountpoint}: --label is only executed for ext4, xfs and swap"
                " (a btrfs volume's stands at `btrfs`)",
            )
    for volume in data(reading.handler, "logvol"):
        if volume.label and volume.thin_pool:
            problems.add(
                volume.lineno, f"logvol {volume.name}: --label is only executed for ext4, xfs and swap"
            )
    for given in [each for name in ("part", "logvol", "btrfs") for each in data(reading.handler, name)]:
        fstype = getattr(given, "fstype", "btrfs") or ("swap" if given.mountpoint == "swap" else "xfs")
        room = LABEL_BYTES.get(fstype, 16)
        if len((given.label or "").encode()) > room:
            problems.add(
                given.lineno,
                f"{given.mountpoint}: --label={given.label} is too long: its file system has room for {room}"
                " bytes",
            )
