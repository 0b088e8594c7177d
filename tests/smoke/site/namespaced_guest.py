"""A stand-in for a guest: what the host under test would run, run in a mount namespace of this machine.

Its /run and /tmp are file systems of its own, gone at a reboot, and systemctl is a script that knows one
unit: `start`, `stop`, `reboot`, `soft-reboot` and what is asked of them (systemd 252, systemctl(1)). Shell,
tar, mount and mkfifo are this machine's, and the real ones.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.ostree import OstreeHost
from imagebuild.tools.ssh import Answer

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
SYSTEMCTL = """#!/bin/sh
state=/usr/local/state
case "$1" in
start)
    unit=/run/systemd/system/$3
    setsid sh -c '
        set -a; . "$(sed -n s/^EnvironmentFile=//p "$1")"; set +a
        exec $(sed -n s/^ExecStart=//p "$1")' sh "$unit" >/dev/null 2>&1 </dev/null &
    echo $! >$state/unit
    ;;
stop) kill -KILL -- "-$(cat $state/unit)" 2>/dev/null ;;
reboot) touch $state/down ;;
soft-reboot)
    kill -KILL -- "-$(cat $state/unit)" 2>/dev/null
    echo $(($(cat $state/soft) + 1)) >$state/soft ;;
show) cat $state/soft ;;
is-system-running) echo running ;;
esac
exit 0
"""
HOLD = """
set -eu
mount --make-rprivate /
mount --bind "$1/local" /usr/local
mount --bind "$1/opt" /var/opt
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
echo up
exec sleep 600
"""
DOWN = """
if mountpoint -q /run/imagebuild-criterion/said; then umount -l /run/imagebuild-criterion/said; fi
umount -l /run /tmp
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
"""
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


@dataclass
class NamespacedGuest:
    """The machine below the host, and the way to its programs; `boots` counts."""

    place: Path
    holder: int
    boots: int = 1
    boot_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        words = list(argv[3:]) if list(argv[:2]) == ["sudo", "-n"] else list(argv)
        if words == ["cat", "/proc/sys/kernel/random/boot_id"]:
            return Answer(status=0, output=self.boot_id, complaint="", seconds=0.0)
        if words[0] == "journalctl":
            return Answer(status=0, output="", complaint="", seconds=0.0)
        done = subprocess.run(
            ["nsenter", "-t", str(self.holder), "-m", "--", *words],
            input=stdin,
            capture_output=True,
            check=False,
            env=ENVIRONMENT,
            timeout=30,
        )
        return Answer(
            status=done.returncode,
            output=done.stdout.decode(errors="replace"),
            complaint=done.stderr.decode(errors="replace"),
            seconds=0.0,
        )

    def restart(self, name: str) -> str | None:
        del name
        down = self.place / "local" / "state" / "down"
        for _ in range(40):
            if down.exists():
                break
            time.sleep(0.05)
        else:
            return "it did not shut down within 2 s"
        down.unlink()
        self.kill()
        self.run(["sh", "-c", DOWN], timeout=1)
        self.boots, self.boot_id = self.boots + 1, str(uuid.uuid4())
        return None

    def fatal(self) -> str | None:
        return None

    def kill(self) -> None:
        unit = self.place / "local" / "state" / "unit"
        if unit.is_file():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(unit.read_text()), signal.SIGKILL)


def looks(most: int) -> Callable[[float], Callable[[int], str | None]]:
    """Return a patience that ends after so many looks."""
    return lambda _timeout: lambda asked: "no answer within it" if asked >= most else None


@contextlib.contextmanager
def guest(place: Path, log: Path, *, most: int = 1000) -> Iterator[tuple[NamespacedGuest, Host]]:
    """Yield a guest that is up, and the host on it."""
    for name in ("local/bin", "local/state", "opt"):
        (place / name).mkdir(parents=True)
    (place / "local" / "state" / "soft").write_text("0\n")
    script = place / "local" / "bin" / "systemctl"
    script.write_text(SYSTEMCTL)
    script.chmod(0o755)
    # nobody else's home for programs
    argv = ["unshare", "--mount", "sh", "-c", HOLD, "sh", str(place)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "up\n"
        machine = NamespacedGuest(place, holder.pid)
        try:
            yield (
                machine,
                Host(
                    transport=machine,
                    commands=OstreeHost(),
                    slowness=0.1,
                    evidence=(log,),
                    power=machine,
                    patience=looks(most),
                ),
            )
        finally:
            machine.kill()
            holder.kill()
    shutil.rmtree(place)
