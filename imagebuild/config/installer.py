"""The installer ISO; what its backends are told besides is in their records."""

from typing import Annotated, TypeVar

from pydantic import Field

from imagebuild.config.fields import Mebibytes, Model, Name, Word
from imagebuild.kinds import Firmware

M = TypeVar("M", bound=Model)


class InstallerConfig(Model):
    """The installer ISO, whoever makes it. A configuration has a section for each backend, too."""

    backend: str = "auto"
    name: Name = Field(description="file name without suffix")
    volume_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,31}$")] = Field(
        description=(
            "label of the medium: at most 32 characters (ECMA-119, 8.4.7), and none that lorax would replace"
        )
    )
    variant: Name = "Atomic"
    defaults: Word = Field(description="key of `kickstarts`: what an interactive installation begins with")
    unattended: Word | None = Field(
        default=None, description="key of `kickstarts`: put on the medium, with a boot entry of its own"
    )
    firmware: tuple[Firmware, ...] = Field(
        default=(Firmware.BIOS, Firmware.UEFI), min_length=1, description="under which it is tested"
    )
    disk_size: Mebibytes = Field(default=8192, description="of the disk that the test installs on")
    timeout: int = Field(default=60, ge=0, le=3600, description="seconds the boot menu waits")

    def options(self, model: type[M]) -> M:
        """Return the section of a backend, by its model; the defaults when there is none."""
        return next((value for value in self.__dict__.values() if isinstance(value, model)), model())
