"""What becomes of every command of a kickstart: it is executed, refused with its line, or noted as having
nothing to do here.

Command by command, option by option, and value by value: what is in none of these tables is refused. The
names are pykickstart's attributes (pykickstart 3.78, commands/*.py); versions differ in what they have, so
that only what a version has is looked at.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pykickstart.base import RemovedCommand
from pykickstart.constants import FIRSTBOOT_SKIP, KS_SCRIPT_ONERROR, KS_SCRIPT_POST, KS_SCRIPT_PRE

from imagebuild.kickstart import boot_menu, containers, disk_names, encryption, time_sources
from imagebuild.kickstart.handlers import data, seen, without_effect
from imagebuild.kickstart.problems import Problems
from imagebuild.kickstart.reading import Reading
from imagebuild.kickstart.values import (
    refuse_authentication,
    refuse_labels,
    refuse_loader,
    refuse_mode,
    refuse_names,
    refuse_network,
)

# what pykickstart makes of them is judged in encryption.py
LUKS = "encrypted passphrase luks_version pbkdf pbkdf_memory pbkdf_time pbkdf_iterations cipher"
# command -> options of it that are executed; anything else that is set is refused
COMMANDS: Mapping[str, frozenset[str]] = {
    name: frozenset(options.split())
    for name, options in {
        "text": "displayMode",
        "lang": "lang",
        "keyboard": "keyboard _keyboard vc_keymap kbd",
        "timezone": "timezone isUtc nontp ntpservers",
        "timesource": "ntp_server ntp_pool ntp_disable",
        "rootpw": "lock password isCrypted allow_ssh",
        "firewall": "enabled",
        "zerombr": "zerombr",
        "auth": "authconfig",
        "authselect": "authselect",
        "selinux": "selinux",
        "services": "enabled disabled",
        "ignoredisk": "onlyuse",
        "bootloader": "appendLine timeout location password isCrypted bootDrive driveorder",
        "clearpart": "type initAll disklabel drives",
        "reqpart": "reqpart addBoot",
        "autopart": f"autopart type typeMap lvm fstype nohome noboot noswap {LUKS}",
        "ostreesetup": "osname remote url ref nogpg",
        "reboot": "action",
        "network": "bootProto device activate onboot hostname",
        "part": f"fstype size grow maxSizeMB label mountpoint disk primOnly {LUKS}",
        "btrfs": "mountpoint devices label subvol name parent",
        "volgroup": "vgname name physvols",
        "logvol": (
            "fstype size grow name vgname mountpoint label percent maxSizeMB thin_pool thin_volume pool_name"
        ),
        "user": "name password isCrypted lock groups uid gid homedir shell gecos",
        "group": "name gid",
        "sshkey": "username key sshkey",
    }.items()
}
# values of other options that say what is done anyway: Anaconda writes them into its own anaconda-ks.cfg.
# pesize: KiB, layout.EXTENT
USUAL: Mapping[tuple[str, str], tuple[object, ...]] = {
    ("network", "ipv6"): ("auto",),
    ("volgroup", "pesize"): (4096,),
    ("btrfs", "dataLevel"): ("single",),
}
# commands that ask for nothing that an installation of a tree would do or leave
NOTED: Mapping[str, str] = {
    "install": "a tree is installed, nothing is upgraded",
    "cdrom": "the source is that of ostreesetup",
    "skipx": "the tree's own default target counts",
    "eula": "nobody is asked to agree to anything",
    "mediacheck": "the installer ISO checks its medium by its boot entry",
    "logging": "the log is the step's own",
    "firstboot": "no setup agent is switched on",
}
# options of executed commands that only mean something to Anaconda on a machine
NOTED_OPTIONS: Mapping[tuple[str, str], str] = {
    ("reboot", "eject"): "no medium is ejected",
    ("text", "nonInteractive"): "an image asks nobody",
}
BOOKKEEPING = frozenset(
    {
        *(
            "lineno",
            "seen",
            "op",
            "handler",
            "currentCmd",
            "currentLine",
            "writePriority",
            "preceededInclude",
        ),
        *("_name", "name_", "mntpoint", "partitions", "errorStr"),
    }
)
# libostree, ostree-core.c: OSTREE_REF_REGEXP; RFC 3986, without what would have to be encoded
REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
# libostree, ostree-core.c: OSTREE_REMOTE_NAME_REGEXP; a stateroot's name is part of a kernel argument
REMOTE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
STATEROOT = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*")
# what a word processor or a web page makes of quotes: they would be part of the value
CURLED = re.compile("(?:^|=)[\u2018\u2019\u201c\u201d]")
URL = re.compile(r"(file|https?):[^\s$<>{}\"`\\]+")
LABELS = ("", None, "gpt", "msdos")
MAY_BE_EMPTY = frozenset({"--append", "--gecos", "--label"})


def refused(reading: Reading, *, encrypted: bool = False) -> Problems:
    """Return the commands, options and values that are set but not executed, each with its line.

    `encrypted`: storage may be (it may not in an image, which everybody would have the key of).
    """
    problems = Problems(reading.name)
    handler = reading.handler
    # several names may mean the same command
    for command in {
        id(command): command for command in handler.commands.values() if command is not None and command.seen
    }.values():
        _refuse_command(reading, command, problems)
    for written in reading.commands:
        curled = next((word for word in written.words[1:] if CURLED.search(word)), "")
        if curled:
            problems.add(
                written.line, f"{written.name}: {curled} has quotes that are none here", "write \" or '"
            )
        for option in (
            word[:-1]
            for word in written.words[1:]
            if re.fullmatch(r"--[\w-]+=", word) and word[:-1] not in MAY_BE_EMPTY
        ):
            problems.add(
                written.line,
                f"{written.name}: {option} has no value: did whatever should fill it in leave it empty?",
            )
    _refuse_sections(reading, problems)
    containers.refuse(reading, problems)
    for check in (
        refuse_mode,
        refuse_network,
        refuse_authentication,
        refuse_loader,
        refuse_names,
        refuse_labels,
    ):
        check(reading, problems)
    if handler.clearpart.disklabel not in LABELS:
        problems.add(
            handler.clearpart.lineno,
            f"clearpart: --disklabel={handler.clearpart.disklabel} is not executed by imagebuild (it knows"
            " gpt, msdos)",
        )
    for key in data(handler, "sshkey"):
        if not key.key.strip():
            problems.add(
                key.lineno, "sshkey: the key is empty: did whatever should fill it in leave it empty?"
            )
    problems.extend(refused_source(reading))
    disk_names.refuse(handler, problems)
    encryption.refuse(handler, problems, allowed=encrypted)
    time_sources.refuse(handler, problems)
    return problems


def notes(reading: Reading) -> Iterator[tuple[int, str]]:
    """Yield what is deliberately not executed: its line, and why."""
    yield from reading.notes
    for written in reading.commands:
        if written.name in NOTED:
            yield written.line, f"`{written.name}` has nothing to do here: {NOTED[written.name]}"
    for (command, option), reason in NOTED_OPTIONS.items():
        if seen(reading.handler, command) and getattr(reading.handler.commands[command], option, False):
            yield (
                reading.handler.commands[command].lineno,
                f"{command}: its option `{option}` has nothing to do here: {reason}",
            )
    if _keyboard_of_x(reading.handler):
        yield (
            reading.handler.keyboard.lineno,
            "keyboard: --xlayouts has nothing to do here: a tree's console has --vckeymap",
        )
    for script in reading.handler.scripts:
        if script.type == KS_SCRIPT_ONERROR:
            yield script.lineno, "%onerror runs when an installation from the ISO fails, and nowhere else"
    for section in reading.sections:
        if _section_has_nothing_to_do(section.name, section.words, section.body):
            yield section.line, f"{' '.join(section.words)} has nothing to do here"


def refused_source(reading: Reading) -> Problems:
    """Return what pykickstart lets through: of several sources the last one would win, and it looks at the
    URL only.
    """
    problems = Problems(reading.name)
    setup, lines = reading.handler.ostreesetup, reading.lines_of("ostreesetup")
    if len(lines) > 1:
        problems.add(
            lines[1], f"there must be one ostreesetup line, not {len(lines)} (the last would win silently)"
        )
    if not lines or lines[-1] in reading.problems.lines():
        return problems
    if not REF.fullmatch(setup.ref) or ".." in setup.ref.split("/"):
        problems.add(lines[-1], f"ostreesetup: --ref={setup.ref!r} is not a ref")
    if not STATEROOT.fullmatch(setup.osname):
        problems.add(lines[-1], f"ostreesetup: --osname={setup.osname!r} is not the name of a stateroot")
    if setup.remote and not REMOTE.fullmatch(setup.remote):
        problems.add(lines[-1], f"ostreesetup: --remote={setup.remote!r} is not the name of a remote")
    if not URL.fullmatch(setup.url):
        problems.add(lines[-1], f"ostreesetup: --url={setup.url!r} is not an address")
    return problems


def _refuse_command(reading: Reading, command: Any, problems: Problems) -> None:
    names = [key for key, known in reading.handler.commands.items() if known is command]
    name = command.currentCmd or names[0]
    table = next((key for key in names if key in COMMANDS), None)
    if name in containers.COMMANDS or isinstance(command, RemovedCommand):
        return  # answered elsewhere, or by pykickstart
    if table is None or without_effect(command):
        if not _has_nothing_to_do(names, command):
            for line in reading.lines_of(name) or [command.lineno]:
                problems.add(
                    line,
                    f"`{name}` is taken in --syntax {reading.syntax}, and ignored"
                    if without_effect(command)
                    else f"`{name}` is not executed by imagebuild",
                )
        return
    if command.dataList() is None:
        for option in _not_executed(table, command, type(command)()):
            problems.add(reading.set_at.get((id(command), option), command.lineno), _refusal(table, option))
    for given in data(reading.handler, table):
        for option in _not_executed(table, given, command.dataClass()):
            if (table, option) == ("logvol", "encrypted"):
                continue  # encryption.py says what to do
            problems.add(given.lineno, _refusal(table, option))


def _has_nothing_to_do(names: list[str], command: Any) -> bool:
    """Whether a command asks for nothing that would have to be done."""
    if "firstboot" in names:
        return bool(command.firstboot == FIRSTBOOT_SKIP)
    if "logging" in names:
        return not command.host
    return any(name in NOTED for name in names)


def _refusal(table: str, option: str) -> str:
    return f"{table}: its option `{option.lstrip('_')}` is not executed by imagebuild"


def _not_executed(table: str, given: Any, fresh: Any) -> Iterator[str]:
    """Yield the options that are set but not executed."""
    for option, value in vars(given).items():
        default = getattr(fresh, option, None)
        # pykickstart sets what was not given to None, "" or False, as it comes
        same = value == default or (not value and not default)
        usual = value in USUAL.get((table, option), ()) or (table, option) in NOTED_OPTIONS
        of_x = table == "keyboard" and option in ("x_layouts", "switch_options") and given.vc_keymap
        if not (option in COMMANDS[table] or option in BOOKKEEPING or same or usual or of_x):
            yield option


def _keyboard_of_x(handler: Any) -> bool:
    return bool(seen(handler, "keyboard") and handler.keyboard.vc_keymap and handler.keyboard.x_layouts)


def _refuse_sections(reading: Reading, problems: Problems) -> None:
    for script in reading.handler.scripts:
        if script.type not in (KS_SCRIPT_PRE, KS_SCRIPT_POST, KS_SCRIPT_ONERROR):
            problems.add(script.lineno, "of the script sections imagebuild executes %pre, %post and %onerror")
    boot_menu.refuse(reading, problems)
    for section in reading.sections:
        if boot_menu.is_ours(section):
            continue
        if section.name in (
            "%packages",
            "%certificate",
            "%addon",
            "%anaconda",
        ) and not _section_has_nothing_to_do(section.name, section.words, section.body):
            hint = (
                "what is installed is the tree's commit: compose it with these packages"
                if section.name == "%packages"
                else ""
            )
            problems.add(
                section.line, f"{' '.join(section.words)}: the section is not executed by imagebuild", hint
            )


def _section_has_nothing_to_do(name: str, words: tuple[str, ...], body: list[str]) -> bool:
    if name == "%packages":
        return not body
    if name == "%anaconda":
        # rules for passwords that a person chooses (anaconda, docs: kickstart, pwpolicy)
        return all(line.split()[0] == "pwpolicy" for line in body)
    # kdump-anaconda-addon, com_redhat_kdump/ks: `--disable`
    return name == "%addon" and "--disable" in words and not body
