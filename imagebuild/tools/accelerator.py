"""Which accelerator QEMU can use here: found out by running a tiny guest with a deadline, never by access(/dev/kvm).

A stock kernel with `panic=-1` and no root file system prints its panic and ends in a second of native time. A /dev/kvm that
opens and answers but hangs stock kernels (nested paravirtualisation) does not get that far.
"""

import glob
import hashlib
import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from imagebuild import steplog
from imagebuild.errors import MissingToolError
from imagebuild.tools import command, temporary

QEMU = "qemu-system-x86_64"
DEADLINE = {"kvm": 15.0, "tcg": 180.0}
# seconds from QEMU's start to the panic on a machine with a working KVM
NATIVE_SECONDS = 1.2
PANIC = b"Kernel panic - not syncing"
KERNELS = ("/boot/vmlinuz-*", "/lib/modules/*/vmlinuz", "/usr/lib/modules/*/vmlinuz")


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """What to hand to QEMU, how many times slower than native a guest is, and why this one."""

    name: str
    slowness: float
    reason: str

    @property
    def argv(self) -> list[str]:
        """QEMU's options for it."""
        if self.name == "kvm":
            return ["-accel", "kvm", "-cpu", "host"]
        return ["-accel", "tcg,thread=multi", "-cpu", "max"]


def probe(cache: Path, *, kernel: Path | None = None) -> Accelerator:
    """Return the fastest accelerator that works, remembered for this boot of the host, this QEMU and this kernel.

    Raises MissingToolError when there is no QEMU, or no kernel to try.
    """
    kernel = kernel or _host_kernel()
    identity = [
        _boot_id(),
        command.version(QEMU),
        str(kernel),
        str(kernel.stat().st_mtime_ns),
        platform.release(),
        str(os.access("/dev/kvm", os.W_OK)),
    ]
    file = cache / "accelerator" / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}.json"
    if file.exists():
        return Accelerator(**json.loads(file.read_text()))
    found = _probe(kernel)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(found)))
    partial.rename(file)
    return found


def _probe(kernel: Path) -> Accelerator:
    reason = "/dev/kvm cannot be opened"
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        seconds = _try(kernel, Accelerator(name="kvm", slowness=1, reason=""))
        if seconds is not None:
            return Accelerator(
                name="kvm",
                slowness=max(1.0, seconds / NATIVE_SECONDS),
                reason=f"a guest under KVM panicked as it should after {seconds:.1f} s",
            )
        reason = f"/dev/kvm opens, but a stock kernel hung under it for {DEADLINE['kvm']:.0f} s"
    seconds = _try(kernel, Accelerator(name="tcg", slowness=1, reason=""))
    if seconds is None:
        raise MissingToolError(
            f"QEMU cannot run a guest here: no panic of {kernel} within {DEADLINE['tcg']:.0f} s, emulated", hint="see the log"
        )
    return Accelerator(name="tcg", slowness=max(1.0, seconds / NATIVE_SECONDS), reason=f"{reason}; the emulated guest took {seconds:.1f} s")


def _try(kernel: Path, accelerator: Accelerator) -> float | None:
    """Return the seconds a kernel without a root file system took to panic; None when it did not."""
    deadline = DEADLINE[accelerator.name]
    with temporary.file("console") as console:
        argv: list[str | Path] = [
            QEMU, *accelerator.argv, "-machine", "q35", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", kernel, "-append", "console=ttyS0 panic=-1 root=none", "-serial", f"file:{console}",
        ]  # fmt: skip
        begun = time.monotonic()
        process = command.Process(argv)
        try:
            while time.monotonic() - begun < deadline:
                if console.exists() and PANIC in console.read_bytes():
                    return time.monotonic() - begun
                if not process.alive:
                    break
                time.sleep(0.1)
        finally:
            process.end(grace=0.5)
        steplog.note(f"{accelerator.name}: no panic within {deadline:.0f} s: {process.complaint()[-300:]}")
        return None


def _host_kernel() -> Path:
    readable = [Path(name) for pattern in KERNELS for name in glob.glob(pattern) if os.access(name, os.R_OK)]  # noqa: PTH207
    if not readable:
        raise MissingToolError(
            "there is no readable kernel in /boot to try QEMU with", hint="apt-get install linux-image-amd64, or dnf install kernel-core"
        )
    return max(readable, key=lambda file: file.stat().st_mtime)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
