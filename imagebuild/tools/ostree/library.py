"""libostree by GObject introspection: the version is named here, before anything of it is imported."""

import contextlib
from collections.abc import Iterator

import gi

gi.require_version("OSTree", "1.0")
from gi.repository import Gio, GLib, OSTree  # the version must be named before the import

from imagebuild.errors import BuildError  # after gi's

__all__ = ["GLib", "Gio", "OSTree", "readable"]


@contextlib.contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn libostree's errors into a sentence of ours."""
    try:
        yield
    except GLib.Error as error:
        raise BuildError(f"{what}: {error.message}") from error
