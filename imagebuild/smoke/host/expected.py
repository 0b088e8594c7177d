"""What the criteria compare a host with, and what they are given of its boots."""

from dataclasses import dataclass

from imagebuild.kinds import Firmware
from imagebuild.smoke.trial import Promise, Terms
from imagebuild.tools import oci

# where what the seed has run leaves its marks
SCRIPT_LOG, RUNCMD_LOG = "/var/tmp/imagebuild-user-script", "/var/tmp/imagebuild-runcmd"


@dataclass(frozen=True, kw_only=True)
class ContainerRegistry:
    """The test's container registry as the guest sees it (address and port), and the authority that signed
    its certificate (PEM).
    """

    address: str
    authority: str

    @property
    def image(self) -> str:
        """The test's image there."""
        return f"{self.address}/{oci.REPOSITORY}:{oci.TAG}"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the test asked of this guest, and what was promised of it: the criteria compare against it.

    `user` is who logs in, `grown` by how many bytes the disk is larger than the artifact's, `firmware` what
    the machine has.
    """

    promise: Promise
    hostname: str
    user: str
    public_key: str
    script_marker: str
    grown: int = 0
    firmware: Firmware = Firmware.UEFI
    registry: ContainerRegistry | None = None
    web: str = ""

    @property
    def terms(self) -> Terms:
        """The release line's."""
        return self.promise.terms


@dataclass(frozen=True, kw_only=True)
class Records:
    """What all boots of all guests of an artifact have written: `consoles` and `journals`; `silent` says
    whose journal could not be had.
    """

    consoles: str
    journals: str
    silent: str = ""
