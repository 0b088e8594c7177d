"""The table of installer backends: a new one is a module and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild.config.installer import InstallerConfig
from imagebuild.errors import UsageError
from imagebuild.installers import Request
from imagebuild.installers.live import backend as live
from imagebuild.installers.live import initramfs, product
from imagebuild.installers.lorax import backend as lorax
from imagebuild.installers.lorax import inputs as lorax_inputs


@dataclass(frozen=True, kw_only=True)
class Installer:
    """A backend: why it cannot be used (empty: it can), and how it makes an ISO; the programs that both run.

    `unavailable` takes the product and release that it is for. `reads` are the files of templates/ that it
    opens, `inputs` are what else decides what it makes (configuration, release, architecture -> name ->
    digest), `toolbox` whether it needs the tree's own programs, `discinfo` whether it puts /.discinfo on the
    medium.
    """

    unavailable: Callable[[InstallerConfig, str, str], str]
    build: Callable[[Path, Request], Path]
    tools: tuple[str, ...]
    inputs: Callable[[InstallerConfig, str, str], Mapping[str, str]]
    toolbox: bool
    discinfo: Callable[[InstallerConfig, str], bool]
    reads: tuple[str, ...] = ()


INSTALLERS = {
    "lorax": Installer(
        unavailable=lorax.unavailable,
        build=lorax.build,
        tools=("xorriso", "implantisomd5"),
        inputs=lorax_inputs.inputs,
        toolbox=False,
        discinfo=lorax_inputs.puts_discinfo,
    ),
    "live": Installer(
        unavailable=lambda config, _product, _release: live.unavailable(config),
        build=live.build,
        tools=("mksquashfs", "sqfs2tar", "xorriso", "mcopy", "busybox", "implantisomd5"),
        inputs=lambda *_: {},
        toolbox=True,
        reads=(*product.DATA, *initramfs.DATA),
        discinfo=lambda *_: True,
    ),
}


def choose(config: InstallerConfig, product: str = "", release: str = "") -> tuple[str, str]:
    """Return the backend for a release, and why it is that one. Raises UsageError when the one that was asked
    for cannot be used.
    """
    if config.backend != "auto":
        reason = INSTALLERS[config.backend].unavailable(config, product, release)
        if reason:
            raise UsageError(
                f"installer.backend: {config.backend} cannot be used here: {reason}", hint=_advice(reason)
            )
        return config.backend, "asked for"
    missing = "" if lorax.has_source(config) else "no package source is configured"
    reason = missing or lorax.unavailable(config, product, release)
    return (
        ("live", f"not lorax: {reason}")
        if reason
        else ("lorax", "lorax imports and a package source is configured")
    )


def _advice(reason: str) -> str:
    own = (
        "run that release's lorax in a container of it, or let installer.lorax.sharedir have its templates; "
    )
    return f"{own if 'is not that of' in reason else ''}`installer.backend: live` works everywhere"
