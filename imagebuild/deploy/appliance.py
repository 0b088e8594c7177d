"""The appliance way to populate: everything in one libguestfs session, as an ordinary user, on any host.

The reference for the other ways, and the dear one without KVM: each call costs CPU seconds under emulation, so commands are
sent in batches. They run in the tree's own toolbox, which is the root directory of libguestfs' shell.
"""

import base64
import contextlib
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from imagebuild import steplog
from imagebuild.config import cache_directory
from imagebuild.deploy.plan import Plan
from imagebuild.deploy.target import Argv, File
from imagebuild.errors import BuildError
from imagebuild.tools import accelerator, command, guestfs
from imagebuild.tools.guestfs import Session

MEMORY = 1536  # MiB; the appliance's page cache holds the file systems' metadata
DISK = "/dev/sda"


def unavailable() -> str:
    """Return why this host cannot use the appliance; empty when it can be tried."""
    return guestfs.missing()


class ApplianceTarget:
    """A Target in the libguestfs appliance."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self._session = session
        self._devices = {each.name: f"{DISK}{each.number}" for each in plan.partitions}

    def device(self, name: str) -> str:
        """Return the device path of a partition or volume of the plan."""
        return self._devices[name]

    def activate(self, plan: Plan) -> None:
        """Have device-mapper map the volumes; the toolbox's /dev is the appliance's own."""
        self.run(
            [
                "vgchange",
                "--config=activation { udev_sync=0 udev_rules=0 monitoring=0 } backup { backup=0 archive=0 }",
                "--activate=y",
                plan.group,
            ]
        )
        self._devices |= {each.name: f"/dev/mapper/{plan.group}-{each.name}" for each in plan.volumes}

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        """Run programs in one call of the appliance; what they complain goes to the log."""
        pairs = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "LVM_SYSTEM_DIR": "",
            "HOME": "/",
            "TMPDIR": "/run",
            **(env or {}),
        }
        lines = ["set -e", *[f"export {name}={shlex.quote(value)}" for name, value in pairs.items()]]
        for number, argv in enumerate(commands, start=1):
            words = [str(word) for word in argv]
            steplog.note(f"$ {command.describe(words)}")
            quiet = "" if number == len(commands) else " >&2"
            lines.append(" ".join(shlex.quote(word) for word in words) + quiet)
        return self._session.shell("\n".join(lines))

    def run_inside(self, root: PurePosixPath, argv: Argv, script: str) -> None:
        """Run a script inside the installed system: the appliance is a machine of its own, nothing of the host is in reach."""
        encoded = base64.b64encode(script.encode()).decode()
        inner = " ".join(shlex.quote(str(word)) for word in ["chroot", root, *argv])
        steplog.note(f"$ {inner}")
        self._session.shell(f"echo {encoded} | base64 -d | {inner} 2>&1")

    def write(self, files: Mapping[PurePosixPath, File]) -> None:
        """Write files in one call of the appliance."""
        lines = ["set -e"]
        for path, file in files.items():
            content = base64.b64encode(file.data).decode()
            target = shlex.quote(str(path))
            lines += [
                f"mkdir -p {shlex.quote(str(path.parent))}",
                f"echo {content} | base64 -d > {target}",
                f"chmod {file.mode:04o} {target}",
            ]
        self._session.shell("\n".join(lines))

    def read(self, path: PurePosixPath) -> bytes:
        """Return a file's content."""
        return self._session.read(str(path))


@contextlib.contextmanager
def appliance_target(disk: Path, toolbox: Path, plan: Plan) -> Iterator[ApplianceTarget]:
    """Open the appliance way for a partitioned disk."""
    if unavailable():
        raise BuildError(f"the appliance cannot be used: {unavailable()}", hint=guestfs.HINT)
    emulate = accelerator.probe(cache_directory()).name != "kvm"
    with guestfs.session(disk, toolbox, cache=cache_directory() / "guestfs", emulate=emulate, memory=MEMORY) as session:
        # what programs write lies in memory: the toolbox is read only
        session.shell(
            "set -e; for each in /run /var; do mount -t tmpfs -o mode=0755 tmpfs $each; done; mkdir -p /run/lock/lvm /run/lvm /var/tmp"
        )
        yield ApplianceTarget(session, plan)
