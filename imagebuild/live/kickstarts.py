"""Where the kickstart comes from: the boot argument, a disk labelled OEMDRV, or the release's own defaults.

One that was asked for and is not found stops the installation: it never turns interactive. The one in use
lies at /run/install/ks.cfg, as under Anaconda.
"""

import contextlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuild import steplog
from imagebuild.deploy.live_system import disk_of
from imagebuild.deploy.local import INSTALL
from imagebuild.errors import BuildError
from imagebuild.live.arguments import DEFAULT_PATH, KickstartSource
from imagebuild.tools import command, temporary

LARGEST = 1 << 20
DEVICE_SECONDS = 30
NETWORK_SECONDS = 300
# for one attempt to read a file of up to LARGEST bytes
FETCH_SECONDS = 120.0
CARD_SECONDS = 30
TRIES = 5
ROUTES, ROUTES_V6 = Path("/proc/net/route"), Path("/proc/net/ipv6_route")
OEM_LABEL = "OEMDRV"
MEDIUM = INSTALL / "repo"
IN_USE = INSTALL / "ks.cfg"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A kickstart's text, its name for messages, whether a user gave it, and the disk it lay on
    (MAJOR:MINOR), which is not to be erased.
    """

    text: str
    name: str
    given: bool
    device: str = ""


def find(asked: KickstartSource | None, defaults: Path, say: Callable[[str], None]) -> Found:
    """Return the kickstart to be used, and leave a copy at IN_USE. Raises BuildError when the one that was
    asked for cannot be had.
    """
    found = (
        _asked(asked, say)
        if asked is not None
        else _oem()
        or Found(
            text=_text(defaults.read_bytes(), "the release's defaults"),
            name="the release's defaults",
            given=False,
        )
    )
    IN_USE.write_text(found.text)
    IN_USE.chmod(0o600)
    return found


def _asked(asked: KickstartSource, say: Callable[[str], None]) -> Found:
    if asked.kind == "http":
        say(f"fetching the kickstart {asked.path}")
        return Found(text=_text(fetch(asked.path), asked.path), name=asked.path, given=True)
    if asked.kind == "file":
        return Found(text=_text(_read(Path(asked.path)), asked.path), name=f"file:{asked.path}", given=True)
    if asked.kind == "cdrom" and not asked.device:
        return Found(
            text=_text(_read(MEDIUM / asked.path.lstrip("/")), asked.path),
            name=f"cdrom:{asked.path}",
            given=True,
        )
    device = wait_for(asked.device)
    name = f"{asked.device}:{asked.path}"
    if on_medium(number_of(device)):
        # on a stick the label is a partition's too, which cannot be mounted beside the disk that it lies on
        return Found(text=_text(_read(MEDIUM / asked.path.lstrip("/")), asked.path), name=name, given=True)
    with mounted(device) as place:
        return Found(
            text=_text(_read(place / asked.path.lstrip("/")), asked.path),
            name=name,
            given=True,
            device=number_of(device),
        )


def _oem() -> Found | None:
    """Return the kickstart of a disk labelled OEMDRV, if there is such a disk with one."""
    device = resolve(f"LABEL={OEM_LABEL}")
    if device is None:
        return None
    with mounted(device) as place:
        file = place / DEFAULT_PATH.lstrip("/")
        if not file.is_file():
            steplog.note(f"{device} is labelled {OEM_LABEL}, but has no ks.cfg")
            return None
        return Found(
            text=_text(_read(file), "ks.cfg"),
            name=f"{OEM_LABEL}:{DEFAULT_PATH}",
            given=True,
            device=number_of(device),
        )


def on_medium(number: str) -> bool:
    """Whether a block device (MAJOR:MINOR) is the medium, or lies on it."""
    if not MEDIUM.is_dir():
        return False  # started from the network
    place = MEDIUM.stat().st_dev
    disk = disk_of(number)
    return bool(disk) and disk == disk_of(f"{os.major(place)}:{os.minor(place)}")


def number_of(device: Path) -> str:
    """Return MAJOR:MINOR of a block device."""
    number = device.stat().st_rdev
    return f"{os.major(number)}:{os.minor(number)}"


def resolve(device: str) -> Path | None:
    """Return the block device that LABEL=…, UUID=… or a path means now; None when there is none."""
    if device.startswith("/dev/"):
        return Path(device) if Path(device).is_block_device() else None
    status, said = command.status(
        ["blkid", "--match-token", device, "--output", "device", "--cache-file", "/dev/null"]
    )
    first = said.split("\n", maxsplit=1)[0].strip()
    return Path(first) if status == 0 and first.startswith("/dev/") else None


def wait_for(device: str) -> Path:
    """Return a block device, which may take its time (USB). Raises BuildError."""
    deadline = time.monotonic() + DEVICE_SECONDS
    while (found := resolve(device)) is None:
        if time.monotonic() > deadline:
            raise BuildError(
                f"the kickstart's device {device} is not there",
                hint="look at inst.ks= in the boot entry, and at `blkid`",
            )
        time.sleep(0.5)
    return found


@contextlib.contextmanager
def mounted(device: Path) -> Iterator[Path]:
    """Mount a file system read-only for the length of the block."""
    with temporary.directory("kickstart", base=Path("/run")) as place:
        command.run(["mount", "-o", "ro,nosuid,nodev,noexec", device, place])
        try:
            yield place
        finally:
            command.run(["umount", place])


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        raise BuildError(
            f"the kickstart {file.name} that was asked for is not there: {error.strerror}",
            hint="look at inst.ks= in the boot entry",
        ) from error


def _text(data: bytes, name: str) -> str:
    if len(data) > LARGEST:
        raise BuildError(f"the kickstart {name} is larger than {LARGEST >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BuildError(f"the kickstart {name} is not text in UTF-8") from error


def has_route() -> bool:
    """Whether there is a way out of this machine: any route but the loopback's (proc(5); a server may be on
    this very network).
    """
    routes: list[str] = []
    for file, interface in ((ROUTES, 0), (ROUTES_V6, 9)):
        with contextlib.suppress(OSError):
            routes += [
                line.split()[interface]
                for line in file.read_text().splitlines()
                if not line.startswith("fe80") and "ff00" not in line[:4]
            ]
    return any(name not in ("lo", "Iface") for name in routes)


def has_card() -> bool:
    """Whether there is any network card."""
    return any(place.name != "lo" for place in Path("/sys/class/net").glob("*"))


def fetch(url: str) -> bytes:
    """Fetch a kickstart, once there is a network. Raises BuildError with what is wrong: no network, no such
    file, no answer.
    """
    begun = time.monotonic()
    while not has_route():
        waited = time.monotonic() - begun
        if waited > NETWORK_SECONDS or (waited > CARD_SECONDS and not has_card()):
            raise BuildError(
                f"there is no network to fetch {url} through",
                hint="look at ip= in the boot entry, and at the cable; DHCP is used without ip=",
            )
        time.sleep(0.5)
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  # http and https only: `arguments.source`
                return _whole(answer)
        except urllib.error.HTTPError as error:
            raise BuildError(
                f"the kickstart {url} that was asked for cannot be fetched: {error.code} {error.reason}"
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            if attempt == TRIES:
                raise BuildError(
                    f"the kickstart {url} that was asked for cannot be fetched: {error}",
                    hint="is the address right, and the server up?",
                ) from error
            steplog.note(f"{url}: {error}; again")
            time.sleep(2 * attempt)
    raise BuildError(f"the kickstart {url} cannot be fetched")


def _whole(answer: http.client.HTTPResponse) -> bytes:
    """Return a body of up to LARGEST bytes, and a bit. Raises OSError when it ends early or takes too long:
    half a kickstart may be one, too, and install something else.
    """
    # http.client does not say that a body was cut off when it is asked for a number of bytes
    promised, deadline, data = answer.length, time.monotonic() + FETCH_SECONDS, b""
    while len(data) <= LARGEST and (block := answer.read1(1 << 16)):
        data += block
        if time.monotonic() > deadline:
            raise TimeoutError(f"it took more than {FETCH_SECONDS:.0f} s")
    if promised is not None and len(data) < min(promised, LARGEST):
        raise ConnectionError(f"it ended after {len(data)} of {promised} bytes")
    return data
