"""Kickstarts, disks, and the downloads that are made of them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from imagebuild.config import syntaxes
from imagebuild.config.fields import Mebibytes, Model, Name, Word
from imagebuild.kinds import Firmware, Login

MAX_XZ = 9


def _syntax(value: str) -> str:
    if syntaxes.problem(value):
        raise ValueError(f"{syntaxes.problem(value)}; there are: {', '.join(syntaxes.usable())}")
    return value


class KickstartConfig(Model):
    """One kickstart template and the pykickstart version of the release it is for."""

    template: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*\.ks$")]
    syntax: Annotated[str, AfterValidator(_syntax), Field(json_schema_extra={"enum": [*syntaxes.usable()]})]
    values: dict[Annotated[str, Field(pattern=r"^[a-z_]+$")], str] = Field(
        default={}, description="values of the template's own placeholders"
    )


class Qcow2Config(Model):
    """How qcow2 files are written (qemu-img(1), qcow2)."""

    compat: Literal["0.10", "1.1"] = "1.1"
    compression: Literal["zlib", "zstd", "none"] = "zlib"

    @model_validator(mode="after")
    def _readable(self) -> "Qcow2Config":
        if self.compat == "0.10" and self.compression == "zstd":
            raise ValueError("zstd needs compat 1.1: readers of 0.10 know zlib only")
        return self


class CompressionConfig(Model):
    """How hard a raw disk is compressed: xz 0 … 9, zstd 1 … 19. Each step costs about half as much again."""

    level: int = Field(default=6, ge=0, le=19)


class VmdkConfig(Model):
    """A streamOptimized vmdk has no choices."""


class FormatsConfig(Model):
    """Which downloads are made of a disk."""

    qcow2: Qcow2Config | None = None
    raw_xz: CompressionConfig | None = Field(default=None, alias="raw.xz")
    raw_zst: CompressionConfig | None = Field(default=None, alias="raw.zst")
    vmdk: VmdkConfig | None = None
    vagrant_libvirt: Qcow2Config | None = Field(default=None, alias="vagrant-libvirt")
    vagrant_virtualbox: VmdkConfig | None = Field(default=None, alias="vagrant-virtualbox")

    @model_validator(mode="after")
    def _levels(self) -> "FormatsConfig":
        if self.raw_xz is not None and self.raw_xz.level > MAX_XZ:
            raise ValueError(f"raw.xz: level {self.raw_xz.level} is too high: xz knows 0 … {MAX_XZ}")
        if self.raw_zst is not None and self.raw_zst.level < 1:
            raise ValueError("raw.zst: level 0 is too low: zstd knows 1 … 19")
        return self


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
            "as smoke.installed, for this image: firmware under which its disk is held against all criteria"
        ),
    )
    login: Login = Field(
        default=Login.CLOUD_INIT,
        description="who lets the tester in: a seed's key through cloud-init, or Vagrant's key",
    )
    formats: FormatsConfig
