"""Disks, and the downloads that are made of them: the registry of formats says what is allowed there."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imagebuild.config.fields import Mebibytes, Model, Name, Word
from imagebuild.formats.registry import FORMATS
from imagebuild.kickstart.layout import SECTOR
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
            "file name without suffix; ${version} and ${arch} are not allowed: the release names its files"
        )
    )
    disk_size: Mebibytes
    sector_size: Literal[512, 4096] = Field(
        default=512,
        description=(
            "the disk's logical block in bytes: 4096 is for raw-4k, its firmware is uefi, and its kickstart"
            " makes a GPT"
        ),
    )
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

    @model_validator(mode="after")
    def _of_one_sector_size(self) -> "ImageConfig":
        for kind in self.formats:
            if FORMATS[kind].sector_size != self.sector_size:
                raise ValueError(
                    f"{kind} is made of a disk with sector_size {FORMATS[kind].sector_size}, and this one has"
                    f" {self.sector_size}"
                )
        if self.sector_size != SECTOR and Firmware.BIOS in self.firmware:
            raise ValueError(
                f"BIOS boots from no disk with sector_size {self.sector_size}: leave it out of firmware"
            )
        return self
