"""The only place that speaks to QEMU: its command line, its monitor (QMP), its images."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qemu.qmp import QMPClient, QMPError

from imagebuild.errors import BuildError, MissingToolError
from imagebuild.kinds import Controller, Firmware
from imagebuild.tools import command, ending, load, picture, screen, temporary
from imagebuild.tools.accelerator import QEMU, Accelerator

MIB = 1024 * 1024
QMP_SECONDS = 20.0
SNAPSHOT_SECONDS = 300.0
TYPING_SECONDS = 0.3
# between two keys, and how long one is held down: an emulated boot loader polls its keyboard
KEY_SECONDS, HOLD_MILLISECONDS = 0.4, 100
EXPORT_SECONDS = 300.0
# the address at which a guest finds what `services` of its machine names
SERVICES = "10.0.2.100"
# (code, variables): Debian's ovmf, Fedora's edk2-ovmf, Arch's edk2-ovmf
OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
)


CONTROLLERS = {
    Controller.VIRTIO: ["-device", "virtio-blk-pci,drive=disk,serial=target,bootindex=1"],
    Controller.IDE: ["-device", "ide-hd,bus=ide.0,drive=disk,serial=target,bootindex=1"],
    Controller.PVSCSI: [
        "-device",
        "pvscsi,id=scsi",
        "-device",
        "scsi-hd,bus=scsi.0,drive=disk,serial=target,bootindex=1",
    ],
}


@dataclass(frozen=True, kw_only=True)
class Drive:
    """One more drive: `kind` is cd (SATA), usb (a stick) or virtio; writable ones are qcow2."""

    file: Path
    kind: str = "virtio"
    format: str = "raw"
    serial: str = ""
    boot_first: bool = False


DRIVES = {
    "cd": ["-device", "ide-cd,drive={id}{more}"],
    "usb": [
        "-device",
        "qemu-xhci,id=usb-{id}",
        "-device",
        "usb-storage,bus=usb-{id}.0,drive={id},removable=on{more}",
    ],
    "virtio": ["-device", "virtio-blk-pci,drive={id}{more}"],
}


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel that QEMU itself starts, instead of what the firmware finds."""

    file: Path
    initrd: Path
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A virtual machine to be started. `forward` maps loopback TCP ports of the host to ports of the guest
    (at `address`; empty: what DHCP gives).

    `services` maps TCP ports at SERVICES, which only this guest sees, to loopback ports of the host, also for
    an isolated guest. `variables` keeps UEFI's between boots (made if missing); `snapshot` is one that
    `Running.save` kept: the machine goes on from there. `disk` (qcow2) may be missing; `typed` makes the
    serial console one that can be typed on. `ports` are virtio-serial ports: name -> the file that gets what
    the guest writes there.
    """

    disk: Path | None
    controller: Controller
    firmware: Firmware
    cores: int
    memory: int
    seed: Path | None = None
    forward: dict[int, int] = field(default_factory=dict)
    address: str = ""
    isolated: bool = True
    network: bool = True
    services: Mapping[int, int] = field(default_factory=dict)
    drives: tuple[Drive, ...] = ()
    typed: bool = False
    kernel: Kernel | None = None
    variables: Path | None = None
    snapshot: str = ""
    ports: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a running machine's console goes and its monitor listens."""

    serial: Path
    monitor: Path
    variables: Path
    keyboard: Path = Path("keyboard")
    last_word: Path | None = None


