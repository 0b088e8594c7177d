"""What Secure Boot costs: the same disk under plain UEFI and under UEFI with Secure Boot, in turn.

    python -m tests.bench.secure_boot [--disk DISK] [--rounds N]

Without a disk of the demo that is for Secure Boot, one with nothing but Debian's shim, GRUB and kernel, which
tells the way to GRUB and to the kernel only. CPU seconds of the QEMU process: a busy machine changes them
least.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from imagebuild.config.places import cache_directory
from imagebuild.kinds import Controller, Firmware
from imagebuild.tools import accelerator, command
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.console import fatal_line
from imagebuild.tools.qemu.machine import MIB, Machine
from imagebuild.tools.qemu.running import started
from tests import signed_parts as parts
from tests.data import ROOT
from tests.signed_disk import write_disk

# what more of a boot Secure Boot may cost
LIMIT = 1.10
POINTS = {"GRUB": "Welcome to GRUB", "kernel": "Linux version ", "log-in": " login:"}
# CPU seconds after which a guest has hung
MOST = 900.0
DEMO = ROOT / "build" / "demo" / "store" / "artifacts"
FIRMWARES = (Firmware.UEFI, Firmware.UEFI_SECURE)


def boot(disk: Path, firmware: Firmware, found: Accelerator, place: Path) -> dict[str, float]:
    """Boot an overlay of a disk; return point -> the CPU seconds at which it was reached."""
    overlay, points = place / "overlay.qcow2", dict[str, float]()
    kind = "qcow2" if disk.suffix == ".qcow2" else "raw"
    command.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk.absolute(), "-F", kind, overlay])
    machine = Machine(
        disk=overlay, controller=Controller.VIRTIO, firmware=firmware, cores=1, memory=2048 * MIB
    )
    with started(machine, found, place / "serial.log") as running:
        while running.alive and (used := running.cpu_seconds()) < MOST:
            console = running.console()
            for point, words in POINTS.items():
                if words in console:
                    points.setdefault(point, used)
            # a disk without a root ends in a panic, one that is refused in whoever refuses it
            if "log-in" in points or fatal_line(console) is not None:
                break
            time.sleep(0.1)
    return points


def main() -> int:
    """Print each boot and the medians; the exit status says whether the last point holds the limit."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.secure_boot")
    disks = sorted(DEMO.glob("disk.install_disk/*/out/disk.raw"))
    parser.add_argument("--disk", type=Path, default=disks[0] if disks else None)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found = accelerator.probe(cache_directory())
    taken: dict[Firmware, dict[str, list[float]]] = {one: defaultdict(list) for one in FIRMWARES}
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        disk = options.disk or write_disk(parts.esp(), parts.kernel(), Path(directory))
        for number in range(options.rounds):
            for firmware in FIRMWARES:
                with tempfile.TemporaryDirectory(dir=directory) as place:
                    points = boot(disk, firmware, found, Path(place))
                print(
                    f"{number + 1}: {firmware}: "
                    + ", ".join(f"{point} {used:.1f} CPU s" for point, used in points.items()),
                    flush=True,
                )
                for point, used in points.items():
                    taken[firmware][point].append(used)
    return judge(taken)


def judge(taken: dict[Firmware, dict[str, list[float]]]) -> int:
    """Print the ratios of medians; return the exit status."""
    plain, secure = (taken[firmware] for firmware in FIRMWARES)
    ratio = 0.0
    for point in (point for point in POINTS if plain[point] and secure[point]):
        ratio = statistics.median(secure[point]) / statistics.median(plain[point])
        print(f"{Firmware.UEFI_SECURE} / {Firmware.UEFI} to {point}: {ratio:.3g} (limit {LIMIT:g} to log-in)")
    if not (plain["log-in"] and secure["log-in"]):
        print("to log-in: not measured (no disk that both firmwares start; run `make demo` first)")
        return 0
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
