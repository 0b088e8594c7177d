"""What the installed host has on file systems of its own, put together as it will be: what lies in /var above
all.

As Anaconda does it (since 27.19; rpmostreepayload.py, prepareMountTargets): file systems are mounted in the
physical root, and bound to where the host has them. Here into the stateroot's /var, so that whoever looks
there sees what the host will see.
"""

from pathlib import PurePosixPath

from imagebuild.deploy.target import SYSROOT, Argv, Sandbox, place_of
from imagebuild.kickstart.plan import Plan

VAR = "/var"


def stateroot(plan: Plan) -> PurePosixPath:
    """Return where the toolbox has what hosts have as /var."""
    return SYSROOT / "ostree/deploy" / plan.osname / "var"


def mounts(plan: Plan) -> list[str]:
    """Return the host's mount points besides / and those of the boot loader, parents first."""
    return [mount for mount, _, _ in plan.file_systems() if mount not in ("/", "/boot", "/boot/efi")]


def _is_in(mount: str, directory: str) -> bool:
    return mount == directory or mount.startswith(directory + "/")


def _outermost(plan: Plan) -> list[str]:
    """Return the mount points without those below others, which come along with them."""
    found: list[str] = []
    for mount in mounts(plan):
        if not any(_is_in(mount, other) for other in found):
            found.append(mount)
    return found


def _places(plan: Plan) -> list[tuple[PurePosixPath, PurePosixPath]]:
    """Return (where it is mounted, where it is to be) of what goes into /var."""
    return [
        (place_of(mount), stateroot(plan) / mount.removeprefix(VAR).lstrip("/"))
        for mount in _outermost(plan)
        if _is_in(mount, VAR)
    ]


def fill(plan: Plan, target: Sandbox, deployment: PurePosixPath) -> None:
    """Give each new file system what it is going to hide: libostree's first directories, the commit's own
    /var (since 2024.3), their labels.
    """
    commands: list[Argv] = []
    for source, place in _places(plan):
        commands += [["mkdir", "-p", place], ["cp", "-a", f"{place}/.", source]]
    for source, place in _beside(plan, deployment):
        commands += [["chown", f"--reference={place}", source], ["chmod", f"--reference={place}", source]]
    if commands:
        target.run(*commands)


def gather(plan: Plan, target: Sandbox) -> None:
    """Bind into the stateroot's /var what is mounted there on the host."""
    binds: list[Argv] = [["mount", "--rbind", source, place] for source, place in _places(plan)]
    if binds:
        target.run(*binds)


def release(plan: Plan, target: Sandbox) -> None:
    """Take the binds of `gather` away, where what is to be unmounted is not a mount by itself."""
    ends: list[Argv] = [["umount", "-R", place] for _, place in reversed(_places(plan))]
    if ends:
        target.run(*ends)


def _beside(plan: Plan, deployment: PurePosixPath) -> list[tuple[PurePosixPath, PurePosixPath]]:
    """Return (where it is mounted, where it is to be) of what is neither in /var nor in the physical root,
    which is bound as a whole.
    """
    outside = [
        mount for mount in _outermost(plan) if not _is_in(mount, VAR) and not _is_in(mount, "/sysroot")
    ]
    return [(place_of(mount), deployment / mount.lstrip("/")) for mount in outside]


def beside(plan: Plan, deployment: PurePosixPath) -> list[Argv]:
    """Return the commands that bind into a deployment what is not in its /var."""
    return [["mount", "--rbind", source, place] for source, place in _beside(plan, deployment)]
