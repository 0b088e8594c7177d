"""A host goes into another deployment without a boot of its firmware and kernel: only userspace begins anew.

Sources: systemd-soft-reboot.service(8); ostree 2026.4, ostree-admin-prepare-soft-reboot(1),
src/libostree/ostree-soft-reboot.c and ostree-sysroot-deploy.c
(ostree_sysroot_deployment_can_soft_reboot).
"""

import itertools
import re
import time
from collections.abc import Sequence

from imagebuild.smoke.boot import BOOT_SECONDS, POLL_SECONDS
from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.host.programs import COMMAND_SECONDS
from imagebuild.smoke.host.roots import TRUE, Roots
from imagebuild.smoke.host.units import Units
from imagebuild.tools import command

# the first that have it
OSTREE, SYSTEMD = (2025, 3), 254
SOFT_REBOOT = ("systemctl", "soft-reboot")
# how often this boot's userspace was begun anew: a property of the manager since systemd 256
COUNT = ("systemctl", "show", "--property=SoftRebootsCount", "--value")


class SoftReboots(Roots, Units):
    """Whether there are such reboots, and how one is made."""

    def reason_not_to_soft_reboot(self) -> str | None:
        """Return why this host cannot be rebooted softly into another deployment; None when it can."""
        ostree = re.search(r"Version: '?(\d+)\.(\d+)", self.run("ostree", "--version").output)
        if ostree is None or (int(ostree[1]), int(ostree[2])) < OSTREE:
            return "ostree makes soft reboots ready since 2025.3, and the tree has an older one"
        systemd = re.search(r"systemd (\d+)", self.run("systemctl", "--version").output)
        if systemd is None or int(systemd[1]) < SYSTEMD:
            return "systemd has soft reboots since 254, and the tree has an older one"
        if self.asked_of_root("composefs", "enabled") not in ("verity", "signed", *TRUE):
            return "ostree soft-reboots only hosts with composefs, which the tree does not ask for"
        return None

    def soft_reboot(self, index: int) -> None:
        """Have userspace begin anew in a deployment (its place in the boot order), and wait for it. Raises
        NotTestedError when nobody can tell whether it did.
        """
        before = self._soft_reboots()
        self.succeeds("ostree", "admin", "prepare-soft-reboot", str(index), seconds=BOOT_SECONDS)
        self._begin_anew(before, SOFT_REBOOT)

    def restart_userspace(self, *, by: Sequence[str] = SOFT_REBOOT) -> None:
        """The same in whatever is ready for it, or in the deployment that runs; `by` is what begins that."""
        self._begin_anew(self._soft_reboots(), by)

    def _soft_reboots(self) -> str:
        before = self.succeeds(*COUNT).strip()
        if not before.isdecimal():
            raise NotTestedError("systemd before 256 does not count soft reboots: nobody can wait for one")
        return before

    def _begin_anew(self, before: str, by: Sequence[str]) -> None:
        # the connection may break before the answer is there
        self.transport.run(["sudo", "-n", "--", *by], timeout=COMMAND_SECONDS * self.slowness)
        self.note(f"$ {command.describe(by)}")
        over = self.patience(BOOT_SECONDS * self.slowness)
        for asked in itertools.count():
            # not `run`: a host that is on its way does not answer, and the rig is not to blame for it
            answer = self.transport.run(list(COUNT), timeout=COMMAND_SECONDS * self.slowness)
            if answer.status == 0 and answer.output.strip() not in ("", before):
                break
            dead = self.power.fatal() if self.power is not None else None
            assert dead is None, f"the host died in a soft reboot: {dead}"
            assert not over(asked), "the host does not come back from a soft reboot"
            time.sleep(POLL_SECONDS * min(self.slowness, 3))
        self.wait_for_the_boot()
