"""A kickstart is parsed by pykickstart, and what the executor cannot do is refused with its line.

The options are those of the kickstart documentation of pykickstart.
"""

import contextlib
import io
import shlex
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pykickstart.constants import DISPLAY_MODE_TEXT
from pykickstart.errors import KickstartError
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion, versionMap

from imagebuild.errors import BuildError

# command -> options of it that are executed; anything else that is set is refused
COMMANDS: Mapping[str, frozenset[str]] = {
    name: frozenset(options.split())
    for name, options in {
        "text": "displayMode", "lang": "lang", "keyboard": "keyboard _keyboard vc_keymap kbd", "timezone": "timezone isUtc",
        "rootpw": "lock password isCrypted", "firewall": "enabled", "zerombr": "zerombr", "auth": "authconfig",
        "selinux": "selinux", "network": "", "services": "enabled disabled", "ignoredisk": "onlyuse",
        "bootloader": "appendLine timeout location password isCrypted bootDrive", "clearpart": "type initAll disklabel drives",
        "part": "", "volgroup": "", "logvol": "", "reqpart": "reqpart addBoot", "user": "", "group": "", "sshkey": "",
        "autopart": "autopart type typeMap lvm fstype nohome noboot noswap", "ostreesetup": "osname remote url ref nogpg", "reboot": "action",
    }.items()
}  # fmt: skip
NETWORK_OPTIONS = frozenset({"bootProto", "device", "activate", "onboot", "hostname"})
PART_OPTIONS = frozenset({"fstype", "size", "grow", "maxSizeMB", "label", "mountpoint", "format", "disk", "primOnly"})
VOLGROUP_OPTIONS = frozenset({"vgname", "name", "physvols", "format"})
LOGVOL_OPTIONS = frozenset(
    {
        *("fstype", "size", "grow", "name", "vgname", "mountpoint", "format", "label", "percent", "maxSizeMB"),
        *("thin_pool", "thin_volume", "pool_name"),
    }
)
USER_OPTIONS = frozenset({"name", "password", "isCrypted", "lock", "groups", "uid", "gid", "homedir", "shell", "gecos"})
GROUP_OPTIONS = frozenset({"name", "gid"})
SSHKEY_OPTIONS = frozenset({"username", "key", "sshkey"})
BOOKKEEPING = frozenset(
    {
        "lineno",
        "seen",
        "op",
        "handler",
        "currentCmd",
        "currentLine",
        "writePriority",
        "preceededInclude",
        "_name",
        "name_",
        "mntpoint",
        "partitions",
        "errorStr",
    }
)

_parser = threading.Lock()


class BadKickstartError(BuildError):
    """A kickstart that cannot be parsed or executed; the message begins with file and line."""


def includes(text: str) -> list[tuple[int, str]]:
    """Return (line number, path or URL) of every %include outside of sections."""
    found, inside = list[tuple[int, str]](), False
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            words = shlex.split(line, comments=True) if line.lstrip().startswith("%") else []
        except ValueError:
            words = []
        if words[:1] == ["%include"] and not inside:
            found.append((number, words[1] if len(words) > 1 else ""))
        elif words:
            inside = words[0] != "%end"
    return found


def parse(text: str, syntax: str, name: str, *, complete: bool = True) -> Any:
    """Parse a kickstart and return pykickstart's handler. Raises BadKickstartError with file and line; warnings are errors.

    `complete`: an %include that is left is an error. pykickstart itself would read the build host's files, or fetch a URL.
    """
    if syntax not in versionMap:
        raise BadKickstartError(f"{name}: pykickstart knows no version {syntax!r}", hint=f"it knows: {', '.join(sorted(versionMap))}")
    for number, path in includes(text) if complete else []:
        raise BadKickstartError(
            f"{name}:{number}: %include {path}: there is no such file for a kickstart that is executed here",
            hint="include files of kickstarts/ by their relative name, or write the file in a %pre section",
        )
    handler = makeVersion(syntax)
    parser = KickstartParser(handler, missingIncludeIsFatal=True, unknownSectionIsFatal=True)
    with _parsing(name):
        parser.readKickstartFromString(text)
    return handler


@contextlib.contextmanager
def _parsing(name: str) -> Iterator[None]:
    try:
        # these are the whole process's, and steps run in threads
        with _parser, warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("always")
            yield
    except KickstartError as error:
        line = getattr(error, "lineno", None) or 0
        raise BadKickstartError(f"{name}:{line}: {getattr(error, 'message', None) or error}") from error
    serious = [str(each.message) for each in caught if "deprecated" not in str(each.message).lower()]
    if serious:
        raise BadKickstartError(f"{name}: {serious[0]}")


