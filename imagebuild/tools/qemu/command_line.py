"""QEMU's command line for a machine."""

from imagebuild.architectures.architecture import Flash, GuestMachine
from imagebuild.architectures.registry import guest_of
from imagebuild.tools import command
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu import tpm
from imagebuild.tools.qemu.firmware import flash_argv
from imagebuild.tools.qemu.machine import MIB, SERVICES, Machine, Places
from imagebuild.tools.qemu.option import escape
from imagebuild.tools.qemu.registry import CONTROLLERS, DRIVES, FIRMWARES


def command_line(
    machine: Machine, accelerator: Accelerator, places: Places, flash: Flash | None
) -> list[str]:
    """Return QEMU's argv. `-no-reboot`: every boot is a new process, since a warm reboot under TCG can hang
    in GRUB.
    """
    guest = guest_of(accelerator.arch)
    smm = FIRMWARES[machine.firmware].needs_smm(accelerator.arch)
    return [
        guest.program,
        *accelerator.argv,
        *["-machine", _machine_type(machine, guest, smm=smm)],
        *["-smp", str(machine.cores), "-m", str(machine.memory // MIB)],
        *["-nodefaults", "-no-user-config", "-no-reboot"],
        *[*guest.screen, "-display", "none", "-device", "virtio-rng-pci"],
        *_firmware(machine, places, flash, smm=smm),
        *_disks(machine, guest),
        *_network(machine),
        # QEMU's own format: rtc_parse_startdate of system/rtc.c
        *(["-rtc", f"base={machine.clock:%Y-%m-%dT%H:%M:%S}"] if machine.clock is not None else []),
        *_kernel(machine),
        *_serial(machine, places),
        *_ports(machine),
        *(tpm.argv_of(places.tpm, guest.tpm) if places.tpm is not None else []),
        *["-qmp", f"unix:{escape(places.monitor)},server=on,wait=off"],
        *(["-qmp", f"unix:{escape(places.last_word)},server=on,wait=off"] if places.last_word else []),
        *(["-loadvm", machine.snapshot] if machine.snapshot else []),
    ]


def _machine_type(machine: Machine, guest: GuestMachine, *, smm: bool) -> str:
    kind = CONTROLLERS[machine.controller].machine_type or guest.machine_type
    return f"{kind},smm=on" if smm else kind


def _firmware(machine: Machine, places: Places, flash: Flash | None, *, smm: bool) -> list[str]:
    if not FIRMWARES[machine.firmware].in_flash:
        return []
    assert flash is not None
    return flash_argv(flash, places.variables, smm=smm)


def _serial(machine: Machine, places: Places) -> list[str]:
    if not machine.typed:
        return ["-serial", f"file:{places.serial}"]
    socket, log = escape(places.keyboard), escape(places.serial)
    keyboard = f"socket,id=serial,path={socket},server=on,wait=off,logfile={log}"
    return ["-chardev", keyboard, "-serial", "chardev:serial"]


def _ports(machine: Machine) -> list[str]:
    argv = ["-device", "virtio-serial-pci"] if machine.ports else []
    for number, (name, file) in enumerate(machine.ports.items()):
        argv += ["-chardev", f"file,id=port{number},path={escape(file)}"]
        argv += ["-device", f"virtserialport,chardev=port{number},name={name}"]
    return argv


def _disks(machine: Machine, guest: GuestMachine) -> list[str]:
    # cache=unsafe: the overlay is thrown away; a guest's fsync must not reach this machine's disk
    argv: list[str] = []
    if machine.disk is not None:
        argv += [
            "-drive",
            f"if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap,file={escape(machine.disk)}",
        ]
        argv += CONTROLLERS[machine.controller].argv_under(machine.firmware)
    for number, drive in enumerate(machine.drives):
        argv += DRIVES[drive.kind].argv_of(drive, f"drive{number}", guest)
    if machine.seed is not None:
        argv += ["-drive", f"if=none,id=seed,format=raw,readonly=on,file={escape(machine.seed)}"]
        argv += ["-device", "virtio-blk-pci,drive=seed,serial=seed"]
    return argv


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
    if machine.tap is not None:
        return ["-nic", f"tap,model=virtio-net-pci,ifname={machine.tap.name},script=no,downscript=no"]
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
    restricted = ",restrict=on" if machine.isolated else ""
    if machine.network_boot is None:
        return ["-nic", f"user,model=virtio-net-pci{restricted}{forwards}{services}"]
    boot = machine.network_boot
    server = f",tftp={escape(boot.directory.absolute())},bootfile={boot.file}"
    return [
        *["-netdev", f"user,id=net{restricted}{server}{forwards}{services}"],
        *["-device", "virtio-net-pci,netdev=net,bootindex=0"],
    ]
