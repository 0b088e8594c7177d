"""The host's boots: which deployment runs, whether it was booted again, what its journal says."""

from imagebuild.smoke.host.containers import CONTAINER_SECONDS
from imagebuild.smoke.host.programs import COMMAND_SECONDS, Programs
from imagebuild.smoke.hosts.commands import Deployment, booted


class Boots(Programs):
    """What runs, and how it is rebooted."""

    def booted(self) -> Deployment:
        """Return the deployment the host has booted."""
        return booted(self.commands.deployments(self))

    def boot_id(self) -> str:
        """Return the kernel's random id of this boot: another one proves that it was booted again
        (random(4)).
        """
        return self.succeeds("cat", "/proc/sys/kernel/random/boot_id").strip()

    def reboot(self, name: str) -> None:
        """Have the host reboot itself, as staged deployments need, and wait for it. Fails when it does not
        come up as another boot.
        """
        assert self.power is not None
        before = self.boot_id()
        # a journal may be kept in memory only
        self.journals.append(self.journal("-o", "short-monotonic"))
        # the connection may break before the answer is there
        self.transport.run(
            ["sudo", "-n", "--", "systemctl", "reboot"], timeout=COMMAND_SECONDS * self.slowness
        )
        self.note(f"$ systemctl reboot  # {name}")
        problem = self.power.restart(name)
        assert problem is None, f"after the reboot ({name}): {problem}"
        assert self.boot_id() != before, f"the host answers, but it was never rebooted ({name})"

    def hostname(self) -> str:
        """Return the kernel's host name."""
        return self.succeeds("uname", "-n").strip()

    def journal(self, *options: str) -> str:
        """Return the journal of this boot."""
        answer = self.run("journalctl", "-b", "--no-pager", *options, seconds=CONTAINER_SECONDS, quiet=True)
        assert answer.status == 0, f"journalctl ended with {answer.status}: {answer.complaint.strip()}"
        return answer.output
