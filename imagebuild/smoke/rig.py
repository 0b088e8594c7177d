"""The rig: everything needed to boot one artifact, as often as its criteria want, each time on overlays that
are thrown away.

`Guest` is one machine with one overlay, through all its boots. Each boot is a new QEMU process on the same
overlay, because a warm reboot inside one that emulates can hang in GRUB.
"""

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from imagebuild.errors import BuildError
from imagebuild.kinds import Controller, Firmware, HostKind, Login
from imagebuild.smoke.boot import BOOT_SECONDS, PATIENCE, POLL_SECONDS, Watched, follow_boot, starvation
from imagebuild.smoke.host import Expected, Host, Registry, RigError
from imagebuild.smoke.hosts.registry import commands_of
from imagebuild.smoke.seed import make_seed
from imagebuild.tools import ssh, temporary, vagrant_key
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.console import fatal_line
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.machine import Machine
from imagebuild.tools.qemu.running import Running, started

FIRST = "first"
SETTLED = "settled"
# a unit may take systemd's own 90 s to stop, whatever the accelerator
SHUTDOWN_SECONDS, STOP_SECONDS = 60.0, 150.0
LOGIN_SECONDS = 30.0
# for so long a program may neither print nor let the guest's processors do anything; what is waited for then
# does not depend on their speed
IDLE_SECONDS = 180.0
# what a guest with nothing to do costs, of one processor
IDLE_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Previous:
    """The release before this one."""

    commit: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Rig:
    """Everything needed to boot one artifact for its criteria; travels to the test process as JSON.

    `grow` makes the disk larger than the artifact's, in bytes; `repo` has the commit (None: no release can be
    made from it); `boot_only`: the rest is known from an artifact with the same disk (`bound_too`: but only
    under another firmware); `machine_ids` are those of its other boots; `cells` is where finished cells are
    kept, under `identity` among other things; `atomic`: the tree has that command.
    """

    disk: Path
    disk_format: str
    controller: Controller
    artifact: str
    firmware: Firmware
    login: Login
    commit: str
    version: str
    refspec: str
    host_kind: HostKind
    user: str
    cores: int
    memory: int
    storage: str
    update_url: str
    accelerator: Accelerator
    evidence: Path
    update_verify: bool = True
    allowed_failed_units: tuple[str, ...] = ()
    allowed_messages: tuple[str, ...] = ()
    disk_size: int | None = None
    grow: int = 0
    repo: Path | None = None
    previous: Previous | None = None
    why_no_previous: str = ""
    first_release: bool = False
    atomic: bool = False
    boot_only: bool = False
    bound_too: bool = False
    commit_given: bool = True
    criteria: tuple[str, ...] = ()
    machine_ids: tuple[str, ...] = ()
    cells: Path | None = None
    identity: str = ""


@dataclass(frozen=True, kw_only=True)
class Boot:
    """How the first boot of an artifact went: `problem` is empty when the host answers by ssh. `phases`:
    seconds since power-on.

    `rig`: the problem is the rig's.
    """

    host: Host | None
    expected: Expected
    problem: str
    phases: dict[str, float]
    rig: bool = False


