"""GRUB 2's menu, read as GRUB reads it: its script is run, as far as a menu needs it."""

from collections.abc import Sequence

from imagebuild.kinds import Firmware
from imagebuild.tools.boot_menu import Menu, Volume


def read(volumes: Sequence[Volume], path: str, firmware: Firmware) -> Menu:
    """Return the menu of a grub.cfg on the first of the volumes, where GRUB itself lies. Raises BuildError (file and line)."""
    raise NotImplementedError
