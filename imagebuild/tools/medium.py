"""The boot menus of an installer ISO, found and read as each firmware does."""

from pathlib import Path

from imagebuild.kinds import Firmware
from imagebuild.tools.boot_menu import Menu


def menus(image: Path, work: Path) -> dict[Firmware, Menu]:
    """Return the menu under each firmware that the ISO boots under; `work` is a directory for what must be extracted. Raises BuildError."""
    raise NotImplementedError
