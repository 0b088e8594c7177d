"""The boot arguments of the installer: those of Anaconda's boot-options documentation, and dracut.cmdline(7).

`inst.stage2`, `inst.repo` and `rd.live.check` are the initramfs's (templates/live/init.sh), `ip` is
networkd's or NetworkManager's: here they are only checked.
"""

import re
from dataclasses import dataclass

from imagebuild.errors import BuildError

DEFAULT_PATH = "/ks.cfg"
# LABEL=, UUID= or a device's path or name: no shell ever sees it, but commands do
DEVICE = re.compile(r"(LABEL|UUID)=[^:/]+|(/dev/)?[A-Za-z0-9][A-Za-z0-9/_.-]*")


class BadArgumentError(BuildError):
    """A boot argument that cannot be understood. The installation stops: it never goes on as if it had not
    been given.
    """


@dataclass(frozen=True, kw_only=True)
class KickstartSource:
    """Where a kickstart lies: `kind` hd (`device` LABEL=…, UUID=… or a path), cdrom (`device` may be empty),
    http (`path` is the URL), file.
    """

    kind: str
    path: str
    device: str = ""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What the machine was booted with. `address` holds the `ip=` words."""

    kickstart: KickstartSource | None = None
    text: bool = False
    sshd: bool = False
    rescue: bool = False
    address: tuple[str, ...] = ()


def words(line: str) -> list[str]:
    """Split a kernel command line: blanks separate, double quotes keep together
    (Documentation/admin-guide/kernel-parameters.rst).
    """
    return [word.replace('"', "") for word in re.findall(r'(?:[^\s"]|"[^"]*"?)+', line)]


def parse(line: str) -> Arguments:
    """Return the arguments of a kernel command line; of one that is given twice the last counts. Raises
    BadArgumentError.
    """
    kickstart: KickstartSource | None = None
    flags: set[str] = set()
    address: list[str] = []
    for word in words(line):
        name, _, value = word.partition("=")
        if name in ("inst.ks", "ks"):
            kickstart = source(value)
        elif name in ("inst.text", "inst.sshd", "inst.rescue"):
            # as dracut's getargbool: 0, no and off switch it off
            (flags.discard if value in ("0", "no", "off") else flags.add)(name)
        elif name == "ip":
            address.append(word)
    return Arguments(
        kickstart=kickstart,
        text="inst.text" in flags,
        sshd="inst.sshd" in flags,
        rescue="inst.rescue" in flags,
        address=tuple(address),
    )


def source(value: str) -> KickstartSource:
    """Return what a value of `inst.ks=` means. Raises BadArgumentError."""
    kind, _, rest = value.partition(":")
    if kind in ("http", "https") and rest.startswith("//"):
        return KickstartSource(kind="http", path=value)
    if kind == "hd":
        device, _, path = rest.partition(":")
        if not DEVICE.fullmatch(device):
            raise _bad(value)
        return KickstartSource(kind="hd", device=_device(device), path=_path(path, value))
    if kind == "cdrom":
        device, _, path = (
            rest.partition(":") if not rest.startswith("/") or rest.startswith("/dev/") else ("", "", rest)
        )
        if device and not DEVICE.fullmatch(device):
            raise _bad(value)
        return KickstartSource(kind="cdrom", device=_device(device), path=_path(path, value))
    if kind == "file" and rest:
        return KickstartSource(kind="file", path=_path(rest.removeprefix("//"), value))
    raise _bad(value)


def _device(text: str) -> str:
    if text.startswith(("LABEL=", "UUID=")):
        # udev's way to write blanks and such (udev(7), "\\x20")
        return re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match.group(1), 16)), text)
    return text if text.startswith("/dev/") or not text else f"/dev/{text}"


def _path(text: str, value: str) -> str:
    path = text or DEFAULT_PATH
    path = path if path.startswith("/") else f"/{path}"
    if ".." in path.split("/"):
        raise _bad(value)
    return path


def _bad(value: str) -> BadArgumentError:
    return BadArgumentError(
        f"inst.ks={value} is not a place of a kickstart that this installer knows",
        hint="hd:LABEL=NAME:/path, hd:/dev/sda1:/path, cdrom:/path, file:/path, http://… or https://…",
    )