def command_line(
    machine: Machine, accelerator: Accelerator, places: Places, ovmf: tuple[str, str] | None
) -> list[str]:
    """Return QEMU's argv. `-no-reboot`: every boot is a new process, since a warm reboot under TCG can hang
    in GRUB.
    """
    return [
        QEMU,
        *accelerator.argv,
        # VirtualBox and its boxes have a PIIX chip set
        *[
            "-machine",
            "pc" if machine.controller is Controller.IDE else "q35",
            "-smp",
            str(machine.cores),
            "-m",
            str(machine.memory // MIB),
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
        ],
        *["-vga", "std", "-display", "none", "-device", "virtio-rng-pci"],
        *_firmware(machine, places, ovmf),
        *_disks(machine),
        *_network(machine),
        *_kernel(machine),
        *_serial(machine, places),
        *_ports(machine),
        *["-qmp", f"unix:{_escape(str(places.monitor))},server=on,wait=off"],
        *(["-qmp", f"unix:{_escape(str(places.last_word))},server=on,wait=off"] if places.last_word else []),
        *(["-loadvm", machine.snapshot] if machine.snapshot else []),
    ]


def _firmware(machine: Machine, places: Places, ovmf: tuple[str, str] | None) -> list[str]:
    if machine.firmware is Firmware.BIOS:
        return []
    assert ovmf is not None
    return [
        *["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_escape(ovmf[0])}"],
        *["-drive", f"if=pflash,unit=1,format=qcow2,file={_escape(str(places.variables))}"],
    ]


def _serial(machine: Machine, places: Places) -> list[str]:
    if not machine.typed:
        return ["-serial", f"file:{places.serial}"]
    socket, log = _escape(str(places.keyboard)), _escape(str(places.serial))
    keyboard = f"socket,id=serial,path={socket},server=on,wait=off,logfile={log}"
    return ["-chardev", keyboard, "-serial", "chardev:serial"]


def _ports(machine: Machine) -> list[str]:
    found = ["-device", "virtio-serial-pci"] if machine.ports else []
    for number, (name, file) in enumerate(machine.ports.items()):
        found += ["-chardev", f"file,id=port{number},path={_escape(str(file))}"]
        found += ["-device", f"virtserialport,chardev=port{number},name={name}"]
    return found


def _disks(machine: Machine) -> list[str]:
    # cache=unsafe: the overlay is thrown away; a guest's fsync must not reach the host's disk
    found: list[str] = []
    if machine.disk is not None:
        found += [
            "-drive",
            f"if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap,file={_escape(str(machine.disk))}",
        ]
        found += _controller(machine)
    for number, drive in enumerate(machine.drives):
        found += _drive(drive, f"drive{number}")
    if machine.seed is not None:
        found += ["-drive", f"if=none,id=seed,format=raw,readonly=on,file={_escape(str(machine.seed))}"]
        found += ["-device", "virtio-blk-pci,drive=seed,serial=seed"]
    return found


def _drive(drive: Drive, name: str) -> list[str]:
    access = "readonly=on" if drive.format == "raw" else "cache=unsafe,discard=unmap"
    media = ",media=cdrom" if drive.kind == "cd" else ""
    more = (f",serial={drive.serial}" if drive.serial else "") + (",bootindex=0" if drive.boot_first else "")
    words = [word.format(id=name, more=more) for word in DRIVES[drive.kind]]
    return [
        "-drive",
        f"if=none,id={name},format={drive.format},{access}{media},file={_escape(str(drive.file))}",
        *words,
    ]


def _controller(machine: Machine) -> list[str]:
    # QEMU's UEFI has no driver for VMware's pvscsi, so its users' other choice is tested there: SATA, which
    # is what ide.0 of a q35 is
    sata = machine.controller is Controller.PVSCSI and machine.firmware is Firmware.UEFI
    return CONTROLLERS[Controller.IDE if sata else machine.controller]


def _kernel(machine: Machine) -> list[str]:
    kernel = machine.kernel
    return (
        ["-kernel", str(kernel.file), "-initrd", str(kernel.initrd), "-append", kernel.arguments]
        if kernel is not None
        else []
    )


def _network(machine: Machine) -> list[str]:
    if not machine.network:
        return ["-nic", "none"]
    forwards = "".join(
        f",hostfwd=tcp:127.0.0.1:{outside}-{machine.address}:{inside}"
        for outside, inside in sorted(machine.forward.items())
    )
    # a program per connection: with a character device there could be one connection only
    services = "".join(
        f",guestfwd=tcp:{SERVICES}:{inside}-cmd:{command.require('busybox')} nc 127.0.0.1 {outside}"
        for inside, outside in sorted(machine.services.items())
    )
    # restrict: the guest reaches nothing outside of this process; forwards still work
    return [
        "-nic",
        f"user,model=virtio-net-pci{',restrict=on' if machine.isolated else ''}{forwards}{services}",
    ]


def _escape(value: str) -> str:
    """QEMU's option parser doubles commas."""
    return value.replace(",", ",,")


class Running:
    """A machine that runs; ended by `started`'s block."""

    def __init__(self, process: command.Process, places: Places, firmware: Firmware = Firmware.BIOS) -> None:
        self._process, self._firmware = process, firmware
        self.places = places
        self._listener = ending.Listener(places.last_word) if places.last_word else None
        self.meter = load.Meter(lambda: load.read_threads(process.pid))

    @property
    def alive(self) -> bool:
        """Whether QEMU still runs: with -no-reboot it ends when the guest reboots or powers off."""
        return self._process.alive

    def complaint(self) -> str:
        """Return what QEMU itself had to say."""
        return self._process.complaint()

    def broke(self) -> str:
        """Return how QEMU itself broke; empty while it runs, and when it ended because the guest switched
        itself off.
        """
        if self.alive or (status := self._process.wait()) == 0:
            return ""
        return f"QEMU {command.describe_end(status)}: {self.complaint().strip()[-300:] or 'it said nothing'}"

    def ending(self) -> str:
        """Return how the machine ended, in words; empty while it runs, and for one that nobody listens to
        (`Machine.ports` is empty).
        """
        return (
            ending.described(self._listener.reason()) if self._listener is not None and not self.alive else ""
        )

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
            return sum(int(each["stats"]["rd_bytes"]) for each in self.execute("query-blockstats"))
        except BuildError:
            return 0

    def save(self, name: str) -> None:
        """Keep memory and disks of the running machine as they are now, inside its qcow2 files
        (`Machine.snapshot`). Raises BuildError.
        """
        # QMP's own jobs for this want the names of all block nodes; the human monitor finds them itself
        said = self.execute(
            "human-monitor-command", **{"command-line": f"savevm {name}"}, seconds=SNAPSHOT_SECONDS
        )
        if str(said).strip():
            raise BuildError(f"QEMU cannot keep the machine as it is: {said.strip()}")

    def screenshot(self, file: Path) -> None:
        """Write what the guest's screen shows as PNG; a dead QEMU leaves no file."""
        with contextlib.suppress(BuildError):
            self.execute("screendump", filename=str(file.absolute()), format="png")

    def screen_text(self) -> str:
        """Return what a BIOS guest's text screen shows; empty for graphics, for UEFI (which writes to the
        console), for a dead QEMU.
        """
        file = self.places.monitor.with_name("screen")
        if self._firmware is Firmware.UEFI:
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
        try:
            return asyncio.run(asyncio.wait_for(self._execute(name, arguments), seconds))
        except (QMPError, OSError, TimeoutError) as error:
            raise BuildError(f"QEMU's monitor does not answer to {name}: {error}") from error

    async def _execute(self, name: str, arguments: dict[str, Any]) -> Any:
        client = QMPClient("imagebuild")
        await client.connect(str(self.places.monitor))
        try:
            return await client.execute(name, arguments)
        finally:
            await client.disconnect()

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
        )
        ovmf = _ovmf() if machine.firmware is Firmware.UEFI else None
        if ovmf is not None and not places.variables.exists():
            # qcow2, because a machine with a writable raw drive cannot be snapshotted
            convert(Path(ovmf[1]), "raw", places.variables, "qcow2")
        process = command.Process(command_line(machine, accelerator, places, ovmf))
        try:
            with contextlib.closing(Running(process, places, machine.firmware)) as running:
                yield running
        finally:
            # nothing in the guest is worth a clean end: its disk is an overlay
            process.end(grace=0.2)


