"""Which QEMU, exactly, on which processors: it must be the same where a machine's memory is to go on."""

import functools
import hashlib
from pathlib import Path

from imagebuild import files
from imagebuild.tools import command

CPUINFO = Path("/proc/cpuinfo")
# proc(5): what changes from one look to the next
MOVING = ("cpu mhz", "bogomips", "processor", "apicid", "initial apicid", "core id")


@functools.cache
def build_digest(program: str) -> str:
    """Return a sha256 of one of QEMU's programs: two builds of one version may save devices in different
    ways.
    """
    return files.sha256(Path(command.require(program)).resolve())


def builder_processor(cpuinfo: Path = CPUINFO) -> str:
    """Return a sha256 of what the build machine's first processor is: a guest under KVM sees it, an emulated
    one does not.
    """
    first = cpuinfo.read_text("utf-8", "replace").split("\n\n")[0].splitlines()
    kept = [line for line in first if line.partition(":")[0].strip().lower() not in MOVING]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()
