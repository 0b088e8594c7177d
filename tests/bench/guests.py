"""What an emulated guest costs: boots of the demo's disk, and kernel starts, by QEMU, CPU model, cores,
translation buffer and company.

    python -m tests.bench.guests boots --disk DISK [--qemu DIRECTORY …] [--rounds N] CHOICE …
    python -m tests.bench.guests soak --kernel FILE [--qemu DIRECTORY …] [--rounds N] CHOICE …

A choice is MODEL:CORES[:TB-SIZE][xGUESTS], such as `max,la57=off:1` or `Nehalem:1:512x2`. DIRECTORY is where
a package of QEMU was unpacked; `/` is the one that is installed. A boot ends at the log-in prompt, a kernel
start at the panic of a kernel that has no root; CPU seconds are those of the QEMU process. Choices take
turns, so that what else the machine does falls on all of them.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from imagebuild.architectures.x86_64 import PROCESSORS
from tests.data import ROOT

# CPU seconds after which a guest has hung: ten times what the slowest takes
BOOT_SECONDS, START_SECONDS = 900.0, 60.0
WAITING = os.WEXITED | os.WNOHANG | os.WNOWAIT
# another panic is a failure: the kernel got no further than to it
PROMPT, PANIC = b" login:", b"VFS: Unable to mount root fs"
# where `make demo` puts its disk, and what is compared when nobody says
DEMO = ROOT / "build" / "demo" / "store" / "artifacts"
CHOICES = [
    "max:2",
    "max:1",
    *(f"{model}:1" for model in sorted(set(PROCESSORS.values()))),
    f"{PROCESSORS[1]}:2",
    f"{PROCESSORS[1]}:1x2",
]
DATA = ("usr/share/qemu", "usr/share/seabios")


@dataclass(frozen=True)
class Choice:
    """One way to give a guest its processors; `guests` run side by side."""

    qemu: Path
    model: str
    cores: int
    buffer: int
    guests: int

    def __str__(self) -> str:
        version = subprocess.run(
            [self.program, "--version"], capture_output=True, text=True, check=True
        ).stdout.split()[3]
        buffer = f", tb-size {self.buffer}" if self.buffer else ""
        return f"QEMU {version}, {self.model}, {self.cores} core(s){buffer}, {self.guests} guest(s)"

    @property
    def program(self) -> Path:
        """QEMU's binary."""
        return self.qemu / "usr/bin/qemu-system-x86_64"

    def argv(self, memory: int, *more: str) -> list[str]:
        """Return a command line without disk and console."""
        data = (
            []
            if self.qemu == Path("/")
            else [word for name in DATA for word in ("-L", str(self.qemu / name))]
        )
        data += ["-L", "/usr/lib/ipxe/qemu"] if data else []
        buffer = f",tb-size={self.buffer}" if self.buffer else ""
        machine = [
            "-machine",
            "q35",
            "-m",
            str(memory),
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-vga",
            "std",
            "-display",
            "none",
        ]
        processors = ["-accel", f"tcg,thread=multi{buffer}", "-cpu", self.model, "-smp", str(self.cores)]
        return [str(self.program), *data, *processors, *machine, *more]


@dataclass(frozen=True)
class Run:
    """How one guest went; `finished` says whether it got to its end in time."""

    cpu: float
    wall: float
    finished: bool
    tail: str


def parsed(text: str, qemu: Path) -> Choice:
    """Read MODEL:CORES[:TB-SIZE][xGUESTS]."""
    match = re.fullmatch(r"(?P<model>[^:]+):(?P<cores>\d+)(:(?P<buffer>\d+))?(x(?P<guests>\d+))?", text)
    if match is None:
        raise SystemExit(f"{text}: not MODEL:CORES[:TB-SIZE][xGUESTS]")
    return Choice(
        qemu, match["model"], int(match["cores"]), int(match["buffer"] or 0), int(match["guests"] or 1)
    )