def refuse_unknown(handler: Any, name: str) -> None:
    """Refuse commands and options that are set but not executed. Raises BadKickstartError with the line."""
    for command in sorted(
        {id(each): each for each in handler.commands.values() if getattr(each, "seen", False)}.values(), key=lambda each: each.lineno
    ):
        names = [key for key, each in handler.commands.items() if each is command]
        known = next((COMMANDS[each] for each in names if each in COMMANDS), None)
        if known is None:
            raise BadKickstartError(f"{name}:{command.lineno}: `{command.currentCmd or names[0]}` is not executed by imagebuild")
        if not hasattr(command, "dataList") or not command.dataList():
            _refuse_options(command, type(command)(), known, f"{name}:{command.lineno}: {command.currentCmd or names[0]}")
    for data, fresh, known in (
        *((each, handler.NetworkData(), NETWORK_OPTIONS) for each in handler.network.network),
        *((each, handler.PartData(), PART_OPTIONS) for each in handler.partition.partitions),
        *((each, handler.VolGroupData(), VOLGROUP_OPTIONS) for each in handler.volgroup.vgList),
        *((each, handler.LogVolData(), LOGVOL_OPTIONS) for each in handler.logvol.lvList),
        *((each, handler.UserData(), USER_OPTIONS) for each in handler.user.userList),
        *((each, handler.GroupData(), GROUP_OPTIONS) for each in handler.group.groupList),
        *((each, handler.SshKeyData(), SSHKEY_OPTIONS) for each in handler.sshkey.sshUserList),
    ):
        line = getattr(data, "lineno", 0) or _line_of(handler, data)
        _refuse_options(data, fresh, known, f"{name}:{line}: {type(data).__name__.partition('_')[2].removesuffix('Data').lower()}")
    if handler.displaymode.seen and handler.displaymode.displayMode != DISPLAY_MODE_TEXT:
        raise BadKickstartError(f"{name}:{handler.displaymode.lineno}: use `text`: in the other modes a failing %post goes unnoticed")
    _refuse_values(handler, name)


def _refuse_values(handler: Any, name: str) -> None:
    """Refuse values that mean something else than what is executed."""
    for each in handler.network.network:
        if each.device not in (None, "", "link") or each.bootProto not in ("", "dhcp"):
            raise BadKickstartError(f"{name}:{each.lineno}: network: only --bootproto=dhcp on --device=link is executed by imagebuild")
    if handler.authconfig.seen and handler.authconfig.authconfig.split() != ["--useshadow", "--passalgo=sha512"]:
        raise BadKickstartError(
            f"{name}:{handler.authconfig.lineno}: auth: only --useshadow --passalgo=sha512, every tree's own, is executed"
        )
    loader = handler.bootloader
    if loader.seen and loader.location not in ("", None, "mbr", "boot"):
        raise BadKickstartError(f"{name}:{loader.lineno}: bootloader --location={loader.location} is not executed by imagebuild")
    if loader.password and not loader.isCrypted:
        raise BadKickstartError(
            f"{name}:{loader.lineno}: bootloader: only --iscrypted passwords are executed", hint="grub-mkpasswd-pbkdf2 makes one"
        )


def _line_of(handler: Any, data: Any) -> int:
    """Return the line of a user, group or key: pykickstart keeps only the last line of those commands."""
    command = {"UserData": "user", "GroupData": "group", "SshKeyData": "sshkey"}.get(type(data).__name__.partition("_")[2], "")
    return int(getattr(getattr(handler, command, None), "lineno", 0))


def _refuse_options(data: Any, fresh: Any, known: frozenset[str], where: str) -> None:
    for option, value in vars(data).items():
        if option not in known and option not in BOOKKEEPING and value and value != getattr(fresh, option, None):
            raise BadKickstartError(f"{where}: its option `{option}` is not executed by imagebuild")


def checks(handler: Any, text: str, known_refs: Sequence[str], *, signed: bool, name: str) -> None:
    """Check what pykickstart lets through (its ostreesetup validates the URL only). Raises BadKickstartError with the line."""
    setup = handler.ostreesetup
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if line.split()[:1] == ["ostreesetup"]]
    if len(lines) != 1:
        raise BadKickstartError(
            f"{name}:{lines[1] if lines else 0}: there must be one ostreesetup line, not {len(lines)} (the last would win silently)"
        )
    where = f"{name}:{lines[0]}: ostreesetup"
    if not setup.ref or ".." in setup.ref.split("/") or setup.ref.startswith("/"):
        raise BadKickstartError(f"{where}: --ref={setup.ref!r} is no ref")
    if not setup.osname or "/" in setup.osname or setup.osname.startswith("."):
        raise BadKickstartError(f"{where}: --osname={setup.osname!r} is no name of a stateroot")
    if setup.ref not in known_refs:
        raise BadKickstartError(f"{where}: the repo has no ref {setup.ref}", hint=f"it has: {', '.join(known_refs)}")
    if setup.nogpg and signed:
        raise BadKickstartError(
            f"{where}: --nogpg although the commit is signed", hint="take --nogpg out, so that the installer checks the signature too"
        )
