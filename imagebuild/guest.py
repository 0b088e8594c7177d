"""The guest under test: an artifact booted in QEMU, and the words a criterion may use of it.

`Host` holds the vocabulary, over any transport; `booted` boots an artifact on an overlay and yields how that went. "The
product is wrong" (an assertion in a criterion) and "the rig broke" (`RigError`) are different things.
"""

import configparser
import contextlib
import json
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from imagebuild.errors import BuildError
from imagebuild.hosts import Deployment, HostCommands
from imagebuild.hosts.ostree import OstreeHost
from imagebuild.hosts.rpm_ostree import RpmOstreeHost
from imagebuild.kinds import Controller, Firmware, HostKind, Login
from imagebuild.storage import profile
from imagebuild.tools import command, oci, qemu, ssh, vagrant_key
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.console import describe_failure, fatal_line, phase_reached
from imagebuild.tools.qemu import Machine, Running
from imagebuild.tools.ssh import Answer

# seconds at native speed; multiplied by the accelerator's slowness
COMMAND_SECONDS = 30.0
BOOT_SECONDS = 90.0
STALL_SECONDS = 30.0
POLL_SECONDS = 1.0
CONTAINER_IMAGE = oci.NAME


class RigError(BuildError):
    """The test rig broke: nothing is known about the product."""


class NotTestedError(Exception):
    """A criterion cannot be tested, and says why. Never counts as passed."""


class NotApplicableError(Exception):
    """A criterion says nothing about this kind of artifact, which was checked; the text says why."""


class Transport(Protocol):
    """How a program is run on the host under test."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        """Run a program and return how it ended."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the test rig asked of the guest, and what was released: the criteria compare against it."""

    commit: str
    version: str
    refspec: str
    hostname: str
    user: str
    public_key: str
    script_marker: str
    storage: str
    update_url: str
    update_verify: bool = True
    login: Login = Login.CLOUD_INIT
    allowed_failed_units: tuple[str, ...] = ()