def _ovmf() -> tuple[str, str]:
    for code, variables in OVMF:
        if Path(code).exists() and Path(variables).exists():
            return code, variables
    raise MissingToolError(
        "UEFI firmware for QEMU is not installed", hint="apt-get install ovmf, or dnf install edk2-ovmf"
    )


# --- images -------------------------------------------------------------------------------------------------


def make_overlay(overlay: Path, backing: Path, backing_format: str, *, size: int | None = None) -> None:
    """Make a qcow2 file that reads from `backing` and takes all writes: the artifact itself is never touched.

    `size` (bytes) makes the disk larger than what it reads from.
    """
    more = [str(size)] if size is not None else []
    command.run(
        [
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-b",
            backing.absolute(),
            "-F",
            backing_format,
            overlay,
            *more,
        ]
    )


def convert(
    source: Path,
    source_format: str,
    target: Path,
    target_format: str,
    *,
    options: tuple[str, ...] = (),
    compress: bool = False,
) -> None:
    """Convert a disk image (qemu-img(1), convert), in order: the same input gives the same file. Holes stay
    holes.
    """
    argv: list[str | Path] = [
        "qemu-img",
        "convert",
        "-f",
        source_format,
        "-O",
        target_format,
        "-T",
        "none",
        "-m",
        "8",
    ]
    argv += ["-c"] if compress else []
    argv += ["-o", ",".join(options)] if options else []
    command.run([*argv, source, target])


def export_unavailable() -> str:
    """Return why disk images cannot be exported as files here; empty when they can."""
    if not Path("/dev/fuse").exists():
        return "the host has no /dev/fuse"
    if command.find("qemu-storage-daemon") is None:
        return "qemu-storage-daemon is not installed"
    return "" if os.geteuid() == 0 or command.find("fusermount3") else "fusermount3 is not installed"


