"""A virtual machine as it is described before it is started."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from imagebuild.kinds import Controller, Firmware

MIB = 1024 * 1024
# the address at which a guest finds what `services` of its machine names
SERVICES = "10.0.2.100"


@dataclass(frozen=True, kw_only=True)
class Drive:
    """One more drive: `kind` is cd (SATA), usb (a stick) or virtio; writable ones are qcow2."""

    file: Path
    kind: str = "virtio"
    format: str = "raw"
    serial: str = ""
    boot_first: bool = False


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel that QEMU itself starts, instead of what the firmware finds."""

    file: Path
    initrd: Path
    arguments: str


@dataclass(frozen=True, kw_only=True)
class NetworkBoot:
    """What QEMU's own DHCP and TFTP server hand out: a directory, and the file of it that is started."""

    directory: Path
    file: str


@dataclass(frozen=True, kw_only=True)
class Tap:
    """A network outside of QEMU: the name of a tap device, and what runs QEMU in the namespaces that have it
    (the beginning of an argv).
    """

    name: str
    entering: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A virtual machine to be started. `forward` maps loopback TCP ports of the builder to ports of the guest
    (at `address`; empty: what DHCP gives).

    `services` maps TCP ports at SERVICES, which only this guest sees, to loopback ports of the builder, also
    for an isolated guest. `variables` keeps UEFI's between boots (made if missing); `snapshot` is one that
    `Running.save` kept: the machine goes on from there. `disk` (qcow2) may be missing; `typed` makes the
    serial console one that can be typed on. `ports` are virtio-serial ports: name -> the file that gets what
    the guest writes there. `tpm`: the directory that keeps the state of a TPM 2; None: there is none. `tap`:
    the network that the machine is on, instead of one of QEMU's own. `clock`: the time (UTC) that its clock
    has at first; None: the right one.
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
    network_boot: NetworkBoot | None = None
    variables: Path | None = None
    snapshot: str = ""
    ports: Mapping[str, Path] = field(default_factory=dict)
    tpm: Path | None = None
    tap: Tap | None = None
    clock: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a running machine's console goes and its monitor listens."""

    serial: Path
    monitor: Path
    variables: Path
    keyboard: Path = Path("keyboard")
    last_word: Path | None = None
    tpm: Path | None = None
