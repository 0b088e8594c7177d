"""imagebuild with small disks and simulated guests: `python -m tests.faults.small ARGUMENTS OF imagebuild`.

Everything else is the product's own, from pulling the commit to signing the release. In place of an installed
system the disk holds the files of the tree: written as root through a loop device and a private mount
namespace, and read back through QEMU's export (FUSE), the doors that the real steps use. Guests are programs
that run for a moment; their cells are written as tests/vm/simulated.py does.

    FAULTS_SETTLED     a file to which the key of each artifact is added that this process finished
    FAULTS_CLOCK       seconds by which this process's clock is wrong
    FAULTS_SPACE       any text: how much a build needs is not looked at before it begins
"""

import os
import time
from pathlib import Path

from imagebuild.cli.main import main
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.store import Scratch, StoredArtifact
from imagebuild.session import build
from imagebuild.smoke import attempts
from imagebuild.tools import accelerator
from imagebuild.wiring import disks
from tests.faults import small_steps
from tests.vm import simulated

SETTLED, CLOCK, SPACE = "FAULTS_SETTLED", "FAULTS_CLOCK", "FAULTS_SPACE"


def note_settled(file: Path) -> None:
    """Let the store write down which artifacts it finishes."""
    settle = DirectoryStore.settle

    def settled(
        self: DirectoryStore, scratch: Scratch, kind: str, key: str, record: StoredArtifact
    ) -> StoredArtifact:
        made = settle(self, scratch, kind, key, record)
        with file.open("a") as stream:
            stream.write(f"{kind}-{key}\n")
        return made

    DirectoryStore.settle = settled  # type: ignore[method-assign]


def set_clock(wrong: float) -> None:
    """Let the clock be wrong: date.today() asks time.time() (CPython 3.11, _datetimemodule.c, date_today)."""
    right = time.time
    time.time = lambda: right() + wrong


def arrange() -> None:
    """Put everything small into its place."""
    setattr(disks, "install_disk", small_steps.install_disk)  # noqa: B010  # not its own to export
    setattr(disks, "inspect_image", small_steps.inspect_image)  # noqa: B010  # not its own to export
    simulated.SECONDS = small_steps.GUEST_SECONDS
    attempts.run_once = small_steps.run_once
    accelerator.probe = small_steps.probe
    if os.environ.get(SPACE):
        build.check_space = lambda store, needed: None  # noqa: ARG005  # names are the product's
    if os.environ.get(CLOCK):
        set_clock(float(os.environ[CLOCK]))
    if os.environ.get(SETTLED):
        note_settled(Path(os.environ[SETTLED]))


if __name__ == "__main__":
    arrange()
    main()
