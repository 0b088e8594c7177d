"""An artifact is booted for the first time, on an overlay of its own, and what it leaves is kept."""

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.kinds import Login
from imagebuild.smoke import recording
from imagebuild.smoke.boot import BOOT_SECONDS
from imagebuild.smoke.guest import Guest
from imagebuild.smoke.host.errors import RigError
from imagebuild.smoke.host.expected import ContainerRegistry, Expected
from imagebuild.smoke.host.words import Boot, Host
from imagebuild.smoke.saved_boot import SavedBoots
from imagebuild.smoke.trial import Trial
from imagebuild.tools import ssh, temporary, vagrant_key
from imagebuild.tools.served_network import ServedNetwork

ANALYSE = (
    "systemctl show --property=DefaultTimeoutStartUSec; systemd-analyze time; systemd-analyze blame;"
    " systemd-analyze critical-chain"
)
SAVED = "saved-boot.txt"
# what a reader may want to see later: file -> program
LEFT: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("journal.txt", ("journalctl", "-b", "--no-pager", "-o", "short-monotonic")),
    # journal-export-format(5): journalctl --file reads it, after systemd-journal-remote
    ("journal.export", ("journalctl", "-b", "--no-pager", "-o", "export")),
    ("systemd-analyze.txt", ("sh", "-c", ANALYSE)),
    ("cloud-init-status.json", ("cat", "/run/cloud-init/status.json")),
    ("mounts.txt", ("findmnt",)),
)


@contextlib.contextmanager
def guest(
    trial: Trial,
    evidence: Path,
    *,
    ports: Mapping[int, int] | None = None,
    registry: ContainerRegistry | None = None,
    web: str = "",
    isolated: bool = True,
    record: Path | None = None,
    network: ServedNetwork | None = None,
) -> Iterator[tuple[Guest, Boot]]:
    """Boot the artifact on an overlay of its own, with a NoCloud seed; yield how that went. Raises RigError
    when the rig breaks.

    `record`: a directory that takes what is written to the disk from the first moment on (`recording`).
    `network`: one that is served, instead of QEMU's own.
    """
    evidence.mkdir(exist_ok=True, parents=True)
    with temporary.directory("guest", secret=True) as work:
        key, public_key = (
            vagrant_key.write(work) if trial.promise.terms.login is Login.VAGRANT else ssh.make_key(work)
        )
        expected = replace(_expected(trial, public_key), registry=registry, web=web)
        machine = Guest(trial, work, expected, key, ports or {}, evidence, isolated=isolated, network=network)
        try:
            if record is not None:
                recording.record(machine, record, boots=True)
            watched = machine.power_on()
            (evidence / "phases.json").write_text(json.dumps(watched.phases, indent=1) + "\n")
            host = machine.host if watched.problem is None else None
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
def gone_on(
    trial: Trial,
    evidence: Path,
    saved_boots: SavedBoots,
    *,
    ports: Mapping[int, int],
    registry: ContainerRegistry | None,
    web: str,
) -> Iterator[tuple[Guest, Boot] | None]:
    """Let a copy of the artifact's saved first boot go on; yield None when there is none. Raises BuildError,
    RigError when it does not come back.
    """
    with temporary.directory("guest", secret=True) as work:
        saved = saved_boots.take(work)
        if saved is None:
            yield None
            return
        expected = replace(saved.expected, promise=trial.promise, registry=registry, web=web)
        machine = Guest(trial, work, expected, saved.key, ports, evidence, files=saved.files)
        try:
            machine.come_back()
            (evidence / SAVED).write_text(f"went on from the first boot that was saved at {saved.when}\n")
            yield machine, Boot(host=machine.host, expected=expected, problem=None, phases=saved.phases)
            machine.screenshot("end")
        finally:
            machine.close()


@contextlib.contextmanager
def booted(trial: Trial) -> Iterator[Boot]:
    """Boot the artifact once, without anything around it."""
    with guest(trial, trial.evidence) as (_, boot):
        yield boot


def _expected(trial: Trial, public_key: str) -> Expected:
    token = secrets.token_hex(4)
    terms = trial.promise.terms
    return Expected(
        promise=trial.promise,
        hostname=f"smoke-{token}",
        user=vagrant_key.USER if terms.login is Login.VAGRANT else terms.user,
        public_key=public_key,
        script_marker=f"imagebuild-{token}",
        grown=trial.subject.grow,
        firmware=trial.bench.firmware,
    )


def _collect(host: Host, evidence: Path) -> None:
    for name, argv in LEFT:
        (evidence / name).write_text(host.run(*argv, seconds=BOOT_SECONDS, quiet=True).output)
