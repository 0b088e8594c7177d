"""Which accelerator QEMU can use here: found out by running a tiny guest with a deadline, never by
access(/dev/kvm).

A stock kernel with `panic=-1` and no root file system prints its panic and ends in a second of native time. A
/dev/kvm that opens and answers but hangs stock kernels (nested paravirtualisation) does not get that far.
"""

import glob
import hashlib
import json
import os
import platform
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imagebuild import steplog
from imagebuild.architectures.registry import DEFAULT, builder_architecture, guest_of
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.tools import command, load, temporary

# in seconds that QEMU had of the machine, which may be a busy one
DEADLINE = {"kvm": 15.0, "tcg": 180.0}
PATIENCE = 4.0
# CPU seconds of QEMU from its start to the panic on a machine with a working KVM
NATIVE_SECONDS = 1.2
# a machine changes: what was measured is measured again after that
RECORD_AGE = timedelta(days=7)
PANIC = b"Kernel panic - not syncing"
KERNELS = ("/boot/vmlinuz-*", "/lib/modules/*/vmlinuz", "/usr/lib/modules/*/vmlinuz")


# how many times slower than native a guest of another architecture is taken for at least: what is measured
# here is this machine's own
FOREIGN_SLOWNESS = 12.0


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """What to hand to QEMU, how many times slower than native a guest is (in CPU time), why this one, and
    when that was measured (ISO 8601).

    `cpu` is QEMU's model of the processor; empty: `model`. `arch` is the guests' architecture.
    """

    name: str
    slowness: float
    reason: str
    measured: str = ""
    cpu: str = ""
    arch: str = DEFAULT

    @property
    def program(self) -> str:
        """QEMU's program for guests of the architecture."""
        return guest_of(self.arch).program

    @property
    def model(self) -> str:
        """QEMU's `-cpu`."""
        return self.cpu or ("host" if self.name == "kvm" else guest_of(self.arch).processors[1])

    @property
    def cores(self) -> int:
        """How many processors a guest has where nobody says: emulated ones wait for each other
        (docs/guests.md).
        """
        return 2 if self.name == "kvm" else 1

    @property
    def argv(self) -> list[str]:
        """QEMU's options for it."""
        return ["-accel", "kvm" if self.name == "kvm" else "tcg,thread=multi", "-cpu", self.model]

    def of(self, arch: str) -> "Accelerator":
        """Return what runs guests of an architecture here: nothing but emulation when it is another than this
        machine's. Raises BuildError for one that guests cannot be of.
        """
        if arch == self.arch:
            return self
        guest_of(arch)
        reason = f"guests of {arch} are emulated on a machine of {self.arch}"
        slowness = max(self.slowness, FOREIGN_SLOWNESS)
        return Accelerator(name="tcg", slowness=slowness, reason=reason, measured=self.measured, arch=arch)

    def suited(self, level: int, wanted: str | None = None) -> "Accelerator":
        """Return it with the processor that a tree built for an x86-64 level needs (0: nobody knows), or the
        one that was configured.

        Raises BuildError for a level that cannot be emulated.
        """
        if wanted is not None:
            return replace(self, cpu=wanted)
        if self.name == "kvm":
            return self
        processors = guest_of(self.arch).processors
        if level > max(processors):
            raise BuildError(
                f"the tree is built for x86-64-v{level}, which QEMU cannot emulate (it has no AVX-512)",
                hint="test it on a machine with KVM and such a processor, or set smoke.cpu",
            )
        return replace(self, cpu=processors[level or max(processors)])


