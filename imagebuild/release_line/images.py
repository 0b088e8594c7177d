"""Disks, and the downloads that are made of them: what may stand there is told by the registry of formats."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from imagebuild.config.fields import Mebibytes, Model, Name, Word
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Firmware, Login
from imagebuild.release_line.sections import Sections

FormatsConfig = Annotated[
    Mapping[str, Model],
    Sections("FormatsConfig", {name: record.options for name, record in FORMATS.items()}),
]


class ImageConfig(Model):
    """One disk and what is made of it."""

    kickstart: Word = Field(description="key of `kickstarts`")
    base: Word | None = Field(
        default=None,
        description=(
            "key of the image whose kickstart this one includes: its disk is changed instead of installing"
            " again"
        ),
    )
    name: Name = Field(
        description=(
            "file name without suffix; ${version} and ${arch} may not stand here, the release names its files"
        )
    )
    disk_size: Mebibytes
    firmware: tuple[Firmware, ...] = Field(default=(Firmware.BIOS, Firmware.UEFI), min_length=1)
    installed: tuple[Firmware, ...] | None = Field(
        default=None,
        description=(
            "as smoke.installed, for this image: firmware under which its disk is tested against all criteria"
        ),
    )
    login: Login = Field(
        default=Login.CLOUD_INIT,
        description="who lets the tester in: a seed's key through cloud-init, or Vagrant's key",
    )
    formats: FormatsConfig = Field(description="which downloads are made of it, each with its options")
