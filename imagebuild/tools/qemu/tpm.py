"""A TPM 2 for a machine: swtpm(8), one process for each QEMU, its state kept in a directory between boots.

QEMU, docs/specs/tpm.rst, "The QEMU TPM emulator device".
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command
from imagebuild.tools.qemu.option import escape

PROGRAM = "swtpm"
SECONDS = 20.0


@contextlib.contextmanager
def emulated(state: Path, control: Path) -> Iterator[None]:
    """Run a TPM with its state in a directory (made if it is not there), its control socket at `control`, for
    the length of the block. Raises BuildError.
    """
    command.require(PROGRAM)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    argv = [
        *(PROGRAM, "socket", "--tpm2", "--tpmstate", f"dir={state}"),
        *("--ctrl", f"type=unixio,path={control}", "--terminate"),
    ]
    process = command.Process(argv, quiet=True)
    try:
        deadline = time.monotonic() + SECONDS
        while not control.exists():
            if not process.alive or time.monotonic() > deadline:
                raise BuildError(f"the emulated TPM does not start: {process.complaint().strip()[-300:]}")
            time.sleep(0.05)
        yield
    finally:
        process.end(grace=2)


def argv_of(control: Path, device: str) -> list[str]:
    """Return QEMU's arguments for the TPM whose control socket that is; `device`: what the machine has."""
    return [
        *["-chardev", f"socket,id=tpm,path={escape(control)}"],
        *["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", f"{device},tpmdev=tpm0"],
    ]
