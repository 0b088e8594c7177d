"""What others know of the lorax backend."""

from pathlib import Path

from imagebuild.config.installer import InstallerConfig
from imagebuild.installers.installer import Installer, Request
from imagebuild.installers.lorax import inputs
from imagebuild.installers.lorax.about import about, misfit, reason_not_root
from imagebuild.installers.lorax.options import LoraxConfig
from imagebuild.tools.elsewhere import other_machine

# what a worker of a cluster says that it has
NEEDS = ("lorax", "root")


def lacks_source(config: InstallerConfig) -> str | None:
    """Return why there is nowhere to take packages from, or None."""
    options = config.options(LoraxConfig)
    there = options.sources or options.mirrors or options.repos
    return None if there else "no package source is configured"


def unavailable(config: InstallerConfig, product: str = "", release: str = "") -> str | None:
    """Return why lorax cannot be used here, for a release if one is given; None when it can."""
    there = other_machine()
    if there is not None:
        needed = [name for name in NEEDS if name not in there.can]
        return f"{there.name} has no {' and no '.join(needed)}" if needed else None
    options = config.options(LoraxConfig)
    lorax = about(options)
    # whose templates are given need not have its own
    unfit = None if options.sharedir else misfit(lorax, product, release)
    return lorax.error or unfit or reason_not_root()


def advice(reason: str) -> str:
    """Return what to do about one of these reasons."""
    if "is not that of" in reason:
        own = "run that release's lorax in a container of it"
        return f"{own}, or let installer.lorax.sharedir have its templates"
    if "does not work" in reason:
        return (
            "install what it lacks (dnf reinstall lorax); installer.lorax.python and python_path say which"
            " one is meant"
        )
    return "dnf install lorax (Fedora), and installer.lorax.sources"


def build(out: Path, request: Request) -> Path:
    """Make the ISO; what that needs takes long to import."""
    from imagebuild.installers.lorax import backend  # noqa: PLC0415

    return backend.build(out, request)


LORAX = Installer(
    name="lorax",
    options=LoraxConfig,
    build=build,
    tools=("xorriso", "implantisomd5"),
    when="lorax imports and a package source is configured",
    unavailable=unavailable,
    passed_over=lacks_source,
    advice=advice,
    inputs=inputs.inputs,
    discinfo=inputs.puts_discinfo,
)
