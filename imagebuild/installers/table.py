"""The table of installer backends: a new one is a module and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagebuild.config import InstallerConfig
from imagebuild.errors import UsageError
from imagebuild.installers import Request, live, lorax


@dataclass(frozen=True, kw_only=True)
class Installer:
    """A backend: why it cannot be used (empty: it can), and how it makes an ISO; the programs that both run."""

    unavailable: Callable[[InstallerConfig], str]
    build: Callable[[Path, Request], Path]
    tools: tuple[str, ...]


INSTALLERS = {
    "lorax": Installer(unavailable=lorax.unavailable, build=lorax.build, tools=("xorriso", "implantisomd5")),
    "live": Installer(
        unavailable=live.unavailable, build=live.build, tools=("mksquashfs", "sqfs2tar", "xorriso", "mcopy", "busybox", "implantisomd5")
    ),
}


def choose(config: InstallerConfig) -> tuple[str, str]:
    """Return the backend and why it is that one. Raises UsageError when the one that was asked for cannot be used."""
    if config.backend != "auto":
        reason = INSTALLERS[config.backend].unavailable(config)
        if reason:
            raise UsageError(
                f"installer.backend: {config.backend} cannot be used here: {reason}", hint="`installer.backend: live` works everywhere"
            )
        return config.backend, "asked for"
    reason = "no package source is configured" if not lorax.has_source(config) else lorax.unavailable(config)
    return ("live", f"not lorax: {reason}") if reason else ("lorax", "lorax imports and a package source is configured")