class Guest:
    """One machine with an overlay of its own. Its consoles go to `serial.log`, those of later boots to
    `serial-NAME.log`.
    """

    def __init__(
        self,
        rig: Rig,
        work: Path,
        expected: Expected,
        key: Path,
        ports: Mapping[int, int],
        evidence: Path,
        *,
        isolated: bool = True,
    ) -> None:
        self._rig, self._expected, self.evidence = rig, expected, evidence
        overlay = work / "overlay.qcow2"
        size = (
            (rig.disk_size or disk_image.virtual_size(rig.disk, rig.disk_format)) + rig.grow
            if rig.grow or rig.disk_size
            else None
        )
        disk_image.make_overlay(overlay, rig.disk, rig.disk_format, size=size)
        self._port = ssh.free_port()
        seed = None if rig.login is Login.VAGRANT else make_seed(work, expected, rig.accelerator.slowness)
        self._machine = Machine(
            disk=overlay,
            controller=rig.controller,
            seed=seed,
            firmware=rig.firmware,
            cores=rig.cores,
            memory=rig.memory,
            forward={self._port: 22},
            services=ports,
            isolated=isolated,
            variables=work / "variables.qcow2",
        )
        self._shell = ssh.Shell(user=expected.user, port=self._port, key=key, patience=self._patience)
        self._power = contextlib.ExitStack()
        self._running: Running | None = None
        self._serials: list[Path] = []
        self._boots: list[dict[str, object]] = []
        self._paused: float | None = None
        self._judged = True
        # what happened to the rig and is not the image's fault; whoever tells it takes it out
        self.notes: list[str] = []
        self.host = Host(
            transport=self._shell,
            commands=commands_of(rig.host_kind)[0],
            slowness=rig.accelerator.slowness,
            power=self,
            patience=self._patience,
        )

    def power_on(self, name: str = FIRST, *, snapshot: str = "") -> Watched:
        """Boot, or go on from a snapshot, and watch until ssh answers. Raises RigError, BuildError when QEMU
        itself breaks.

        A guest that hangs before userspace is booted once more, by another QEMU: `notes` and the boot's
        `note` say so.
        """
        watched = self._boot(name, snapshot)
        note = ""
        if watched.hung and not snapshot:
            note = (
                f"the {name} boot hung and was started again by another QEMU:"
                f" {watched.problem.splitlines()[0]}"
            )
            self.notes.append(note)
            self._put_aside(name)
            self._end()
            watched = self._boot(name, snapshot)
            if watched.hung:
                watched = replace(
                    watched, problem=f"it hung at two QEMUs, one after the other; {watched.problem}"
                )
        self._boots.append(
            {
                "name": name,
                "phases": watched.phases,
                "problem": watched.problem,
                **({"note": note} if note else {}),
            }
        )
        (self.evidence / "boots.json").write_text(json.dumps(self._boots, indent=1) + "\n")
        return watched

    def _boot(self, name: str, snapshot: str) -> Watched:
        serial, slowness = self._serial(name), self._rig.accelerator.slowness
        if serial not in self._serials:
            self._serials.append(serial)
        machine = replace(self._machine, snapshot=snapshot)
        self._running = self._power.enter_context(started(machine, self._rig.accelerator, serial))
        watched = follow_boot(
            self._running, self._port, self.evidence, cores=self._rig.cores, slowness=slowness, serial=serial
        )
        if not watched.problem:
            watched = self._logged_in(watched)
        self._judged = bool(watched.problem)
        self._running.screenshot(self._screen(name))
        return watched

    def _serial(self, name: str) -> Path:
        return self.evidence / f"serial{'' if name == FIRST else '-' + name}.log"

    def _screen(self, name: str) -> Path:
        return self.evidence / f"screen{'' if name == FIRST else '-' + name}.png"

    def _put_aside(self, name: str) -> None:
        """Keep what a boot that hung has left under names of its own."""
        for file in (
            self._serial(name),
            self._screen(name),
            self.evidence / "screen.txt",
            self.evidence / "registers.txt",
        ):
            if file.exists():
                file.rename(file.with_stem(f"{file.stem}-hung"))

    def _end(self) -> None:
        """End QEMU, and the connection to its guest."""
        self._shell.drop()
        self._power.close()
        self._power = contextlib.ExitStack()

    def _patience(self, timeout: float) -> Callable[[int], str]:
        """See ssh.Patience: time is what the guest had of its processors, and one that does nothing is given
        up early.
        """
        running = self._running
        assert running is not None
        meter, begun = running.meter, time.monotonic()
        meter.look()
        since, printed, cpu, until = begun, 0, running.cpu_seconds() + meter.waited, meter.seconds + timeout

        def over(now_printed: int) -> str:
            nonlocal since, printed, cpu
            meter.look()
            # who waits for a processor wants to do something
            now, used = time.monotonic(), running.cpu_seconds() + meter.waited
            if now_printed != printed or used - cpu > IDLE_SHARE * (now - since) + 1:
                since, printed, cpu = now, now_printed, used
            if now - since > IDLE_SECONDS:
                return (
                    f"{ssh.NO_ANSWER}: for {now - since:.0f} s it neither printed anything nor used the"
                    " guest's processors"
                )
            late = meter.seconds > until or now - begun > PATIENCE * timeout
            return f"{ssh.NO_ANSWER} within {now - begun:.0f} s" if late else ""

        return over

    def starved(self) -> str:
        """Return what says that the guest did not get its processors since it was switched on; empty when its
        boot was judged already.
        """
        if self._running is None or self._judged:
            return ""
        self._running.meter.look()
        return starvation(self._running.meter, self._running.console())

    def _logged_in(self, watched: Watched) -> Watched:
        """Return how a boot went after which ssh answers: somebody must get in, too. Keys may come a moment
        after sshd.
        """
        assert self._running is not None
        slowness, meter = self._rig.accelerator.slowness, self._running.meter
        over = ssh.by_the_clock(PATIENCE * LOGIN_SECONDS * slowness)
        until = meter.seconds + LOGIN_SECONDS * slowness
        while (answer := self._shell.run(["true"], timeout=LOGIN_SECONDS * slowness)).status != 0:
            meter.look()
            if meter.seconds > until or over(0):
                problem = (
                    f"ssh answers, but {self._expected.user} is not let in: {answer.complaint.strip()[-300:]}"
                )
                starved = starvation(meter, self._running.console())
                # one that lets nobody as far as a log-in says nothing about who is let in
                rig = bool(starved) or ((answer.never_begun or answer.late) and not self.fatal())
                return replace(watched, problem=f"{starved}; {problem}" if starved else problem, rig=rig)
            time.sleep(POLL_SECONDS)
        return watched

    def restart(self, name: str) -> str:
        """See Power."""
        problem = self._wait_for_the_end()
        self._end()
        if problem:
            return problem
        watched = self.power_on(name)
        if watched.rig:
            raise RigError(f"after the reboot ({name}): {watched.problem}")
        return watched.problem

    def _wait_for_the_end(self) -> str:
        assert self._running is not None
        patience = max(STOP_SECONDS, SHUTDOWN_SECONDS * self._rig.accelerator.slowness)
        meter, over = self._running.meter, ssh.by_the_clock(PATIENCE * patience)
        meter.look()
        until = meter.seconds + patience
        while self._running.alive:
            meter.look()
            problem = self.fatal()
            if not problem and (meter.seconds > until or over(0)):
                problem = f"it did not shut down within {patience:.0f} s"
            if problem:
                self._running.screenshot(self.evidence / "screen-failed.png")
                return problem
            time.sleep(POLL_SECONDS)
        if broke := self._running.broke():
            raise RigError(broke)
        return ""

    def save(self) -> None:
        """Keep this moment: `fresh_copy` comes back to it."""
        assert self._running is not None
        self._running.save(SETTLED)

    def fresh_copy(self, name: str) -> None:
        """Go back to the moment of `save`, without a boot. Raises RigError when the machine does not come
        back.
        """
        self._end()
        problem = self.power_on(name, snapshot=SETTLED).problem
        if problem:
            raise RigError(f"the snapshot of the first boot does not come back: {problem}")
        self._set_clock()

    def fatal(self) -> str:
        """See Power."""
        return fatal_line(self._running.console()) if self._running is not None else ""

    def consoles(self) -> str:
        """See Power."""
        return "\n".join(
            serial.read_bytes().decode("utf-8", "replace") for serial in self._serials if serial.exists()
        )

    def pause(self) -> None:
        """Stop the machine's processors: it costs nothing until `resume`."""
        if self._running is not None:
            self._running.execute("stop")
            self._paused = time.monotonic() if self._paused is None else self._paused

    def resume(self) -> None:
        """Let the machine go on, at the time it is now. Raises RigError when it does not answer any more."""
        if self._running is None:
            return
        self._running.execute("cont")
        if self._paused is not None:
            stood, self._paused = time.monotonic() - self._paused, None
            # the connection that was kept may be dead by now
            self._shell.drop()
            over = ssh.by_the_clock(LOGIN_SECONDS * self._rig.accelerator.slowness)
            while not ssh.greets(self._port):
                if over(0):
                    raise RigError(
                        f"the host does not answer since it was woken, after {stood:.0f} s in which it was"
                        " paused"
                    )
                time.sleep(POLL_SECONDS)
        self._set_clock()

    def _set_clock(self) -> None:
        """Set the clock of a machine that stood still: signatures are made meanwhile, and must not come from
        its future.
        """
        self.host.run("date", "-s", f"@{int(time.time())}")

    def screenshot(self, name: str) -> None:
        """Keep what the screen shows as `screen-NAME.png`."""
        if self._running is not None:
            self._running.screenshot(self.evidence / f"screen-{name}.png")

    @property
    def alive(self) -> bool:
        """Whether the machine is on."""
        return self._running is not None and self._running.alive

    def ssh_command(self) -> str:
        """Return what a person types to get in."""
        return self._shell.command()

    def close(self) -> None:
        """Switch the machine off; its overlay is nobody's any more."""
        self._shell.close()
        self._power.close()


