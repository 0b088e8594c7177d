"""The host under test, with all the words a criterion may use of it."""

from dataclasses import dataclass

from imagebuild.smoke.host.access import Access
from imagebuild.smoke.host.boots import Boots
from imagebuild.smoke.host.cloud_init import CloudInit
from imagebuild.smoke.host.containers import Containers
from imagebuild.smoke.host.contents import Contents
from imagebuild.smoke.host.disks import Disks
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.journals import Journals
from imagebuild.smoke.host.leftovers import Leftovers
from imagebuild.smoke.host.secure_boot import SecureBoot
from imagebuild.smoke.host.services import Services
from imagebuild.smoke.host.soft_reboots import SoftReboots
from imagebuild.smoke.host.unit_states import UnitStates


class Host(
    Access, Boots, CloudInit, SoftReboots, Containers, Disks, SecureBoot, Contents, Journals, Leftovers,
    Services, UnitStates,
):  # fmt: skip
    """The host under test."""


@dataclass(frozen=True, kw_only=True)
class Boot:
    """How the first boot of an artifact went: `problem` is None when the host answers by ssh. `phases`:
    seconds since power-on.

    `rig`: the problem is the rig's.
    """

    host: Host | None
    expected: Expected
    problem: str | None
    phases: dict[str, float]
    rig: bool = False
