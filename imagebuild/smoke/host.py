"""The words a criterion may use of the host under test, over any transport.

"The product is wrong" (an assertion in a criterion) and "the rig broke" (`RigError`) are different things.
What boots the host is `rig`.
"""

import configparser
import contextlib
import io
import itertools
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from imagebuild.errors import BuildError
from imagebuild.kinds import Login
from imagebuild.smoke.boot import BOOT_SECONDS, POLL_SECONDS
from imagebuild.smoke.hosts.commands import Deployment, HostCommands, booted
from imagebuild.smoke.storage.registry import PROFILES
from imagebuild.smoke.trial import Promise, Terms
from imagebuild.tools import command, oci
from imagebuild.tools.ssh import Answer, Patience, by_the_clock

# seconds at native speed; multiplied by the accelerator's slowness
COMMAND_SECONDS = 30.0
# how often a program is begun anew that ssh did not get in to run, and how long to wait before (native
# seconds)
BEGUN_ANEW, ANEW_SECONDS = 3, 5.0
CONTAINER_SECONDS = 60.0
REMOTES = "/etc/ostree/remotes.d"
SCRIPT_LOG, RUNCMD_LOG = "/var/tmp/imagebuild-user-script", "/var/tmp/imagebuild-runcmd"
# what sudo says before anything else where the host's own name is neither in /etc/hosts nor known to a name
# server (sudo 1.8,
# plugins/sudoers/sudoers.c, set_fqdn; newer ones add a colon and the resolver's words)
UNRESOLVED = re.compile(r"\A(?:sudo: unable to resolve host [^\n]*\n?)+")
# longer answers in JSON are logged without their long lists: each `rpm-ostree status --json` has every
# package of every deployment
LONG_ANSWER, LONG_LIST = 2000, 12


@dataclass(frozen=True, kw_only=True)
class Records:
    """What all boots of all guests of an artifact have written: `consoles` and `journals`; `silent` says
    whose journal could not be had.
    """

    consoles: str
    journals: str
    silent: str = ""


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


class Power(Protocol):
    """The machine below the host."""

    def restart(self, name: str) -> str:
        """Wait for the machine to have shut itself down, boot it again from the same disk, and return what
        went wrong; empty for nothing.

        Raises RigError when what went wrong is not the host's fault.
        """

    def fatal(self) -> str:
        """Return what on the console says that the host is dead; empty for nothing."""


@dataclass(frozen=True, kw_only=True)
class Registry:
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

    `user` is who logs in, `grown` by how many bytes the disk is larger than the artifact's.
    """

    promise: Promise
    hostname: str
    user: str
    public_key: str
    script_marker: str
    grown: int = 0
    registry: Registry | None = None
    web: str = ""

    @property
    def terms(self) -> Terms:
        """The release line's."""
        return self.promise.terms