@dataclass
class Host:
    """The words a criterion may use. Everything that is run is written to the criterion's evidence."""

    transport: Transport
    commands: HostCommands
    slowness: float = 1.0
    evidence: Path | None = None
    said: list[str] = field(default_factory=list)

    def run(self, *argv: str, stdin: bytes = b"", seconds: float = COMMAND_SECONDS, root: bool = True) -> Answer:
        """Run a program (as root, through sudo) that may fail, and return how it ended. Raises RigError when the host is gone."""
        answer = self.transport.run(["sudo", "-n", "--", *argv] if root else argv, stdin=stdin, timeout=seconds * self.slowness)
        self._write(argv, answer)
        if answer.status == 255:
            raise RigError(f"the host does not answer to {command.describe(argv)}: {answer.complaint.strip()[-300:]}")
        return answer

    def succeeds(self, *argv: str, stdin: bytes = b"", seconds: float = COMMAND_SECONDS) -> str:
        """Run a program that must succeed and return what it printed."""
        answer = self.run(*argv, stdin=stdin, seconds=seconds)
        assert answer.status == 0, (
            f"`{command.describe(argv)}` ended with {answer.status}: {(answer.complaint or answer.output).strip()[-500:]}"
        )
        return answer.output

    def _write(self, argv: Sequence[str], answer: Answer) -> None:
        text = f"$ {command.describe(argv)}\n{answer.output}{answer.complaint}[{answer.status}, {answer.seconds:.1f} s]\n"
        self.said.append(text)
        if self.evidence is not None:
            with self.evidence.open("a") as stream:
                stream.write(text)

    def booted(self) -> Deployment:
        """Return the deployment the host has booted."""
        return self.commands.booted(lambda argv: self.succeeds(*argv))

    def has(self, program: str) -> bool:
        """Whether a program is installed."""
        return self.run("sh", "-c", 'command -v "$1"', "sh", program).status == 0

    def hostname(self) -> str:
        """Return the kernel's host name."""
        return self.succeeds("uname", "-n").strip()

    def unit(self, name: str, *properties: str) -> dict[str, str]:
        """Return properties of a systemd unit."""
        flags = [f"--property={each}" for each in properties]
        lines = self.succeeds("systemctl", "show", name, *flags).splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def failed_units(self) -> list[str]:
        """Return the units that have failed, once the boot is over."""
        self.run("systemctl", "is-system-running", "--wait", seconds=BOOT_SECONDS)
        listing = self.succeeds("systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--full")
        return [line.split()[0] for line in listing.splitlines() if line.strip()]

    def wait_for_cloud_init(self) -> dict[str, object]:
        """Return cloud-init's result.json (`v1`), which appears when its final stage is over. Fails when it does not appear."""
        deadline = time.monotonic() + BOOT_SECONDS * self.slowness
        while True:
            answer = self.run("cat", "/run/cloud-init/result.json")
            if answer.status == 0 and answer.output.strip():
                result: dict[str, object] = json.loads(answer.output)["v1"]
                return result
            stage = self.unit("cloud-final.service", "ActiveState", "UnitFileState", "LoadState")
            assert stage.get("LoadState") != "masked", "cloud-final.service is masked: cloud-init never ends"
            assert stage.get("ActiveState") != "failed", "cloud-final.service has failed"
            assert time.monotonic() < deadline, "cloud-init did not write /run/cloud-init/result.json"
            time.sleep(POLL_SECONDS * min(self.slowness, 3))

    def has_cloud_init(self, expected: Expected) -> None:
        """Let cloud-init's criteria go on only where it is at work; a Vagrant box must have it masked, which is checked."""
        if expected.login is Login.VAGRANT:
            units = ("cloud-init-local.service", "cloud-init.service", "cloud-config.service", "cloud-final.service")
            loaded = [unit for unit in units if self.unit(unit, "LoadState").get("LoadState") not in ("masked", "not-found")]
            assert not loaded, f"a Vagrant box must not run cloud-init, but these are not masked: {', '.join(loaded)}"
            raise NotApplicableError("a Vagrant box: cloud-init is masked (checked)")

    def read(self, path: str) -> str | None:
        """Return a file's text, or None when there is no such file."""
        answer = self.run("cat", path)
        return answer.output if answer.status == 0 else None

    def remote(self, name: str) -> dict[str, str]:
        """Return the settings of an OSTree remote: of /etc/ostree/remotes.d, or of the repository itself (ostree.repo-config(5)); empty for none."""
        section = f'remote "{name}"'
        for path in (f"/etc/ostree/remotes.d/{name}.conf", "/sysroot/ostree/repo/config"):
            config = configparser.ConfigParser(interpolation=None)
            config.read_string(self.read(path) or "")
            if config.has_section(section):
                return dict(config[section])
        return {}

    def storage_problem(self, storage: str) -> str:
        """Return what is wrong with container storage as a profile promises it; empty when nothing is."""
        found = profile(storage)
        if found is None:
            raise NotTestedError(f"this imagebuild cannot check the storage profile {storage}")
        return found.problem(lambda argv: self.succeeds(*argv))

    def container_runtimes(self) -> list[str]:
        """Return which of docker and podman the host has."""
        return [name for name in ("docker", "podman") if self.has(name)]

    def load_container_image(self, runtime: str) -> None:
        """Load the test's container image from a file: no network."""
        self.succeeds(runtime, "load", stdin=oci.busybox_archive(), seconds=2 * COMMAND_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Rig:
    """Everything needed to boot one artifact for its criteria; travels to the test process as JSON."""

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
    disk_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Boot:
    """How a boot went: `problem` is empty when the host answers by ssh. `phases` maps each phase reached to seconds since power-on."""

    host: Host | None
    expected: Expected
    problem: str
    phases: dict[str, float]


@contextlib.contextmanager
def booted(rig: Rig) -> Iterator[Boot]:
    """Boot the artifact on an overlay with a NoCloud seed; yield how that went. Raises RigError when the rig itself breaks."""
    with tempfile.TemporaryDirectory(prefix="imagebuild-guest-") as temporary:
        work = Path(temporary)
        vagrant = rig.login is Login.VAGRANT
        key, public_key = vagrant_key.write(work) if vagrant else ssh.make_key(work)
        expected = _expected(rig, public_key)
        overlay = work / "overlay.qcow2"
        qemu.make_overlay(overlay, rig.disk, rig.disk_format, size=rig.disk_size)
        port = ssh.free_port()
        machine = Machine(
            disk=overlay, controller=rig.controller, seed=None if vagrant else make_seed(work, expected), firmware=rig.firmware,
            cores=rig.cores, memory=rig.memory, forward={port: 22},
        )  # fmt: skip
        with qemu.started(machine, rig.accelerator, rig.evidence / "serial.log") as running:
            shell = ssh.Shell(user=expected.user, port=port, key=key)
            problem, phases = _follow_boot(running, port, rig)
            (rig.evidence / "phases.json").write_text(
                json.dumps({name: round(seconds, 1) for name, seconds in phases.items()}, indent=1) + "\n"
            )
            running.screenshot(rig.evidence / "screen.png")
            if problem:
                yield Boot(host=None, expected=expected, problem=problem, phases=phases)
                return
            kind: HostCommands = RpmOstreeHost() if rig.host_kind is HostKind.RPM_OSTREE else OstreeHost()
            host = Host(transport=shell, commands=kind, slowness=rig.accelerator.slowness)
            try:
                yield Boot(host=host, expected=expected, problem="", phases=phases)
                _collect(host, rig.evidence)
                running.screenshot(rig.evidence / "screen-end.png")
            finally:
                shell.close()


def _expected(rig: Rig, public_key: str) -> Expected:
    token = secrets.token_hex(4)
    return Expected(
        commit=rig.commit, version=rig.version, refspec=rig.refspec, hostname=f"smoke-{token}",
        user=vagrant_key.USER if rig.login is Login.VAGRANT else rig.user, public_key=public_key, script_marker=f"imagebuild-{token}",
        storage=rig.storage, update_url=rig.update_url, update_verify=rig.update_verify, login=rig.login, allowed_failed_units=rig.allowed_failed_units,
    )  # fmt: skip


def make_seed(directory: Path, expected: Expected) -> Path:
    """Write a NoCloud seed: an ISO labelled `cidata` with user-data and meta-data (cloud-init, "NoCloud")."""
    files = directory / "seed"
    files.mkdir()
    script = f"#!/bin/sh\necho {expected.script_marker} > /var/tmp/imagebuild-user-script\n"
    user_data = {
        "ssh_authorized_keys": [expected.public_key],
        "write_files": [{"path": "/var/tmp/imagebuild-script.sh", "permissions": "0755", "content": script}],
        "runcmd": [["/var/tmp/imagebuild-script.sh"]],
    }
    (files / "user-data").write_text("#cloud-config\n" + json.dumps(user_data) + "\n")
    (files / "meta-data").write_text(f"instance-id: iid-{expected.hostname}\nlocal-hostname: {expected.hostname}\n")
    seed = directory / "seed.iso"
    command.run(["xorriso", "-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o", seed, files])
    return seed


class Movement:
    """Whether a guest still does something: on its console, or with its processors."""

    def __init__(self, running: Running, cores: int) -> None:
        self._running, self._cores = running, cores
        self._since, self._seen, self._cpu = time.monotonic(), 0, 0.0

    def idle_seconds(self) -> float:
        """Return for how long nothing has moved."""
        now, seen, cpu = time.monotonic(), len(self._running.console()), self._running.cpu_seconds()
        if seen != self._seen or cpu - self._cpu > 0.2 * (now - self._since) * self._cores + 5:
            self._since, self._seen, self._cpu = now, seen, cpu
        return now - self._since


def _follow_boot(running: Running, port: int, rig: Rig) -> tuple[str, dict[str, float]]:
    """Watch a boot until ssh answers. Ends at once on a fatal line, and for lack of progress on console and processor."""
    begun = time.monotonic()
    budget, patience = BOOT_SECONDS * rig.accelerator.slowness, STALL_SECONDS * rig.accelerator.slowness
    phases: dict[str, float] = {}
    movement = Movement(running, rig.cores)
    while True:
        time.sleep(POLL_SECONDS)
        now, console = time.monotonic(), running.console()
        phases.setdefault(phase_reached(console), now - begun)
        if ssh.greets(port):
            phases["ssh"] = now - begun
            return "", phases
        problem = fatal_line(console)
        if not running.alive:
            problem = problem or f"QEMU ended during the boot: {running.complaint().strip()[-300:] or 'the guest switched itself off'}"
        idle = movement.idle_seconds()
        if not problem and idle > patience:
            problem = f"nothing moved on console and processor for {idle:.0f} s"
        if not problem and now - begun > budget:
            problem = f"no ssh within {budget:.0f} s"
        if problem:
            return describe_failure(problem, console, rig.evidence), phases


def _collect(host: Host, evidence: Path) -> None:
    """Keep what a reader may want to see later. A host that has stopped answering by now is no reason to fail."""
    with contextlib.suppress(RigError):
        for name, argv in (
            ("journal.txt", ["journalctl", "-b", "--no-pager", "-o", "short-monotonic"]),
            ("systemd-analyze.txt", ["systemd-analyze", "blame"]),
            ("mounts.txt", ["findmnt"]),
        ):
            (evidence / name).write_text(host.run(*argv).output)


def rig_to_json(rig: Rig) -> str:
    """Return a rig as JSON."""
    return TypeAdapter(Rig).dump_json(rig, indent=1).decode()


def rig_from_json(text: str) -> Rig:
    """Return the rig that `rig_to_json` wrote."""
    return TypeAdapter(Rig).validate_json(text)
