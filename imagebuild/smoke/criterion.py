"""What is known of a criterion without running it: a record beside its test function.

`@criterion(...)` makes the record; the function's name is the criterion's sentence.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import TypeVar

EVERY_HOST = "every host"
BY_ATOMIC = "-by-atomic-host"
F = TypeVar("F", bound=Callable[..., object])


class Group(StrEnum):
    """What a criterion is about."""

    BOOTS = "boots"
    UPGRADES = "upgrades"
    PACKAGES = "packages"
    CONTAINERS = "containers"
    CLOUD_INIT = "cloud-init"
    ACCESS = "access"
    SYSTEM = "system"
    INSTALLER = "installer"


class Trait(StrEnum):
    """What a host, its machine or its release line must have for a criterion to say anything."""

    LAYERING = "layered packages"
    ATOMIC = "the `atomic` command"
    PODMAN = "podman"
    SELINUX = "SELinux"
    COUNTER = "a counter of boots"
    READ_ONLY = "a read-only /sysroot"
    KEPT_ETC = "an /etc that keeps its changes"
    COMPOSEFS = "composefs"
    CHECKED = "composefs that checks content"
    SOFT = "ostree 2025.3 and systemd 254"
    SECURE_BOOT = "Secure Boot"
    CLOUD_INIT = "cloud-init"
    TIME = "a time service"
    LARGER_DISK = "a disk larger than the image"
    MEDIUM = "an installer ISO"
    SIGNATURES = "signatures that hosts check"
    BEFORE = "a release before it"
    OLDER = "older releases in `previous`"
    LINE = "a release line before it"


class Asks(StrEnum):
    """On what a criterion is tested: the settled first boot, a journey from release to release (by the name
    of its fixture), or an installation.
    """

    FIRST_BOOT = "first boot"
    JOURNEY = "journey"
    FRESH_JOURNEY = "fresh_journey"
    SLEPT_JOURNEY = "slept_journey"
    LINE_JOURNEY = "line_journey"
    SOFT_JOURNEY = "soft_journey"
    LAYERING = "layering"
    INSTALLATION = "installation"


# in the order in which they are gone
JOURNEYS = (
    Asks.JOURNEY,
    Asks.FRESH_JOURNEY,
    Asks.SLEPT_JOURNEY,
    Asks.LINE_JOURNEY,
    Asks.SOFT_JOURNEY,
    Asks.LAYERING,
)


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One criterion; `about` is what it promises, as a sentence, and `applies_to` which hosts it is asked of.

    `asks`: on what it is tested; a journey changes the host's releases, and is gone once for each way in
    which the host is told to. `boots`: it is about booting this very artifact under this very firmware, the
    others are about what is on its disk. `firmware_bound`: it boots what was deployed; known under one
    firmware, it is not known under another. `last`: it looks at what all the others have left.
    `needs`: without all of these it says nothing.
    """

    name: str
    group: Group
    about: str
    asks: Asks = Asks.FIRST_BOOT
    boots: bool = False
    firmware_bound: bool = False
    last: bool = False
    applies_to: str = EVERY_HOST
    needs: frozenset[Trait] = frozenset()

    @property
    def changes_releases(self) -> bool:
        """Whether the host is taken from release to release."""
        return self.asks in JOURNEYS

    def cells(self, older: Sequence[str]) -> tuple[str, ...]:
        """Return the names of its cells: one for each `older` release where it is tested from each of them
        (none: one that says so).
        """
        if self.asks is not Asks.SLEPT_JOURNEY or not older:
            return (self.name,)
        return tuple(f"{self.name}-{release}" for release in older)

    @property
    def boots_nothing(self) -> bool:
        """Whether it looks at a host that has settled, however it came there: a saved first boot will do."""
        return self.asks is Asks.FIRST_BOOT and not (self.boots or self.firmware_bound or self.last)


def criterion(
    *, group: Group, about: str, asks: Asks = Asks.FIRST_BOOT, boots: bool = False,
    firmware_bound: bool = False, last: bool = False, applies_to: str = EVERY_HOST,
    needs: Sequence[Trait] = (),
) -> Callable[[F], F]:  # fmt: skip
    """Make a test function a criterion (`Criterion`)."""

    def declare(function: F) -> F:
        function.__dict__["criterion"] = Criterion(
            name=function.__name__.removeprefix("test_").replace("_", "-"),
            group=group,
            about=about,
            asks=asks,
            boots=boots,
            firmware_bound=firmware_bound,
            last=last,
            applies_to=applies_to,
            needs=frozenset(needs),
        )
        return function

    return declare


def record_of(function: object) -> Criterion | None:
    """Return the record of a criterion's test function; None for any other object."""
    record = getattr(function, "__dict__", {}).get("criterion")
    return record if isinstance(record, Criterion) else None


def records_in(module: ModuleType) -> Iterator[Criterion]:
    """Yield the records of a module's criteria, in the order in which they stand there."""
    for member in vars(module).values():
        record = record_of(member)
        if record is not None:
            yield record


# tested by the `install` stage: what it leaves is what all others are tested on
INSTALLATION = Criterion(
    name="installer-media-boots-and-installs",
    group=Group.INSTALLER,
    about="The installer medium boots, and its unattended entry installs a host.",
    asks=Asks.INSTALLATION,
    boots=True,
    applies_to="installer ISOs",
    needs=frozenset({Trait.MEDIUM}),
)
INSTALLS = INSTALLATION.name
