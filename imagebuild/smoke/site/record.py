"""One criterion of a site: its files, where it applies, and how it is run.

The files travel inside the record (a step may run on another machine), and their content is in the keys of
the steps that test.
"""

import base64
import hashlib
import zlib
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from pydantic import Field

from imagebuild.config.fields import Model
from imagebuild.kinds import Firmware
from imagebuild.model import Waiver
from imagebuild.smoke.criterion import Asks, Criterion, Group

# a record's `artifacts` names keys of `images`, and this
ISO = "iso"
# native minutes; more than an hour is nobody's criterion
MINUTES, MOST_MINUTES = 10, 60


class SiteRecord(Model):
    """What stands beside a criterion of a site, as NAME.yaml: where it applies, and what it may do."""

    about: str = Field(default="", description="what it promises, as a sentence")
    artifacts: tuple[str, ...] = Field(
        default=("*",), min_length=1, description="keys of `images`, `iso`, or patterns of them"
    )
    firmware: tuple[Firmware, ...] = Field(default=(), description="under which firmware; empty: under all")
    fresh_boot: bool | None = Field(
        default=None,
        description=(
            "it has a settled first boot of its own, which it may change and reboot; not given: an executable"
            " has (kola's `exclusive`), a pytest file has not"
        ),
    )
    minutes: int | None = Field(
        default=None, ge=1, le=MOST_MINUTES, description="how long it may take, at native speed"
    )
    warn_until: date | None = Field(
        default=None, description="the last day on which it only warns: a failure is waived"
    )
    skippable: bool = Field(default=False, description="77 says that it does not apply; else 77 fails")


@dataclass(frozen=True, kw_only=True)
class SiteFile:
    """A file of a criterion: its path from where the criterion lies, and its bytes (zlib, base64)."""

    path: str
    executable: bool
    content: str

    @classmethod
    def of(cls, path: str, data: bytes, *, executable: bool = False) -> "SiteFile":
        """Return a file with these bytes."""
        return cls(path=path, executable=executable, content=base64.b64encode(zlib.compress(data)).decode())

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return zlib.decompress(base64.b64decode(self.content))


@dataclass(frozen=True, kw_only=True)
class SiteCriterion:
    """A criterion of a site.

    `program` is the executable among `files`, by its path; empty for a function of a pytest file (`module`,
    `function`). `kola` is the name by which kola would know it. `untested` says why it cannot be tested at
    all, `elsewhere` why it does not apply; `seconds` are native ones. `here`: it is for the artifact that is
    tested.
    """

    name: str
    about: str
    files: tuple[SiteFile, ...]
    program: str = ""
    module: str = ""
    function: str = ""
    kola: str = ""
    asks: Asks = Asks.FIRST_BOOT
    artifacts: tuple[str, ...] = ("*",)
    firmware: tuple[Firmware, ...] = ()
    architectures: tuple[str, ...] = ()
    not_architectures: tuple[str, ...] = ()
    memory: int = 0
    seconds: float = MINUTES * 60.0
    skippable: bool = False
    warn_until: date | None = None
    untested: str = ""
    elsewhere: str = ""
    here: bool = True

    @cached_property
    def digest(self) -> str:
        """What stands for it in keys of cells: sha256 of everything in it, but for how it is waived."""
        told = {name: value for name, value in self.__dict__.items() if name not in ("warn_until", "digest")}
        return hashlib.sha256(repr(sorted(told.items())).encode()).hexdigest()

    @property
    def criterion(self) -> Criterion:
        """It, as a criterion like ours. Where it depends on the firmware it is tested under each."""
        bound = bool(self.firmware) or self.asks is Asks.OWN_BOOT
        return Criterion(
            name=self.name, group=Group.SYSTEM, about=self.about, asks=self.asks, firmware_bound=bound
        )

    @property
    def may_reboot(self) -> bool:
        """Whether it has the guest for itself."""
        return self.asks is Asks.OWN_BOOT

    def waiver(self, today: date) -> Waiver | None:
        """Return the word of its own record for a failure; None when it has none."""
        if self.warn_until is None:
            return None
        return Waiver(
            criterion=self.name,
            artifact="*",
            firmware=None,
            who="its own record",
            why="it only warns",
            until=str(self.warn_until),
            expired=self.warn_until < today,
        )

    def reason_not_for(self, firmware: Firmware, arch: str) -> str:
        """Return why it is not asked of a guest; empty when it is."""
        if not self.here:
            return f"its record names other artifacts: {', '.join(self.artifacts)}"
        if self.firmware and firmware not in self.firmware:
            return f"its record names other firmware: {', '.join(self.firmware)}"
        if arch in self.not_architectures or (self.architectures and arch not in self.architectures):
            return f"its record leaves out guests of {arch}"
        return self.elsewhere

    def write(self, directory: Path) -> None:
        """Write its files below a directory."""
        for file in self.files:
            target = directory / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
            target.chmod(0o755 if file.executable else 0o644)
