"""The appliance way to populate: everything in one libguestfs session, as an ordinary user, on any host.

The reference for the other ways, and the dear one without KVM: each call costs CPU seconds under emulation,
so commands are sent in batches. They run in the tree's own toolbox, which is the root directory of
libguestfs' shell.
"""

import base64
import contextlib
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from imagebuild import steplog
from imagebuild.config.places import cache_directory
from imagebuild.deploy import filesystems
from imagebuild.deploy.target import Argv, File, environment, mount_tmp
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan
from imagebuild.tools import accelerator, command, guestfs
from imagebuild.tools.guestfs import Session

MEMORY = 1536  # MiB; the appliance's page cache holds the file systems' metadata
DISK = "/dev/sda"


def unavailable() -> str | None:
    """Return why this host cannot use the appliance; None when it can be tried."""
    return guestfs.missing()


def refuses(plan: Plan) -> str | None:
    """Return why this way cannot execute a plan: it executes every one."""
    del plan
    return None


class ApplianceTarget:
    """A Target in the libguestfs appliance."""

    def __init__(self, session: Session, plan: Plan | None) -> None:
        self._session = session
        self._environment = environment(plan)
        self._read_only = False
        self.devices = (
            {each.name: f"{DISK}{each.number}" for each in plan.partitions} if plan is not None else {}
        )

    def device(self, name: str) -> str:
        """Return the device path of a partition or volume of the plan."""
        return self.devices[name]

    def prepare(self, plan: Plan) -> None:
        """Make the file systems on what device-mapper makes of the volume group, and mount them; the
        toolbox's /dev is the appliance's own.
        """
        filesystems.make_mapped(plan, self)

    def reopen(self, plan: Plan, *, read_only: bool) -> None:
        """Mount what the disk has."""
        self._read_only = read_only
        filesystems.activate(plan, self)
        filesystems.mount(plan, self, read_only=read_only)

    def grow(self, name: str, fstype: str, place: PurePosixPath) -> None:
        """Grow a mounted file system to the size of its volume."""
        filesystems.grow(self, name, fstype, place)

    def finish(self, plan: Plan) -> None:
        """Unmount, and give back what is not used."""
        filesystems.close_mapped(plan, self, trim=not self._read_only)

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        """Run programs in one call of the appliance; what they complain goes to the log."""
        lines = [
            "set -e",
            *[
                f"export {name}={shlex.quote(value)}"
                for name, value in {**self._environment, **(env or {})}.items()
            ],
        ]
        for number, argv in enumerate(commands, start=1):
            words = [str(word) for word in argv]
            steplog.note(f"$ {command.describe(words)}")
            quiet = "" if number == len(commands) else " >&2"
            lines.append(" ".join(shlex.quote(word) for word in words) + quiet)
        return self._session.shell("\n".join(lines))

    def run_script(self, argv: Argv, script: str, *, root: PurePosixPath | None = None) -> None:
        """Run a script in the toolbox or the installed system: the appliance is a machine of its own, nothing
        of the host is in reach.
        """
        encoded = base64.b64encode(script.encode()).decode()
        inner = " ".join(
            shlex.quote(str(word)) for word in [*(["chroot", root] if root is not None else []), *argv]
        )
        steplog.note(f"$ {inner}")
        variables = "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in self._environment.items()
        )
        # what it says goes to the log; the last of it into the error
        kept = f"said=$(echo {encoded} | base64 -d | {inner} 2>&1); status=$?"
        shown = (
            'printf "%s\\n" "$said"; if [ $status != 0 ]; then printf "%s\\n" "$said" | tail -n 15 >&2; exit'
            " $status; fi"
        )
        steplog.note(self._session.shell(f"{variables}{kept}; {shown}"))

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
def appliance_target(disk: Path | None, toolbox: Path, plan: Plan | None) -> Iterator[ApplianceTarget]:
    """Open the appliance way for a partitioned disk (or none)."""
    if unavailable():
        raise BuildError(f"the appliance cannot be used: {unavailable()}", hint=guestfs.HINT)
    emulate = accelerator.probe(cache_directory()).name != "kvm"
    with guestfs.session(
        disk, toolbox, cache=cache_directory() / "guestfs", emulate=emulate, memory=MEMORY
    ) as session:
        # what programs write lies in memory: the toolbox is read only
        session.shell(
            "set -e; for each in /run /var; do mount -t tmpfs -o mode=0755 tmpfs $each; done; mkdir -p"
            " /run/lock/lvm /run/lvm /var/tmp; " + shlex.join(mount_tmp("/tmp"))
        )
        if disk is None:
            session.shell("mount -t tmpfs tmpfs /sysroot && mkdir -m 1777 /sysroot/tmp")
        yield ApplianceTarget(session, plan)
