"""A machine from its start to its end: its console, its screen, its keyboard."""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.tools import command, ending, load, picture, screen, temporary
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu import disk_image, monitor, recording, tpm
from imagebuild.tools.qemu.command_line import command_line
from imagebuild.tools.qemu.machine import Machine, Places
from imagebuild.tools.qemu.monitor import QMP_SECONDS
from imagebuild.tools.qemu.registry import FIRMWARES

SNAPSHOT_SECONDS = 300.0
TYPING_SECONDS = 0.3
# between two keys, and how long one is held down: an emulated boot loader polls its keyboard
KEY_SECONDS, HOLD_MILLISECONDS = 0.4, 100


class Running:
    """A machine that runs; ended by `started`'s block."""

    def __init__(self, process: command.Process, places: Places, firmware: Firmware = Firmware.BIOS) -> None:
        self._process, self._firmware = process, firmware
        self.places = places
        self._listener = ending.MonitorListener(places.last_word) if places.last_word else None
        self.meter = load.Meter(lambda: load.read_threads(process.pid))

    @property
    def alive(self) -> bool:
        """Whether QEMU still runs: with -no-reboot it ends when the guest reboots or powers off."""
        return self._process.alive

    def complaint(self) -> str:
        """Return what QEMU itself had to say."""
        return self._process.complaint()

    def broke(self) -> str | None:
        """Return how QEMU itself broke; None while it runs, and when it ended because the guest switched
        itself off.
        """
        if self.alive or (status := self._process.wait()) == 0:
            return None
        return f"QEMU {command.describe_end(status)}: {self.complaint().strip()[-300:] or 'it said nothing'}"

    def ending(self) -> str | None:
        """Return how the machine ended, in words; None while it runs, and for one that nobody listens to
        (`Machine.ports` is empty).
        """
        if self._listener is None or self.alive:
            return None
        return ending.described(self._listener.reason())

    def kill(self) -> None:
        """Kill QEMU (SIGKILL)."""
        self._process.signal(signal.SIGKILL)
        self.wait(QMP_SECONDS)

    def close(self) -> None:
        """Let go of the connection that is kept open."""
        if self._listener is not None:
            self._listener.close()

    def console(self) -> str:
        """Return everything the guest wrote to its serial console."""
        return (
            self.places.serial.read_bytes().decode("utf-8", "replace") if self.places.serial.exists() else ""
        )

    def cpu_seconds(self) -> float:
        """Return the CPU time the guest has cost so far."""
        return load.cpu_seconds(self._process.pid)

    def io_bytes(self) -> int:
        """Return the bytes that QEMU has read and written so far, disks and everything else (proc(5),
        /proc/pid/io).
        """
        with contextlib.suppress(OSError, ValueError, KeyError):
            lines = dict(
                line.split(": ") for line in Path(f"/proc/{self._process.pid}/io").read_text().splitlines()
            )
            return int(lines["rchar"]) + int(lines["wchar"])
        return 0

    def drives_read(self) -> int:
        """Return the bytes that the guest has read from all its drives so far; 0 for a dead QEMU."""
        try:
            return sum(int(drive["stats"]["rd_bytes"]) for drive in self.execute("query-blockstats"))
        except BuildError:
            return 0

    def save(self, name: str) -> None:
        """Keep memory and disks of the running machine as they are now, inside its qcow2 files
        (`Machine.snapshot`). Raises BuildError.
        """
        # QMP's own jobs for this want the names of all block nodes; the human monitor finds them itself
        if said := self._told(f"savevm {name}"):
            raise BuildError(f"QEMU cannot keep the machine as it is: {said}")

    def flush(self) -> None:
        """Have all that disk and UEFI's variables hold in their files, also what QEMU only remembers of the
        format. Raises BuildError.
        """
        # pflash1: what QEMU calls `if=pflash,unit=1`
        for drive in ("disk", *(["pflash1"] if FIRMWARES[self._firmware].in_flash else [])):
            if said := self._told(f"qemu-io {drive} flush"):
                raise BuildError(f"QEMU cannot write its {drive}: {said}")

    def forget(self, name: str) -> None:
        """Let go of what `save` kept. Raises BuildError."""
        if said := self._told(f"delvm {name}"):
            raise BuildError(f"QEMU cannot remove what it kept of the machine: {said}")

    def _told(self, line: str) -> str:
        """Return what the human monitor says to a line."""
        arguments = {"command-line": line}
        return str(self.execute("human-monitor-command", seconds=SNAPSHOT_SECONDS, **arguments)).strip()

    def record_writes(self, log: Path) -> None:
        """Append everything that is written to the disk from now on to a log (`write_log`; made if missing).
        Raises BuildError.
        """
        until = time.monotonic() + QMP_SECONDS
        while not self.places.monitor.exists() and self.alive and time.monotonic() < until:
            time.sleep(0.02)
        recording.begin(self.execute, log)

    def screenshot(self, file: Path) -> None:
        """Write what the guest's screen shows as PNG; a dead QEMU leaves no file."""
        with contextlib.suppress(BuildError):
            self.execute("screendump", filename=str(file.absolute()), format="png")

    def screen_text(self) -> str:
        """Return what a BIOS guest's text screen shows; empty for graphics, for UEFI (which writes to the
        console), for a dead QEMU.
        """
        file = self.places.monitor.with_name("screen")
        if not FIRMWARES[self._firmware].has_text_screen:
            return ""
        try:
            self.execute("pmemsave", val=screen.ADDRESS, size=screen.SIZE, filename=str(file))
            return screen.read_text(file.read_bytes())
        except (BuildError, OSError):
            return ""

    def picture(self) -> picture.Picture | None:
        """Return what the guest's screen shows, text or graphics; None for a dead QEMU."""
        file = self.places.monitor.with_name("picture")
        try:
            self.execute("screendump", filename=str(file))
            return picture.read(file.read_bytes())
        except (BuildError, OSError):
            return None

    def registers(self) -> str:
        """Return the registers of all processors, as QEMU's monitor shows them; empty for a dead QEMU."""
        try:
            return str(
                self.execute(
                    "human-monitor-command", **{"command-line": "info registers -a"}, seconds=QMP_SECONDS
                )
            )
        except BuildError:
            return ""

    def execute(self, name: str, *, seconds: float = QMP_SECONDS, **arguments: Any) -> Any:
        """Run one QMP command and return its answer. Raises BuildError."""
        return monitor.execute(self.places.monitor, name, arguments, seconds=seconds)

    def type(self, text: str) -> None:
        """Type on the serial console. Raises BuildError when it is not one that can be typed on."""
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(QMP_SECONDS)
                line.connect(str(self.places.keyboard))
                # what the guest says comes here as long as somebody listens, and into the log anyway
                line.sendall(text.encode())
                time.sleep(TYPING_SECONDS)
        except OSError as error:
            raise BuildError(f"nothing can be typed on the serial console: {error}") from error

    def press(self, *keys: str) -> None:
        """Press keys of the keyboard, one after the other: QEMU's names (QAPI, QKeyCode), those held down
        together joined by `-`.

        Raises BuildError.
        """
        for key in keys:
            held: dict[str, Any] = {
                "keys": [{"type": "qcode", "data": name} for name in key.split("-")],
                "hold-time": HOLD_MILLISECONDS,
            }
            self.execute("send-key", **held)
            time.sleep(KEY_SECONDS)

    def wait(self, seconds: float) -> bool:
        """Wait for QEMU to end by itself; return whether it did."""
        with contextlib.suppress(TimeoutError):
            self._process.wait(seconds)
        return not self._process.alive