def probe(cache: Path, *, kernel: Path | None = None) -> Accelerator:
    """Return the fastest accelerator that works, remembered for a week, this boot of the builder, this QEMU
    and this kernel.

    Raises MissingToolError when there is no QEMU, or no kernel to try.
    """
    kernel = kernel or _builder_kernel()
    guest = guest_of(builder_architecture())
    identity = [
        _boot_id(),
        command.version(guest.program),
        str(kernel),
        str(kernel.stat().st_mtime_ns),
        platform.release(),
        str(os.access("/dev/kvm", os.W_OK)),
        guest.processors[1],
    ]
    file = cache / "accelerator" / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}.json"
    remembered = _read(file)
    if remembered is not None:
        return remembered
    measured = replace(
        _probe(kernel),
        arch=builder_architecture(),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(measured)))
    partial.rename(file)
    return measured


def _read(file: Path) -> Accelerator | None:
    """Return what was measured not too long ago; None for anything else, also for a record without a date,
    which counted time by the clock.
    """
    try:
        record = Accelerator(**json.loads(file.read_text()))
        age = datetime.now(UTC) - datetime.fromisoformat(record.measured)
    except (OSError, ValueError, TypeError):
        return None
    return record if timedelta(0) <= age < RECORD_AGE else None


def _probe(kernel: Path) -> Accelerator:
    reason = "/dev/kvm cannot be opened"
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        seconds = _try(kernel, _candidate("kvm"))
        if seconds is not None:
            return Accelerator(
                name="kvm",
                slowness=max(1.0, seconds / NATIVE_SECONDS),
                reason=f"a guest under KVM panicked as it should after {seconds:.1f} CPU s",
            )
        reason = f"/dev/kvm opens, but a stock kernel hung under it for {DEADLINE['kvm']:.0f} s"
    seconds = _try(kernel, _candidate("tcg"))
    if seconds is None:
        raise MissingToolError(
            f"QEMU cannot run a guest here: no panic of {kernel} within {DEADLINE['tcg']:.0f} s, emulated",
            hint="see the log",
        )
    return Accelerator(
        name="tcg",
        slowness=max(1.0, seconds / NATIVE_SECONDS),
        reason=f"{reason}; the emulated guest took {seconds:.1f} CPU s",
    )


def _candidate(name: str) -> Accelerator:
    return Accelerator(name=name, slowness=1, reason="", arch=builder_architecture())


def _try(kernel: Path, accelerator: Accelerator) -> float | None:
    """Return the CPU seconds that QEMU took until a kernel without a root file system panicked; None when it
    did not.

    Not those of the clock: on a busy machine they say more of the others than of this one.
    """
    deadline = DEADLINE[accelerator.name]
    with temporary.file("console") as console:
        process = command.Process(_trial(kernel, accelerator, console))
        meter = load.Meter(lambda: load.read_threads(process.pid))
        try:
            while meter.seconds < deadline and meter.wall < PATIENCE * deadline:
                spent = load.cpu_seconds(process.pid)
                if console.exists() and PANIC in console.read_bytes():
                    return max(spent, load.cpu_seconds(process.pid))
                meter.look()
                if not process.alive:
                    break
                time.sleep(0.1)
        finally:
            process.end(grace=0.5)
        steplog.note(f"{accelerator.name}: no panic within {deadline:.0f} s: {process.complaint()[-300:]}")
        return None


def _trial(kernel: Path, accelerator: Accelerator, console: Path) -> list[str | Path]:
    guest = guest_of(accelerator.arch)
    return [
        guest.program,
        *accelerator.argv,
        *["-machine", guest.machine_type, "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"],
        *[
            "-kernel",
            str(kernel),
            "-append",
            f"console={guest.console.partition(',')[0]} panic=-1 root=none",
            "-serial",
            f"file:{console}",
        ],
    ]


def _builder_kernel() -> Path:
    readable = [Path(name) for pattern in KERNELS for name in glob.glob(pattern) if os.access(name, os.R_OK)]  # noqa: PTH207
    if not readable:
        raise MissingToolError(
            "there is no readable kernel in /boot to try QEMU with",
            hint="apt-get install linux-image-amd64, or dnf install kernel-core",
        )
    return max(readable, key=lambda file: file.stat().st_mtime)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
