"""The host's boots: which deployment runs, whether it was booted again, what its journal says."""

from collections.abc import Sequence

from imagebuild.smoke.host.containers import CONTAINER_SECONDS
from imagebuild.smoke.host.programs import COMMAND_SECONDS, Programs
from imagebuild.smoke.hosts.commands import Deployment, booted
from imagebuild.tools import command

REBOOT = ("systemctl", "reboot")

# Fedora's grub2, 08_fallback_counting (and 01_fallback_counting): `boot_counter` counts down in grubenv, and
# at its end the second entry is chosen; greenboot (greenboot-grub2-set-counter) and others set it
GRUB_MENUS = "cat /boot/loader/grub.cfg /boot/grub2/grub.cfg /boot/grub/grub.cfg 2>/dev/null | head -c 262144"
COUNTER_SETTERS = (
    "grep -rlsw boot_counter /usr/lib/systemd /usr/libexec /usr/lib/greenboot /etc/systemd | head -n 1"
)
# Boot Loader Specification, "Boot counting": NAME+TRIES.conf, which loses its count at the first good boot
# (systemd-bless-boot(8)); libostree has it made for each deployment (ostree.repo-config(5),
# sysroot.boot-counting-tries)
COUNTED_ENTRIES = (
    "ls /boot/loader/entries | grep -E '[+][0-9]+(-[0-9]+)?[.]conf$'"
    " || ostree --repo=/ostree/repo config get sysroot.boot-counting-tries 2>/dev/null"
    " | grep -x '[1-9][0-9]*'"
)


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

    def reboot(self, name: str, *, by: Sequence[str] = REBOOT) -> None:
        """Have the host reboot itself, as staged deployments need, and wait for it; `by` is what begins that.
        Fails when it does not come up as another boot.
        """
        assert self.power is not None
        before = self.boot_id()
        # a journal may be kept in memory only
        self.journals.append(self.journal("-o", "short-monotonic"))
        # the connection may break before the answer is there
        self.transport.run(["sudo", "-n", "--", *by], timeout=COMMAND_SECONDS * self.slowness)
        self.note(f"$ {command.describe(by)}  # {name}")
        problem = self.power.restart(name)
        assert problem is None, f"after the reboot ({name}): {problem}"
        assert self.boot_id() != before, f"the host answers, but it was never rebooted ({name})"

    def boot_counter(self) -> str:
        """Return what on this host counts boots that do not succeed, and goes back; empty for nothing."""
        if self.run("systemctl", "cat", "greenboot-healthcheck.service").status == 0:
            return "greenboot"
        # the counter is set when a new deployment waits, by whatever the tree has for that
        if (
            "boot_counter" in self.run("sh", "-c", GRUB_MENUS).output
            and self.run("sh", "-c", COUNTER_SETTERS).output.strip()
        ):
            return "GRUB"
        return "systemd-boot" if self.run("sh", "-c", COUNTED_ENTRIES).output.strip() else ""

    def reboot_until_up(self, name: str, boots: int) -> int:
        """Have the host reboot itself, and boot it again each time that it does not come up; return how many
        boots it took. Fails when it needs more than `boots`.
        """
        assert self.power is not None
        self.journals.append(self.journal("-o", "short-monotonic"))
        self.transport.run(
            ["sudo", "-n", "--", "systemctl", "reboot"], timeout=COMMAND_SECONDS * self.slowness
        )
        problem: str | None = None
        for number in range(1, boots + 1):
            self.note(f"$ systemctl reboot  # {name}, boot {number}")
            problem = self.power.restart(f"{name}-{number}")
            if problem is None:
                return number
        raise AssertionError(f"after {boots} boots ({name}) the host is not up: {problem}")

    def hostname(self) -> str:
        """Return the kernel's host name."""
        return self.succeeds("uname", "-n").strip()

    def journal(self, *options: str) -> str:
        """Return the journal of this boot."""
        answer = self.run("journalctl", "-b", "--no-pager", *options, seconds=CONTAINER_SECONDS, quiet=True)
        assert answer.status == 0, f"journalctl ended with {answer.status}: {answer.complaint.strip()}"
        return answer.output
