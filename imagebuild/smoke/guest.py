"""One machine with one overlay that is thrown away, through all its boots.

Each boot is a new QEMU process on the same overlay, because a warm reboot inside one that emulates can hang
in GRUB.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from imagebuild.config.places import template
from imagebuild.smoke.boot import (
    BACK_SECONDS,
    PATIENCE,
    POLL_SECONDS,
    Course,
    Watched,
    follow_boot,
    starvation,
)
from imagebuild.smoke.guest_machine import GuestFiles, describe_machine, make_files, wrong_time
from imagebuild.smoke.host.errors import RigError
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.registry import HOSTS
from imagebuild.smoke.look import GuestAccess
from imagebuild.smoke.patience import patience_with
from imagebuild.smoke.trial import Trial
from imagebuild.tools import ssh
from imagebuild.tools.console import fatal_line
from imagebuild.tools.qemu.running import Running, started
from imagebuild.tools.relay import relayed
from imagebuild.tools.served_network import ServedNetwork

FIRST, AGAIN = "first", "again"
# snapshots: of this run's first guest, and of a first boot that is kept between runs
SETTLED, SAVED = "settled", "saved"
# what wakes a guest that stood still for long
WAKE = "smoke/wake.sh"
BOOTING = Course()
COMING_BACK = Course(seconds=BACK_SECONDS, late="no ssh from the saved first boot")
# a unit may take systemd's own 90 s to stop, whatever the accelerator
SHUTDOWN_SECONDS, STOP_SECONDS = 60.0, 150.0
LOGIN_SECONDS = 30.0


class Guest:
    """One machine with an overlay of its own, or with the `files` of a saved first boot. Its consoles go to
    `serial.log`, those of later boots to `serial-NAME.log`. On a `network` that is served its clock is wrong
    at first.
    """

    def __init__(
        self,
        trial: Trial,
        work: Path,
        expected: Expected,
        key: Path,
        ports: Mapping[int, int],
        evidence: Path,
        *,
        isolated: bool = True,
        files: GuestFiles | None = None,
        network: ServedNetwork | None = None,
    ) -> None:
        self._trial, self._expected, self.evidence = trial, expected, evidence
        self._port = ssh.free_port()
        self._key = key
        self._files = files or make_files(trial, work, expected)
        self._machine = describe_machine(trial, self._files, {self._port: 22}, ports, isolated=isolated)
        self._relay = contextlib.ExitStack()
        if network is not None:
            self._machine = replace(self._machine, tap=network.tap, clock=wrong_time())
            self._relay.enter_context(relayed(self._port, network.to_guest))
        self._shell = ssh.Shell(user=expected.user, port=self._port, key=key, patience=self._patience)
        self._power = contextlib.ExitStack()
        self._running: Running | None = None
        self._serials: list[Path] = []
        self._boots: list[dict[str, object]] = []
        self._paused: float | None = None
        self._judged = True
        # what is done to the machine as soon as it is on
        self.at_power_on: Callable[[Running], object] | None = None
        # what happened to the rig and is not the image's fault; whoever tells it takes it out
        self.notes: list[str] = []
        self.host = Host(
            transport=self._shell,
            commands=HOSTS[trial.promise.host_kind].commands,
            slowness=trial.bench.accelerator.slowness,
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
        if watched.hung and watched.problem is not None and not snapshot:
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

    def _boot(self, name: str, snapshot: str, course: Course = BOOTING) -> Watched:
        serial, slowness = self._serial(name), self._trial.bench.accelerator.slowness
        if serial not in self._serials:
            self._serials.append(serial)
        machine = replace(self._machine, snapshot=snapshot)
        self._running = self._power.enter_context(started(machine, self._trial.bench.accelerator, serial))
        if self.at_power_on is not None:
            self.at_power_on(self._running)
        watched = follow_boot(
            self._running,
            self._port,
            self.evidence,
            cores=self._trial.bench.cores,
            slowness=slowness,
            serial=serial,
            course=course,
        )
        if watched.problem is None:
            watched = self._logged_in(watched)
        self._judged = watched.problem is not None
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

    def _patience(self, timeout: float) -> Callable[[int], str | None]:
        """See ssh.Patience."""
        assert self._running is not None
        return patience_with(self._running, timeout)

    def starved(self) -> str | None:
        """Return what says that the guest did not get its processors since it was switched on; None when its
        boot was judged already.
        """
        if self._running is None or self._judged:
            return None
        self._running.meter.look()
        return starvation(self._running.meter, self._running.console())

    def _logged_in(self, watched: Watched) -> Watched:
        """Return how a boot went after which ssh answers: somebody must get in, too. Keys may come a moment
        after sshd.
        """
        assert self._running is not None
        slowness, meter = self._trial.bench.accelerator.slowness, self._running.meter
        over = ssh.by_the_clock(PATIENCE * LOGIN_SECONDS * slowness)
        until = meter.seconds + LOGIN_SECONDS * slowness
        while (answer := self._shell.run(["true"], timeout=LOGIN_SECONDS * slowness)).status != 0:
            meter.look()
            if meter.seconds > until or over(0) is not None:
                problem = (
                    f"ssh answers, but {self._expected.user} is not let in: {answer.complaint.strip()[-300:]}"
                )
                starved = starvation(meter, self._running.console())
                # one that lets nobody as far as a log-in says nothing about who is let in
                rig = starved is not None or ((answer.never_begun or answer.late) and not self.fatal())
                return replace(watched, problem=f"{starved}; {problem}" if starved else problem, rig=rig)
            time.sleep(POLL_SECONDS)
        return watched

    def restart(self, name: str) -> str | None:
        """See Power."""
        problem = self._wait_for_the_end()
        self._end()
        if problem is not None:
            return problem
        watched = self.power_on(name)
        if watched.rig:
            raise RigError(f"after the reboot ({name}): {watched.problem}")
        return watched.problem

    def power_cycle(self, name: str) -> Watched:
        """Switch the machine off and on, whatever the guest does, and watch it boot. Raises as `power_on`."""
        self._end()
        return self.power_on(name)

    def _wait_for_the_end(self) -> str | None:
        assert self._running is not None
        patience = max(STOP_SECONDS, SHUTDOWN_SECONDS * self._trial.bench.accelerator.slowness)
        meter, over = self._running.meter, ssh.by_the_clock(PATIENCE * patience)
        meter.look()
        until = meter.seconds + patience
        while self._running.alive:
            meter.look()
            problem = self.fatal()
            if problem is None and (meter.seconds > until or over(0) is not None):
                problem = f"it did not shut down within {patience:.0f} s"
            if problem is not None:
                self._running.screenshot(self.evidence / "screen-failed.png")
                return problem
            time.sleep(POLL_SECONDS)
        if broke := self._running.broke():
            raise RigError(broke)
        return None

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
        if problem is not None:
            raise RigError(f"the snapshot of the first boot does not come back: {problem}")
        self._set_clock()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[tuple[GuestFiles, Path]]:
        """Stop the machine, its memory kept inside its disk's file, while the block runs; yield its files and
        the key that opens it. Then it goes on at the time it is. Raises BuildError, RigError.
        """
        assert self._running is not None
        # a connection that is open now would be half of one to whoever goes on from here
        self._shell.drop()
        time.sleep(POLL_SECONDS)
        self.pause()
        try:
            self._running.save(SAVED)
            self._running.flush()
            yield self._files, self._key
            self._running.forget(SAVED)
        finally:
            self.resume()

    def come_back(self) -> None:
        """Go on from the first boot whose files these are, at the time it is now: no boot, and none of the
        evidence of one. Raises RigError, BuildError.
        """
        problem = self._boot(AGAIN, SAVED, COMING_BACK).problem
        if problem is not None:
            raise RigError(f"the saved first boot does not come back: {problem}")
        script, now = template(WAKE).read_bytes(), str(int(time.time()))
        answer = self.host.run("sh", "-s", "--", now, stdin=script)
        if answer.status != 0:
            raise RigError(f"the clock of the saved first boot cannot be set: {answer.complaint.strip()}")

    def fatal(self) -> str | None:
        """See Power."""
        return fatal_line(self._running.console()) if self._running is not None else None

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
            over = ssh.by_the_clock(LOGIN_SECONDS * self._trial.bench.accelerator.slowness)
            while not ssh.greets(self._port):
                if over(0) is not None:
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
    def running(self) -> Running | None:
        """What runs since the machine was switched on last; None before."""
        return self._running

    @property
    def alive(self) -> bool:
        """Whether the machine is on."""
        return self._running is not None and self._running.alive

    def ssh_command(self) -> str:
        """Return what a person types to get in."""
        return self._shell.command()

    def access(self) -> GuestAccess:
        """Return how a person gets at it."""
        console = self._serials[-1] if self._serials else self._serial(FIRST)
        return GuestAccess(console=console, ssh=self.ssh_command(), alive=self.alive)

    @property
    def overlay(self) -> Path:
        """What it has written to its disk (qcow2)."""
        return self._files.overlay

    def close(self) -> None:
        """Switch the machine off; its overlay is nobody's any more."""
        self._shell.close()
        self._relay.close()
        self._power.close()
