"""The boot menu of an installer medium: it is waited for, and an entry is started as a person would do it."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from imagebuild import steplog
from imagebuild.errors import BuildError
from imagebuild.smoke.boot import PATIENCE, starvation
from imagebuild.smoke.host.errors import RigError
from imagebuild.smoke.installer_log import said
from imagebuild.tools import anaconda_log
from imagebuild.tools.console import FIRMWARE_FATAL, fatal_line, plain
from imagebuild.tools.menus.keys import KeyPresses
from imagebuild.tools.picture import Picture
from imagebuild.tools.qemu.machine import MIB
from imagebuild.tools.qemu.running import Running

# seconds at native speed; multiplied by the accelerator's slowness
MENU_SECONDS = 30.0
# what shows that GRUB's menu (ours, lorax's) or isolinux' waits for a key
MENU = (
    "executed automatically",
    "Press Tab for full configuration",
    "Boot from local drive",
    "Troubleshooting",
)
LOOK_SECONDS = 0.3
# how long a picture must stand still to be a menu
SETTLED_SECONDS = 2.0
# A menu that waits reads nothing, one that has started an entry reads a kernel and its initramfs: that is
# more than any boot loader is.
# Keys are lost while a boot loader still draws (seen with GRUB 2.06 on emulated UEFI), and pressed again: it
# may count down from 60
STARTED_BYTES = 4 * MIB
REACTION_SECONDS = 5.0


# what GRUB says of the entry that it starts, on every terminal (2.06, grub-core/normal/menu.c,
# notify_booting)
BOOTING = re.compile(r"Booting `([^'\n]*)'")


class InstallationError(BuildError):
    """The medium does not install."""


class AgainError(RigError):
    """This start came to nothing, and says nothing of the medium: another one may."""


class MissedMenuError(AgainError):
    """The boot menu did not wait for its keys: it started another entry by itself."""


def choose_entry(running: Running, key: str, slowness: float) -> None:
    """Press an entry's key once the boot menu is there. Raises InstallationError when it does not come."""
    wait_for(
        running,
        lambda console: any(word in console for word in MENU),
        MENU_SECONDS * slowness,
        "the boot menu",
    )
    # GRUB reads keys after it has drawn
    time.sleep(1)
    running.type(key)


@dataclass
class Looker:
    """Looks at a machine until its boot menu is there: on its console, on its text screen, or as a picture
    that stands still.

    `read`: the menu was read, on the console (`on_console`) or the text screen, and not just looked at.
    """

    running: Running
    plan: KeyPresses
    slowness: float
    on_console: bool = False
    read: bool = False
    before: Picture | None = None
    since: float = 0.0

    def there(self, console: str) -> bool:
        """Look once more."""
        self.on_console = self.plan.seen_in(plain(console))
        # a BIOS' text screen that does not show the menu is the firmware's, or what the boot loader says
        # before
        text = "" if self.on_console else self.running.screen_text()
        self.read = self.on_console or self.plan.seen_in(text)
        if self.read or text:
            self.before = None
            return self.read
        # where the firmware speaks on the console, a menu does so, too, unless it is graphical: until then a
        # logo may be there
        return self._still_for() >= SETTLED_SECONDS * (self.slowness if console.strip() else 1)

    def _still_for(self) -> float:
        picture = self.running.picture()
        if picture is None or picture.blank or self.before is None or not picture.like(self.before):
            self.since = time.monotonic()
        self.before = picture
        return time.monotonic() - self.since

    def came_later(self) -> bool:
        """Whether the menu can be read now for the first time: keys were pressed at a mere picture before."""
        before, self.read = (
            self.read,
            self.read
            or self.plan.seen_in(plain(self.running.console()))
            or self.plan.seen_in(self.running.screen_text()),
        )
        return self.read and not before


@dataclass
class Presser:
    """Presses a plan's keys, and again when nothing comes of it. What is there to be read is typed on the
    serial console first.
    """

    looker: Looker
    presses: int = 0
    last: float = 0.0
    before: int = 0

    def started(self, console: str) -> bool:
        """Look whether the entry was started, and press its keys when it is time to."""
        del console
        running = self.looker.running
        # keys that were pressed early may lie in the keyboard's buffer until the menu takes them: what it
        # starts may be quick
        if self.presses and anaconda_log.phase(said(running)):
            return True
        read = running.drives_read()
        if self.presses and read - self.before >= STARTED_BYTES:
            if not self.looker.came_later():
                return True
            self.presses = 0
        if not self.presses:
            self.before = read
        if not self.presses or time.monotonic() - self.last >= REACTION_SECONDS + self.looker.slowness:
            self._press()
        return False

    def _press(self) -> None:
        running, plan = self.looker.running, self.looker.plan
        if self.presses:
            steplog.note("the boot menu does not react: its keys are pressed again")
        # under UEFI any menu is on the serial console, since the firmware's own is there; only a medium that
        # uses it reads it
        if self.looker.on_console and plan.heard and plan.typed and not self.presses:
            running.type(plan.typed)
        else:
            running.press(*plan.keys)
        self.presses, self.last = self.presses + 1, time.monotonic()


def start_entry(running: Running, plan: KeyPresses, slowness: float) -> None:
    """Start an entry as its plan says, once the menu is there. Raises InstallationError when it does not
    come, or does not react; MissedMenuError when its time was over before; RigError.
    """
    if not plan.keys:
        return
    looker = Looker(running, plan, slowness)
    wait_for(running, looker.there, MENU_SECONDS * slowness, "the boot menu")
    # a boot loader reads keys after it has drawn
    time.sleep(1)
    wait_for(
        running,
        Presser(looker).started,
        MENU_SECONDS * slowness,
        f"the start of {plan.title!r} by its keys ({' '.join(plan.keys)})",
    )
    booting = BOOTING.findall(plain(running.console()))
    if booting and plan.title not in booting:
        raise MissedMenuError(
            f"the boot menu was over before {plan.title!r} was chosen, and started {booting[-1]!r}"
        )


def wait_for(running: Running, there: Callable[[str], bool], seconds: float, what: str) -> str:
    """Wait until the console shows something and return what it shows. Raises InstallationError, RigError
    when QEMU or the machine is at fault.
    """
    begun, meter = time.monotonic(), running.meter
    meter.look()
    until = meter.seconds + seconds
    looks = 0
    while not there(console := running.console()):
        looks += 1
        # the screen of a BIOS, every few seconds
        screen = running.screen_text() if looks % 15 == 0 else ""
        if line := fatal_line(console, FIRMWARE_FATAL) or fatal_line(screen, FIRMWARE_FATAL):
            raise InstallationError(f"{what} did not come: {line}")
        if not running.alive:
            if broke := running.broke():
                raise RigError(broke)
            raise InstallationError(f"the machine went off before {what} came: {console[-300:]!r}")
        meter.look()
        if meter.seconds > until or time.monotonic() - begun > PATIENCE * seconds:
            text = (
                f"{what} did not come within {time.monotonic() - begun:.0f} s; the console ends with"
                f" {console[-300:]!r}"
            )
            if starved := starvation(meter, console):
                raise RigError(f"{starved}; {text}")
            raise InstallationError(text)
        time.sleep(LOOK_SECONDS)
    return console
