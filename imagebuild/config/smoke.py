"""The guest that is tested, what it may say, and what is waived."""

import re
from datetime import date
from typing import Annotated

from pydantic import Field, field_validator

from imagebuild.config.fields import Mebibytes, Model, Word
from imagebuild.kinds import Firmware


class MessageConfig(Model):
    """A message of journal or console that is known and harmless, for now."""

    pattern: str = Field(min_length=4, description="regular expression that is searched in a line")
    why: str = Field(min_length=1)
    until: date = Field(description="the last day on which it is allowed")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from error
        return value


class WaiverConfig(Model):
    """Somebody answers for a criterion that does not hold."""

    criterion: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    artifact: str = Field(default="*", min_length=1, description="pattern of artifact names")
    firmware: Firmware | None = Field(default=None, description="under which firmware; not given: under all")
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    until: date = Field(description="the last day on which it counts")


class SmokeConfig(Model):
    """The guest that boots an artifact."""

    user: Word = Field(description="the default user that cloud-init makes")
    installed: tuple[Firmware, ...] = Field(
        default=(Firmware.UEFI, Firmware.BIOS),
        description=(
            "under which firmware the disk itself is tested against the criteria while its downloads are"
            " still being compressed: under the first against all, under others (and the rest of the image's)"
            " against those about booting; none: the disk itself is not booted"
        ),
    )
    tries: int = Field(
        default=2,
        ge=1,
        le=5,
        description="what fails is tried that often; passing later than at once is `flaky`",
    )
    cores: int | None = Field(
        default=None, ge=1, le=64, description="processors; not given: 2 under KVM, 1 under emulation"
    )
    cpu: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*(,[A-Za-z0-9.+-][A-Za-z0-9._+=-]*)*$")]
        | None
    ) = Field(
        default=None,
        description=(
            "QEMU's -cpu; not given: the build machine's under KVM, the cheapest on which the tree can run"
            " under emulation"
        ),
    )
    memory: Mebibytes = 2048
    failed_units_allowed: dict[str, str] = Field(default={}, description="unit -> why it may fail")
    messages_allowed: tuple[MessageConfig, ...] = Field(
        default=(), description="messages of journal and console that are known"
    )
