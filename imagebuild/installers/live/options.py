"""What a configuration says to the live installer."""

from typing import Literal

from pydantic import Field

from imagebuild.config.fields import Model


class LiveConfig(Model):
    """How the live installer's squashfs is compressed: zstd 1 … 22 (15 costs thirty times what 3 does, for an
    eighth less).

    xz is smallest and lz4 quickest to read (emulated machines feel it); both without levels.
    """

    compression: Literal["zstd", "xz", "lz4"] = "zstd"
    level: int = Field(default=15, ge=1, le=22)
