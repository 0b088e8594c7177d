"""An entry of a host's own boot menu is chosen by hand, as somebody does whose new release does not start."""

import re
import time

from imagebuild.smoke.boot import PATIENCE
from imagebuild.smoke.boot_menu import MENU_SECONDS, STARTED_BYTES, InstallationError
from imagebuild.tools.console import plain
from imagebuild.tools.qemu.running import Running

# libostree names its entries so (ostree-sysroot-deploy.c, install_deployment_kernel), GRUB marks the one that
# is chosen, and says that it counts
ENTRY = re.compile(r"^[^\w*\n]*(\*?)[^\w*\n]*(\w[^\n]*\(ostree:\d+[^)\n]*\))", re.MULTILINE)
COUNTING = "executed automatically"
LOOK_SECONDS = 0.3
# of the console, which has all boot menus that were ever drawn there
LAST = 4000


def entries_shown(text: str) -> tuple[list[str], int | None]:
    """Return the titles of a menu that is on the screen, and the number of the one that is chosen; None when
    there is no menu.
    """
    found = ENTRY.findall(text)
    chosen = [number for number, (mark, _) in enumerate(found) if mark]
    return [title for _, title in found], (chosen[0] if chosen else None)


def choose_by_hand(running: Running, number: int, slowness: float) -> str:
    """Start an entry (0 is the first) of GRUB's menu with the keyboard; return its title. Raises
    InstallationError when there is no menu, or it does not react.
    """
    until = time.monotonic() + PATIENCE * MENU_SECONDS * slowness
    title, before = "", None
    while time.monotonic() < until and running.alive:
        text = running.screen_text() or plain(running.console()[-LAST:])
        titles, chosen = entries_shown(text)
        if before is not None and (chosen is None or running.drives_read() - before >= STARTED_BYTES):
            return title
        if chosen is None or COUNTING in text:
            # any key ends the counting; until GRUB is there, the keyboard keeps it
            running.press("down")
        elif chosen != number:
            running.press("down" if chosen < number else "up")
        else:
            title, before = titles[number], running.drives_read()
            running.press("ret")
        time.sleep(LOOK_SECONDS)
    raise InstallationError(f"the boot menu's entry {number} cannot be chosen: {running.screen_text()!r}")