def cpu_seconds(process: int) -> float:
    """Return the CPU seconds that a process has taken (proc(5), /proc/pid/stat), also of one that has ended
    and was not waited for.
    """
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(argv: list[str], console: Path, end: bytes, seconds: float) -> Run:
    """Start QEMU and wait for its console to say `end`, for some CPU seconds: a busy machine is not a reason
    to give up.
    """
    begun = time.monotonic()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    said = b""
    try:
        # not poll(): it would take the ended process away
        while (
            cpu_seconds(process.pid) < seconds
            and end not in said
            and os.waitid(os.P_PID, process.pid, WAITING) is None
        ):
            time.sleep(0.1)
            said = console.read_bytes() if console.exists() else b""
        used = cpu_seconds(process.pid)
    finally:
        process.kill()
        process.wait()
    wall = time.monotonic() - begun
    return Run(used, wall, end in said, said[-120:].decode("utf-8", "replace"))


def boot(choice: Choice, disk: Path, work: Path) -> Run:
    """Boot a disk on an overlay to its log-in prompt."""
    overlay, console = work / "overlay.qcow2", work / "console"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk.absolute(), "-F", "raw", overlay], check=True
    )
    drive = [
        "-drive",
        f"if=none,id=disk,format=qcow2,cache=unsafe,file={overlay}",
        "-device",
        "virtio-blk-pci,drive=disk,bootindex=1",
    ]
    more = [
        *drive,
        "-device",
        "virtio-rng-pci",
        "-nic",
        "user,model=virtio-net-pci,restrict=on",
        "-serial",
        f"file:{console}",
    ]
    return run(choice.argv(2048, *more), console, PROMPT, BOOT_SECONDS)


def start(choice: Choice, kernel: Path, work: Path) -> Run:
    """Start a kernel that has no root file system: it panics and QEMU ends."""
    console = work / "console"
    more = [
        "-kernel",
        str(kernel),
        "-append",
        "console=ttyS0 panic=0 root=none",
        "-serial",
        f"file:{console}",
    ]
    return run(choice.argv(256, *more), console, PANIC, START_SECONDS)


def at_once(choice: Choice, options: argparse.Namespace) -> list[Run]:
    """Run as many guests side by side as the choice says."""

    def one(_: int) -> Run:
        with tempfile.TemporaryDirectory(prefix="bench-") as work:
            if options.what == "boots":
                return boot(choice, options.disk, Path(work))
            return start(choice, options.kernel, Path(work))

    with ThreadPoolExecutor(choice.guests) as pool:
        return list(pool.map(one, range(choice.guests)))


def main() -> None:
    """Take turns, print each run as it ends, then minimum and median by choice."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.guests")
    parser.add_argument("what", choices=["boots", "soak"])
    parser.add_argument(
        "--disk", type=Path, default=next(iter(sorted(DEMO.glob("disk.install_disk/*/out/disk.raw"))), None)
    )
    parser.add_argument(
        "--kernel", type=Path, default=next(iter(sorted(Path("/boot").glob("vmlinuz-*"))), None)
    )
    parser.add_argument("--qemu", type=Path, action="append")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("choices", nargs="*", default=CHOICES)
    options = parser.parse_intermixed_args()
    if (options.disk if options.what == "boots" else options.kernel) is None:
        print("guests: not measured (run `make demo` first, which makes the disk that is booted)")
        return
    choices = [
        parsed(text, qemu) for qemu, text in itertools.product(options.qemu or [Path("/")], options.choices)
    ]
    runs: dict[str, list[Run]] = defaultdict(list)
    for number, choice in itertools.product(range(options.rounds), choices):
        for result in at_once(choice, options):
            runs[str(choice)].append(result)
            if options.what == "boots" or not result.finished:
                note = "" if result.finished else f" NOT FINISHED, console ends with {result.tail!r}"
                print(
                    f"{number + 1}: {choice}: {result.cpu:.1f} CPU s, {result.wall:.1f} s{note}", flush=True
                )
    for name, results in runs.items():
        cpu, hung = (
            [result.cpu for result in results if result.finished] or [0.0],
            sum(not result.finished for result in results),
        )
        wall = [result.wall for result in results if result.finished] or [0.0]
        print(
            f"{name}: {min(cpu):.1f} / {statistics.median(cpu):.1f} CPU s, {statistics.median(wall):.1f} s, "
            f"{hung} of {len(results)} did not finish"
        )
    print(
        json.dumps(
            {
                name: [[result.cpu, result.wall, result.finished] for result in results]
                for name, results in runs.items()
            }
        )
    )


if __name__ == "__main__":
    main()
