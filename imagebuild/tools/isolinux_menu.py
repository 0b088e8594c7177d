"""isolinux' menu, read as isolinux reads it."""

from imagebuild.tools.boot_menu import Menu, Volume


def read(volume: Volume, path: str | None = None) -> Menu | None:
    """Return the menu that isolinux shows (not given: of the configuration that it looks for); None when there is none. Raises BuildError."""
    raise NotImplementedError