@contextlib.contextmanager
def guest(
    rig: Rig,
    evidence: Path,
    *,
    ports: Mapping[int, int] | None = None,
    registry: Registry | None = None,
    web: str = "",
    isolated: bool = True,
) -> Iterator[tuple[Guest, Boot]]:
    """Boot the artifact on an overlay of its own, with a NoCloud seed; yield how that went. Raises RigError
    when the rig breaks.
    """
    evidence.mkdir(exist_ok=True, parents=True)
    with temporary.directory("guest", secret=True) as work:
        key, public_key = vagrant_key.write(work) if rig.login is Login.VAGRANT else ssh.make_key(work)
        expected = replace(_expected(rig, public_key), registry=registry, web=web)
        machine = Guest(rig, work, expected, key, ports or {}, evidence, isolated=isolated)
        try:
            watched = machine.power_on()
            (evidence / "phases.json").write_text(json.dumps(watched.phases, indent=1) + "\n")
            host = None if watched.problem else machine.host
            yield (
                machine,
                Boot(
                    host=host,
                    expected=expected,
                    problem=watched.problem,
                    phases=watched.phases,
                    rig=watched.rig,
                ),
            )
            if host is not None:
                with contextlib.suppress(RigError, AssertionError, BuildError):
                    machine.resume()
                    _collect(host, evidence)
                machine.screenshot("end")
        finally:
            machine.close()


