"""Units of systemd, and the end of the boot."""

import itertools
import time

from imagebuild.smoke.boot import BOOT_SECONDS, POLL_SECONDS
from imagebuild.smoke.host.programs import Programs


class Units(Programs):
    """The state of units, once the boot is over."""

    def unit(self, name: str, *properties: str) -> dict[str, str]:
        """Return properties of a systemd unit."""
        flags = [f"--property={each}" for each in properties]
        lines = self.succeeds("systemctl", "show", name, *flags).splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def failed_units(self) -> list[str]:
        """Return the units that have failed, once the boot is over. Fails when it does not come to an end."""
        self.wait_for_the_boot()
        listing = self.succeeds(
            "systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--full"
        )
        return [line.split()[0] for line in listing.splitlines() if line.strip()]

    def wait_for_the_boot(self) -> None:
        """Wait until systemd has started everything. Asked again and again: `--wait` is younger (systemd 240)
        than many hosts.
        """
        over = self.patience(BOOT_SECONDS * self.slowness)
        for asked in itertools.count():
            state = self.run("systemctl", "is-system-running").output.strip()
            if state not in ("initializing", "starting", ""):
                return
            assert over(asked) is None, (
                f"the boot does not come to an end: the system is still {state or 'silent'}"
            )
            time.sleep(POLL_SECONDS * min(self.slowness, 3))
