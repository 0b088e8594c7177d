"""The installer ISO of a release line: what every backend is told, and a section for each of them."""

from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from imagebuild.config.installer import InstallerConfig
from imagebuild.installers.registry import INSTALLERS
from imagebuild.release_line.sections import Checked

_IN_ORDER = ", ".join(f"{name} ({record.when})" for name, record in INSTALLERS.items())
_FIELDS: dict[str, Any] = {
    "backend": (
        Literal[("auto", *INSTALLERS)],
        Field(
            default="auto",
            description=f"auto: the first that can be used: {_IN_ORDER}",
        ),
    ),
    **{
        name.replace("-", "_"): (record.options, Field(default=record.options(), alias=name))
        for name, record in INSTALLERS.items()
    },
}
InstallerLine: type[InstallerConfig] = create_model("InstallerConfig", __base__=InstallerConfig, **_FIELDS)
InstallerLine.__doc__ = InstallerConfig.__doc__
InstallerSection = Annotated[InstallerConfig, Checked(InstallerLine)]