@contextlib.contextmanager
def exported(
    image: Path, image_format: str, *, writable: bool, part: tuple[int, int] | None = None
) -> Iterator[Path]:
    """Show a disk image of any of QEMU's formats as a raw file (FUSE), without converting or copying it.
    Raises BuildError.

    The file is there until the block ends; a raw image is yielded as it is when it is only read. `part`
    (offset, size) shows only that.
    """
    if image_format == "raw" and not writable and part is None:
        yield image
        return
    with temporary.directory("export") as work:
        place, pid = work / "disk.raw", work / "pid"
        place.touch()
        read_only = "off" if writable else "on"
        argv: list[str | Path] = [
            "qemu-storage-daemon",
            *[
                "--blockdev",
                f"driver=file,filename={_escape(str(image.absolute()))},node-name=file,discard=unmap,read-only={read_only}",
            ],
            *[
                "--blockdev",
                f"driver={image_format},file=file,node-name=disk,discard=unmap,read-only={read_only}",
            ],
            *(
                [
                    "--blockdev",
                    f"driver=raw,file=disk,node-name=part,offset={part[0]},size={part[1]},read-only={read_only}",
                ]
                if part
                else []
            ),
            *[
                "--export",
                (
                    f"type=fuse,id=export,node-name={'part' if part else 'disk'},"
                    f"mountpoint={_escape(str(place))},writable={'on' if writable else 'off'}"
                ),
            ],
            *["--pidfile", str(pid)],
        ]
        process = command.Process(argv)
        try:
            _wait_for(pid, process)
            yield place
            _end_export(process, place, writable=writable)
        finally:
            if process.alive:
                process.end()
            if temporary.mounts_below(place):  # left by one that was killed
                _unmount(place)


def _unmount(place: Path) -> None:
    command.status(["umount", "-l", place] if os.geteuid() == 0 else ["fusermount3", "-u", "-z", place])


def _end_export(process: command.Process, place: Path, *, writable: bool) -> None:
    """End an export so that everything written is in the image. Raises BuildError when it did not end
    well.
    """
    if writable:
        with place.open("rb+") as stream:
            os.fsync(stream.fileno())
    process.signal(signal.SIGTERM)
    try:
        status = process.wait(EXPORT_SECONDS)
    except TimeoutError as error:
        raise BuildError(
            "the export of a disk image does not end", hint="is the disk full, or very slow?"
        ) from error
    if status != 0:
        raise BuildError(
            f"the export of a disk image ended with {status}: {process.complaint().strip()[-300:]}"
        )


def _wait_for(file: Path, process: command.Process) -> None:
    deadline = time.monotonic() + QMP_SECONDS
    while not file.exists():
        if not process.alive or time.monotonic() > deadline:
            raise BuildError(
                f"a disk image cannot be exported: {process.complaint().strip()[-300:]}",
                hint="is /dev/fuse usable here?",
            )
        time.sleep(0.02)


def info(image: Path, image_format: str | None = None) -> dict[str, Any]:
    """Return what `qemu-img info` says of an image; name the format of one that is not ours, so that its
    content is not guessed from.
    """
    known = ["-f", image_format] if image_format else []
    found: dict[str, Any] = json.loads(
        command.run(["qemu-img", "info", "--output=json", *known, image], quiet=True)
    )
    return found


def chain(image: Path, image_format: str) -> list[Path]:
    """Return an image's file and, one after the other, those that it reads from."""
    argv: list[str | Path] = [
        "qemu-img",
        "info",
        "--output=json",
        "--backing-chain",
        "-f",
        image_format,
        image,
    ]
    return [Path(each["filename"]) for each in json.loads(command.run(argv, quiet=True))]


def firmware_digest(firmware: Firmware) -> str:
    """Return a sha256 of the UEFI firmware that guests are started with; SeaBIOS comes with QEMU, whose
    version says enough.
    """
    files = _ovmf() if firmware is Firmware.UEFI else ()
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()


def refuse_outside(disk: Path, disk_format: str, *, what: str) -> None:
    """Raise BuildError for an image that reads from other files: one from elsewhere could name any file of
    this host.
    """
    facts = info(disk, disk_format)
    data = facts.get("format-specific", {}).get("data", {})
    # so could a vmdk that is a description of files
    others = [
        each["filename"] for each in data.get("extents", []) if Path(each["filename"]).name != disk.name
    ]
    outside = (
        facts.get("full-backing-filename")
        or facts.get("backing-filename")
        or data.get("data-file")
        or next(iter(others), None)
    )
    if outside:
        raise BuildError(
            f"{what} is not whole: it reads from {outside}", hint="qemu-img convert makes it one file"
        )


def compare(one: Path, one_format: str, other: Path, other_format: str) -> tuple[bool, str]:
    """Return whether two images hold the same disk, byte by byte, and what `qemu-img compare` said (a longer
    one may end in zeros).
    """
    status, said = command.status(["qemu-img", "compare", "-f", one_format, "-F", other_format, one, other])
    return status == 0, said.strip().replace("\n", "; ")


def virtual_size(image: Path, image_format: str) -> int:
    """Return the size in bytes of the disk that an image holds."""
    return int(info(image, image_format)["virtual-size"])
