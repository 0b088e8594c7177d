"""Where a Plan is executed: a place with the tree's own programs, the disk's parts as devices, and its root at /sysroot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from imagebuild.deploy.plan import Plan

SYSROOT = PurePosixPath("/sysroot")
REPO = "/imagebuild/repo"  # the bare repo in the toolbox

Argv = Sequence[str | PurePosixPath]


@dataclass(frozen=True, kw_only=True)
class File:
    """A file to be written."""

    data: bytes
    mode: int = 0o644


class Target(Protocol):
    """Programs run from the tree's toolbox, as root of wherever that is; paths are those of the toolbox."""

    def device(self, name: str) -> str:
        """Return the device path of a partition or volume of the plan."""

    def activate(self, plan: Plan) -> None:
        """Make the plan's volumes, which exist on the disk now, reachable through `device`."""

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        """Run programs one after the other; return the last one's standard output. Raises BuildError at the first that fails."""

    def run_inside(self, root: PurePosixPath, argv: Argv, script: str) -> None:
        """Run an interpreter with a script on its standard input inside the installed system at `root`, with few privileges."""

    def write(self, files: Mapping[PurePosixPath, File]) -> None:
        """Write files, with their parent directories."""

    def read(self, path: PurePosixPath) -> bytes:
        """Return a file's content."""