@dataclass
class Host:
    """The words a criterion may use. Everything that is run is written to the criterion's evidence.
    `patience` is how long things are waited for.
    """

    transport: Transport
    commands: HostCommands
    slowness: float = 1.0
    evidence: tuple[Path, ...] = ()
    power: Power | None = None
    patience: Patience = by_the_clock
    journals: list[str] = field(default_factory=list)
    # whether it was said that sudo cannot resolve the host's name
    unresolved: bool = False

    def run(
        self,
        *argv: str,
        stdin: bytes = b"",
        seconds: float = COMMAND_SECONDS,
        root: bool = True,
        quiet: bool = False,
    ) -> Answer:
        """Run a program (as root, through sudo) that may fail, and return how it ended. Raises RigError when
        the host is gone.

        `quiet`: what it prints goes elsewhere, and is not repeated in the evidence.
        """
        words = ["sudo", "-n", "--", *argv] if root else argv
        answer = self.transport.run(words, stdin=stdin, timeout=seconds * self.slowness)
        for _ in range(BEGUN_ANEW):
            if not answer.never_begun or (self.power is not None and self.power.fatal()):
                break
            self._write(argv, answer)
            time.sleep(ANEW_SECONDS * self.slowness)
            answer = self.transport.run(words, stdin=stdin, timeout=seconds * self.slowness)
        if root:
            answer = self._without_sudos_words(answer)
        shown = f"({len(answer.output)} characters)\n" if quiet else _without_long_lists(answer.output)
        self._write(argv, replace(answer, output=shown))
        if answer.status == 255:
            self._judge_silence(argv, answer)
        return answer

    def _without_sudos_words(self, answer: Answer) -> Answer:
        """Take away what sudo itself says of the host's name, and write it into the evidence once: as
        released, Fedora's hosts were so.
        """
        said = UNRESOLVED.search(answer.complaint) or UNRESOLVED.search(answer.output)
        if said is None:
            return answer
        if self.evidence and not self.unresolved:
            self.unresolved = True
            self.note(f"# {said.group().splitlines()[0]} (before every command; it is left out from here on)")
        return replace(
            answer, complaint=UNRESOLVED.sub("", answer.complaint), output=UNRESOLVED.sub("", answer.output)
        )

    def _judge_silence(self, argv: Sequence[str], answer: Answer) -> None:
        """Say whose fault it is that a program did not answer. Returns when it did: 255 may be its own
        status.
        """
        program = command.describe(argv)
        dead = self.power.fatal() if self.power is not None else ""
        assert not dead, f"the host died during {program}: {dead}"
        if answer.cut_off:
            raise RigError(
                f"the connection to the host broke during {program}:"
                f" {answer.complaint.strip()[-300:] or 'without a word'}"
            )
        # a program that hangs on a host that answers is the product's fault
        alive = self.transport.run(["true"], timeout=COMMAND_SECONDS * self.slowness).status == 0
        assert not (alive and answer.late), (
            f"`{program}` did not end, on a host that answers: {answer.complaint}"
        )
        if not alive:
            raise RigError(f"the host does not answer to {program}: {answer.complaint.strip()[-300:]}")

    def succeeds(self, *argv: str, stdin: bytes = b"", seconds: float = COMMAND_SECONDS) -> str:
        """Run a program that must succeed and return what it printed."""
        answer = self.run(*argv, stdin=stdin, seconds=seconds)
        assert answer.status == 0, (
            f"`{command.describe(argv)}` ended with {answer.status}:"
            f" {(answer.complaint or answer.output).strip()[-500:]}"
        )
        return answer.output

    def _write(self, argv: Sequence[str], answer: Answer) -> None:
        self.note(
            f"$ {command.describe(argv)}\n{answer.output}{answer.complaint}[{answer.status},"
            f" {answer.seconds:.1f} s]"
        )

    def note(self, text: str) -> None:
        """Write a line into the evidence."""
        for file in self.evidence:
            with file.open("a") as stream:
                stream.write(text + "\n")

    @contextlib.contextmanager
    def noting(self, *files: Path) -> Iterator[None]:
        """Write the evidence to these files, too, until the block ends."""
        before = self.evidence
        self.evidence = (*before, *files)
        try:
            yield
        finally:
            self.evidence = before

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
        assert not problem, f"after the reboot ({name}): {problem}"
        assert self.boot_id() != before, f"the host answers, but it was never rebooted ({name})"

    def write(self, path: str, text: str) -> None:
        """Write a file, and the directories it lies in."""
        self.succeeds("mkdir", "-p", path.rpartition("/")[0])
        # not tee: what it prints would be in the evidence twice
        self.succeeds("sh", "-c", 'cat > "$1"', "sh", path, stdin=text.encode())

    def has(self, program: str) -> bool:
        """Whether a program is installed."""
        return self.run("sh", "-c", 'command -v "$1"', "sh", program).status == 0

    def is_there(self, path: str) -> bool:
        """Whether there is something at a path."""
        return self.run("test", "-e", path).status == 0

    def hostname(self) -> str:
        """Return the kernel's host name."""
        return self.succeeds("uname", "-n").strip()

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
            assert not over(asked), (
                f"the boot does not come to an end: the system is still {state or 'silent'}"
            )
            time.sleep(POLL_SECONDS * min(self.slowness, 3))

    def wait_for_cloud_init(self) -> dict[str, object]:
        """Return cloud-init's result.json (`v1`), which appears when its final stage is over. Fails when it
        does not appear.
        """
        over = self.patience(BOOT_SECONDS * self.slowness)
        for asked in itertools.count():
            answer = self.run("cat", "/run/cloud-init/result.json")
            if answer.status == 0 and answer.output.strip():
                break
            stage = self.unit("cloud-final.service", "ActiveState", "UnitFileState", "LoadState")
            assert stage.get("LoadState") != "masked", "cloud-final.service is masked: cloud-init never ends"
            assert stage.get("ActiveState") != "failed", "cloud-final.service has failed"
            assert not over(asked), "cloud-init did not write /run/cloud-init/result.json"
            time.sleep(POLL_SECONDS * min(self.slowness, 3))
        result: dict[str, object] = json.loads(answer.output)["v1"]
        return result

    def has_cloud_init(self, expected: Expected) -> None:
        """Let cloud-init's criteria go on only where it is at work; a Vagrant box must have it masked, which
        is checked.
        """
        if expected.terms.login is Login.VAGRANT:
            units = (
                "cloud-init-local.service",
                "cloud-init.service",
                "cloud-config.service",
                "cloud-final.service",
            )
            loaded = [
                unit
                for unit in units
                if self.unit(unit, "LoadState").get("LoadState") not in ("masked", "not-found")
            ]
            assert not loaded, (
                f"a Vagrant box must not run cloud-init, but these are not masked: {', '.join(loaded)}"
            )
            raise NotApplicableError("a Vagrant box: cloud-init is masked (checked)")

    def read(self, path: str) -> str | None:
        """Return a file's text, or None when there is no such file."""
        answer = self.run("cat", path)
        return answer.output if answer.status == 0 else None

    def remote(self, name: str) -> dict[str, str]:
        """Return the settings of an OSTree remote: of /etc/ostree/remotes.d, or of the repository itself
        (ostree.repo-config(5)); empty for none.
        """
        _, config = self._remote(name)
        return dict(config[f'remote "{name}"']) if config else {}

    def _remote(self, name: str) -> tuple[str, configparser.ConfigParser | None]:
        for path in (f"{REMOTES}/{name}.conf", "/sysroot/ostree/repo/config"):
            config = configparser.ConfigParser(interpolation=None)
            config.read_string(self.read(path) or "")
            if config.has_section(f'remote "{name}"'):
                return path, config
        return "", None

    def point_remote(self, name: str, url: str, key: str) -> None:
        """Let upgrades come from the test's server, and trust its key besides the release's; nothing else of
        the remote changes.
        """
        path, config = self._remote(name)
        assert config is not None, f"the host has no remote {name}: no upgrade will ever be found"
        section = config[f'remote "{name}"']
        section["url"] = url
        for elsewhere in ("contenturl", "metalink"):
            section.pop(elsewhere, None)
        if section.get("gpg-verify", "true") == "true":
            file = "/etc/ostree/imagebuild-test.asc"
            self.write(file, key)
            # a keyring of the remote counts beside gpgkeypath, but instead of the global one, whose keys it
            # must have then
            alone = section.get("gpgkeypath") or self.is_there(f"/sysroot/ostree/repo/{name}.trustedkeys.gpg")
            # (a tree without global keys has nothing there)
            more = (
                []
                if alone
                else self.run("find", "/usr/share/ostree/trusted.gpg.d", "-name", "*.gpg").output.split()
            )
            keys = [word for each in (file, *more) for word in ("-k", each)]
            self._in_sysroot("ostree", "remote", "gpg-import", name, *keys)
        text = io.StringIO()
        config.write(text, space_around_delimiters=False)
        if path.startswith("/sysroot/"):
            self._in_sysroot("sh", "-c", 'cat > "$1"', "sh", path, stdin=text.getvalue().encode())
        else:
            self.write(path, text.getvalue())

    def _in_sysroot(self, *argv: str, stdin: bytes = b"") -> None:
        """Run a program that writes into /sysroot, which is read-only on newer hosts: in a mount namespace,
        as ostree itself does it.
        """
        self.succeeds(
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mount -o remount,rw /sysroot; exec "$@"',
            "sh",
            *argv,
            stdin=stdin,
        )

    def storage_problem(self, storage: str) -> str | None:
        """Return what is wrong with container storage as a profile promises it; None when nothing is."""
        profile = PROFILES.get(storage)
        if profile is None:
            raise NotTestedError(f"this imagebuild cannot check the storage profile {storage}")
        return profile.problem(lambda argv: self.succeeds(*argv))

    def root_takes_all(self, storage: str) -> bool:
        """Whether a profile keeps containers on the root file system, which takes the whole disk."""
        profile = PROFILES.get(storage)
        return profile is not None and profile.root_takes_all

    def storage_layout(self) -> str:
        """Return what volumes and mounts there are, for a comparison of two boots."""
        volumes = self.run(
            "lvs", "--noheadings", "--units", "b", "--nosuffix", "-o", "vg_name,lv_name,lv_size,vg_free"
        ).output
        disks = self.succeeds(
            "lsblk", "--noheadings", "--list", "--bytes", "-o", "NAME,SIZE,TYPE", "/dev/" + self.root_disk()
        )
        mounts = self.succeeds("findmnt", "--noheadings", "--raw", "-o", "TARGET,SOURCE,FSTYPE")
        # which deployment is mounted changes with every release, and what containers have mounted now is not
        # the host's layout
        rows = [re.sub(r"\[\S*\]", "", line) for line in sorted(mounts.splitlines()) if " /dev/" in line]
        kept = [row for row in rows if "/containers/" not in row and "/docker/" not in row]
        return "\n".join([*sorted(volumes.splitlines()), *sorted(disks.splitlines()), *kept])

    def root_disk(self) -> str:
        """Return the name of the disk that / lies on, such as vda (lsblk(8), --inverse)."""
        source = self.succeeds("findmnt", "--noheadings", "-o", "SOURCE", "/sysroot").split("[")[0].strip()
        rows = self.succeeds(
            "lsblk", "--noheadings", "--list", "--inverse", "-o", "NAME,TYPE", source
        ).splitlines()
        return next((row.split()[0] for row in rows if row.split()[1] == "disk"), "")

    def container_runtimes(self) -> list[str]:
        """Return which of docker and podman the host has."""
        return [name for name in ("docker", "podman") if self.has(name)]

    def pull_container_image(self, runtime: str, expected: Expected) -> str:
        """Pull the test's image from the test's registry, whose authority is made known before, if it is not
        there yet; return its name.
        """
        if expected.registry is None:
            raise NotTestedError("there is no registry for this test")
        if (
            self.run(
                runtime, "inspect", expected.registry.image, seconds=CONTAINER_SECONDS, quiet=True
            ).status
            == 0
        ):
            return expected.registry.image
        for base in ("/etc/docker/certs.d", "/etc/containers/certs.d"):
            self.write(f"{base}/{expected.registry.address}/ca.crt", expected.registry.authority)
        self.succeeds(runtime, "pull", expected.registry.image, seconds=2 * CONTAINER_SECONDS)
        return expected.registry.image

    def journal(self, *options: str) -> str:
        """Return the journal of this boot."""
        answer = self.run("journalctl", "-b", "--no-pager", *options, seconds=CONTAINER_SECONDS, quiet=True)
        assert answer.status == 0, f"journalctl ended with {answer.status}: {answer.complaint.strip()}"
        return answer.output


def _without_long_lists(text: str) -> str:
    """Return an answer as it is logged: of one in JSON that is long, each long list is only counted."""
    if len(text) <= LONG_ANSWER or not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.dumps(_counted(json.loads(text)), indent=1) + "\n"
    except ValueError:
        return text


def _counted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _counted(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_counted(each) for each in value] if len(value) <= LONG_LIST else f"({len(value)} entries)"
    return value
