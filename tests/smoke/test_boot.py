"""How a boot that is watched ends: by phase, by the time that the guest had, and with the right one to blame.

What the fake QEMU answers was recorded from Debian 12's QEMU 7.2 (SeaBIOS 1.16): the screen of a machine with
an empty disk (`pmemsave` of 0xB8000), the registers of a halted machine and of a kernel 6.1 that spins in its
panic (`info registers -a`).
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imagebuild.smoke import boot
from imagebuild.smoke.boot import BOOT_SECONDS, STALL_SECONDS, Watched, follow_boot, starvation
from imagebuild.tools import registers, screen
from imagebuild.tools.load import Meter
from tests import data as tests_data
from tests.smoke.registers import HALTED

DATA = tests_data.DATA / "qemu"
EMPTY = (DATA / "seabios-nothing-to-boot.vga").read_bytes()
SPINNING = (DATA / "kernel-spins.registers").read_text()
SLOWNESS = 2.0
GRUB = "Welcome to GRUB!\nBooting `Debian'\n"
KERNEL = GRUB + "[    0.000000] Linux version 6.1.0\n[    1.9] IP idents hash table entries: 16384\n"
INITRAMFS = KERNEL + "[    5.1] systemd[1]: Running in initrd.\n"
USERSPACE = INITRAMFS + "[   24.1] systemd[1]: Switching root.\n"
STARVED = "[   99.1] rcu: rcu_preempt kthread starved for 5250 jiffies! g1 f0x0\n"
LOCKUP = "[   99.1] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [modprobe:300]\n"


@dataclass
class FakeMachine:
    """A guest whose every second is made up: how much of two processors it runs and waits for, and what it
    shows.
    """

    text: str = ""
    runs: float = 0.0
    waits: float = 0.0
    screen: str = ""
    dump: str = SPINNING
    alive: bool = True
    broken: str | None = None
    now: float = 0.0
    looks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.meter = Meter(lambda: {"1": (self.now * self.runs, self.now * self.waits)}, lambda: self.now)

    def console(self) -> str:
        return self.text

    def cpu_seconds(self) -> float:
        return self.now * self.runs

    def io_bytes(self) -> int:
        return 0

    def screen_text(self) -> str:
        self.looks.append("screen")
        return self.screen

    def registers(self) -> str:
        self.looks.append("registers")
        return self.dump

    def broke(self) -> str | None:
        return self.broken


def watch(
    machine: FakeMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, slowness: float = SLOWNESS
) -> Watched:
    def sleep(seconds: float) -> None:
        machine.now += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: machine.now)
    running: Any = machine
    return follow_boot(
        running,
        1,
        tmp_path,
        cores=2,
        slowness=slowness,
        serial=tmp_path / "serial.log",
        greets=lambda _: False,
    )


def test_a_bios_that_finds_nothing_to_boot_is_seen_on_its_screen_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeMachine(screen=screen.read_text(EMPTY), dump=HALTED)
    watched = watch(machine, tmp_path, monkeypatch)
    assert "the firmware found nothing to boot" in (watched.problem or "")
    assert "No bootable device." in (watched.problem or "").splitlines()[-1], (
        "the last lines of the screen are in the message"
    )
    assert not watched.rig
    assert machine.now < 10
    assert (tmp_path / "screen.txt").read_text().rstrip().endswith("No bootable device.")


def test_the_screen_is_read_now_and_then_and_only_before_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeMachine(text="", dump=HALTED)
    watch(machine, tmp_path, monkeypatch)
    assert machine.looks.count("screen") <= machine.now / boot.SCREEN_SECONDS
    machine = FakeMachine(text=KERNEL)
    watch(machine, tmp_path, monkeypatch)
    assert "screen" not in machine.looks


@pytest.mark.parametrize("text", [KERNEL, INITRAMFS])
def test_a_kernel_that_spins_is_hung_however_busy_its_processors_are(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeMachine(text=text, runs=2.0)
    watched = watch(machine, tmp_path, monkeypatch)
    assert watched.hung
    assert watched.rig
    assert "nothing moved on console and disk" in (watched.problem or "")
    assert "processor 0 is halted, processor 1 spins near 0xffffffff8b5f77a3" in (watched.problem or "")
    assert machine.now < 1.2 * STALL_SECONDS * SLOWNESS
    assert machine.looks.count("registers") == 2
    assert "RIP=ffffffff" in (tmp_path / "registers.txt").read_text()


def test_in_userspace_a_busy_processor_is_progress_until_the_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeMachine(text=USERSPACE + LOCKUP, runs=1.9)
    watched = watch(machine, tmp_path, monkeypatch)
    assert machine.now == pytest.approx(BOOT_SECONDS * SLOWNESS, abs=5)
    assert "no ssh within" in (watched.problem or "")
    # a unit that spins in the kernel of a quiet machine is the image's fault, whatever that kernel complains
    # of
    assert (watched.rig, watched.hung) == (False, False)


def test_an_initramfs_that_waits_is_the_images_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = watch(FakeMachine(text=INITRAMFS, dump=HALTED), tmp_path, monkeypatch)
    assert (watched.rig, watched.hung) == (False, False)
    assert "processor 0 is halted" in (watched.problem or "")
    # but for one that hardly got a processor
    assert watch(FakeMachine(text=INITRAMFS, dump=HALTED, runs=0.3, waits=0.9), tmp_path, monkeypatch).rig


def test_a_boot_loader_that_hangs_is_started_again_but_is_not_a_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(
        FakeMachine(text="Welcome to GRUB!\n", runs=1.0, dump=HALTED.replace("HLT=1", "HLT=0")),
        tmp_path,
        monkeypatch,
    )
    assert (watched.rig, watched.hung) == (False, True)


def test_a_kernel_that_was_told_to_be_quiet_is_given_more_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeMachine(text=GRUB, runs=1.0)
    watched = watch(machine, tmp_path, monkeypatch)
    assert machine.now > 2 * STALL_SECONDS * SLOWNESS
    assert watched.hung
    assert watched.rig, "its registers show that a kernel runs"


@pytest.mark.parametrize(
    "line", ["You are in emergency mode. After logging in", "dracut-initqueue[300]: Warning: Could not boot."]
)
@pytest.mark.parametrize(
    ("runs", "waits", "complaint", "rig"),
    [
        (0.9, 0.05, "", False),
        (0.9, 0.05, STARVED, False),
        (0.5, 0.3, "", False),
        (0.5, 0.3, STARVED, True),
        (0.5, 1.0, "", True),
    ],
)
def test_a_starved_guest_is_the_rigs_fault(
    line: str,
    runs: float,
    waits: float,
    complaint: str,
    rig: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = FakeMachine(text=USERSPACE, runs=runs, waits=waits)
    machine.now = 200.0
    machine.text += complaint + line
    watched = watch(machine, tmp_path, monkeypatch)
    assert watched.rig is rig, watched.problem
    assert ("the build machine is too busy" in (watched.problem or "")) is rig
    assert "systemd or dracut gave up" in (watched.problem or "") or "did not find the root" in (
        watched.problem or ""
    )
    assert not rig or not complaint or "kthread starved" in (watched.problem or "")


def test_what_does_not_depend_on_time_is_the_images_fault_on_a_busy_machine_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeMachine(text=GRUB + "error: file `/ostree/x/vmlinuz' not found.", runs=0.2, waits=1.8)
    machine.now = 200.0
    assert not watch(machine, tmp_path, monkeypatch).rig


def test_a_timer_that_comes_too_late_is_the_emulators_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Linux 6.1 under QEMU 10.0.2, beside two other programs on two processors; the same medium installed a
    # minute later
    panic = (
        "Linux version 6.1.0-56-amd64\n[    0.008000] ..MP-BIOS bug: 8254 timer not connected to IO-APIC\n[  "
        "  0.024000] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug and send"
        " a report.\n"
    )
    watched = watch(FakeMachine(text=panic, runs=1.0, waits=0.0), tmp_path, monkeypatch)
    assert (watched.rig, watched.hung) == (True, True)
    assert "timer came too late" in (watched.problem or "")


def test_a_busy_machine_makes_a_boot_long_not_wrong_and_not_endless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = FakeMachine(text=USERSPACE, runs=1.0, waits=1.0)
    watched = watch(half, tmp_path, monkeypatch)
    assert half.now == pytest.approx(2 * BOOT_SECONDS * SLOWNESS, abs=10)
    assert watched.rig
    hardly = FakeMachine(text=USERSPACE, runs=0.4, waits=20.0)
    watched = watch(hardly, tmp_path, monkeypatch)
    assert hardly.now == pytest.approx(BOOT_SECONDS * SLOWNESS, abs=10), (
        "nobody waits for what will not come in three times as long"
    )
    assert watched.rig


@pytest.mark.parametrize(
    ("broken", "rig"),
    [
        ("QEMU failed with exit status 1: Could not set up host forwarding rule", True),
        ("QEMU was killed by SIGKILL: ", True),
        (None, False),
    ],
)
def test_a_qemu_that_breaks_is_no_failure_of_the_image(
    broken: str | None, rig: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(FakeMachine(alive=False, broken=broken), tmp_path, monkeypatch)
    assert watched.rig is rig
    assert (broken or "switched itself off") in (watched.problem or "")


def test_complaints_of_a_kernel_alone_are_no_proof() -> None:
    now = [0.0]
    meter = Meter(lambda: {"1": (now[0] * 1.9, now[0] * 0.1)}, lambda: now[0])
    now[0] = 500.0
    meter.look()
    assert not starvation(meter, STARVED + LOCKUP)


def test_registers_are_read_as_qemu_writes_them() -> None:
    assert [(one.number, one.halted, one.in_kernel) for one in registers.read(HALTED)] == [
        (0, True, False),
        (1, True, False),
    ]
    spinning = registers.read(SPINNING)
    assert len(spinning) == 2
    assert any(one.in_kernel and not one.halted for one in spinning)
    assert registers.read("") == ()
    assert not registers.spinning((), ())


@pytest.mark.parametrize("memory", [b"", b"\0" * screen.SIZE, b"\xff" * screen.SIZE, bytes(range(256)) * 16])
def test_a_screen_without_text_shows_none(memory: bytes) -> None:
    assert screen.read_text(memory) == ""