@contextlib.contextmanager
def started(machine: Machine, accelerator: Accelerator, serial: Path) -> Iterator[Running]:
    """Start a machine, its console going to `serial`; it is killed when the block ends."""
    with temporary.directory("qemu", sockets=True) as place:
        places = Places(
            serial=serial,
            monitor=place / "qmp",
            variables=machine.variables or place / "vars.qcow2",
            keyboard=place / "serial",
            last_word=place / "last-word" if machine.ports else None,
            tpm=place / "tpm" if machine.tpm is not None else None,
        )
        flash = FIRMWARES[machine.firmware].find_flash(accelerator.arch)
        if flash is not None and not places.variables.exists():
            # qcow2, because a machine with a writable raw drive cannot be snapshotted
            disk_image.convert(flash.variables, "raw", places.variables, "qcow2")
        with _tpm(machine, places):
            argv = command_line(machine, accelerator, places, flash)
            entering = machine.tap.entering if machine.tap is not None else ()
            process = command.Process([*entering, *argv], shown=argv)
            try:
                with contextlib.closing(Running(process, places, machine.firmware)) as running:
                    yield running
            finally:
                # nothing in the guest is worth a clean end: its disk is an overlay
                process.end(grace=0.2)


def _tpm(machine: Machine, places: Places) -> contextlib.AbstractContextManager[None]:
    if machine.tpm is None or places.tpm is None:
        return contextlib.nullcontext()
    return tpm.emulated(machine.tpm, places.tpm)