@contextlib.contextmanager
def booted(rig: Rig) -> Iterator[Boot]:
    """Boot the artifact once, without anything around it."""
    with guest(rig, rig.evidence) as (_, boot):
        yield boot


def _expected(rig: Rig, public_key: str) -> Expected:
    token = secrets.token_hex(4)
    return Expected(
        commit=rig.commit,
        version=rig.version,
        refspec=rig.refspec,
        hostname=f"smoke-{token}",
        user=vagrant_key.USER if rig.login is Login.VAGRANT else rig.user,
        public_key=public_key,
        script_marker=f"imagebuild-{token}",
        storage=rig.storage,
        update_url=rig.update_url,
        update_verify=rig.update_verify,
        login=rig.login,
        allowed_failed_units=rig.allowed_failed_units,
        allowed_messages=rig.allowed_messages,
        grown=rig.grow,
        commit_given=rig.commit_given,
    )


def _collect(host: Host, evidence: Path) -> None:
    """Keep what a reader may want to see later."""
    for name, argv in (
        ("journal.txt", ["journalctl", "-b", "--no-pager", "-o", "short-monotonic"]),
        # journal-export-format(5): journalctl --file reads it, after systemd-journal-remote
        ("journal.export", ["journalctl", "-b", "--no-pager", "-o", "export"]),
        (
            "systemd-analyze.txt",
            [
                "sh",
                "-c",
                (
                    "systemctl show --property=DefaultTimeoutStartUSec; systemd-analyze time; systemd-analyze"
                    " blame; systemd-analyze critical-chain"
                ),
            ],
        ),
        ("cloud-init-status.json", ["cat", "/run/cloud-init/status.json"]),
        ("mounts.txt", ["findmnt"]),
    ):
        (evidence / name).write_text(host.run(*argv, seconds=BOOT_SECONDS, quiet=True).output)


def rig_to_json(rig: Rig) -> str:
    """Return a rig as JSON."""
    return TypeAdapter(Rig).dump_json(rig, indent=1).decode()


def rig_from_json(text: str) -> Rig:
    """Return the rig that `rig_to_json` wrote."""
    return TypeAdapter(Rig).validate_json(text)
