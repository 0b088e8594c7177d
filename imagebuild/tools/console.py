"""What a guest's serial console tells about its boot: how far it got, and whether it is over."""

import re
from collections.abc import Sequence
from pathlib import Path

Patterns = Sequence[tuple[re.Pattern[str], str]]
# phase -> what on the serial console shows that it was reached, in order
PHASES = (
    ("firmware", re.compile(r"SeaBIOS|BdsDxe|UEFI firmware|TianoCore")),
    ("bootloader", re.compile(r"GNU GRUB|Booting `|Welcome to GRUB")),
    ("kernel", re.compile(r"Linux version \d")),
    ("initramfs", re.compile(r"Running in initrd|dracut-cmdline|dracut: dracut-")),
    ("userspace", re.compile(r"Switching root|Welcome to (?!GRUB)(?![^\n]*Initramfs)")),
    (
        "network",
        re.compile(r"Network is Online|cloud-init\[\d+\]: ci-info:|Reached target .*Network is Online"),
    ),
)
# Fedora's GRUB 2.06 and GRUB 2.12 name file and line of their source before what is wrong, 2.14 the function
_SOURCE = r"(?:\S+?:(?:\w+:)?\d+: ?)?"
# who does not start the next program under Secure Boot, because of its signature or because it is revoked.
# GRUB's words come first: shim, which it asks, may add its own (grub-core/kern/efi/sb.c; shim, shim.c and
# pe.c; edk2, OvmfPkg/Library/PlatformBmPrintScLib)
REFUSED = (
    (
        re.compile(rf"error: {_SOURCE}bad shim signature[^\r\n]*"),
        "GRUB refuses the kernel: no key of the firmware or of shim has signed it as it is",
    ),
    (
        re.compile(r"Something has gone seriously wrong: [^\r\n]*"),
        "shim refuses to go on",
    ),
    (
        re.compile(r"Verification failed: [^\r\n]*Violation"),
        "shim refuses GRUB: no key of the firmware or of shim has signed it as it is, or it is revoked",
    ),
    (
        # not of what lies in the firmware itself: OVMF's own shell is not signed either, and comes last
        re.compile(
            r"BdsDxe: failed to (?:load|start) (?![^\r\n]* from Fv\()[^\r\n]*"
            r": (?:Access Denied|Security Violation)"
        ),
        "the firmware refuses the boot loader: none of its keys has signed it as it is, or it is revoked",
    ),
)
NOTHING_TO_BOOT = (
    (
        re.compile(
            r"Boot failed: ([Nn]ot a bootable disk|[Cc]ould not read[^\r\n]*)|No bootable device"
            r"|BdsDxe: No bootable option or device was found|UEFI Interactive Shell|to skip\s+startup\.nsh"
        ),
        "the firmware found nothing to boot",
    ),
)
# what ends a boot at once; each with the sentence for the reader
FATAL = (
    (re.compile(r"Kernel panic - not syncing[^\r\n]*"), "the kernel panicked"),
    (
        re.compile(r"You are in emergency mode|Entering emergency mode|Started .*Emergency Shell"),
        "systemd or dracut gave up and offers an emergency shell",
    ),
    (
        re.compile(
            r"Warning: /dev/\S+ does not exist|dracut-initqueue\[\d+\]: Warning: Could not boot|Refusing to"
            r" continue"
        ),
        "the initramfs did not find the root file system",
    ),
    # before what comes of them
    *REFUSED,
    (
        re.compile(
            rf"grub rescue>|error: {_SOURCE}(?:no such (?:device|partition)[^\r\n]*|file `[^\r\n]*' not found"
            r"|you need to load the kernel first)"
        ),
        "GRUB cannot load what its menu names",
    ),
    (re.compile(r"Minimal BASH-like line editing is supported"), "GRUB has no menu and waits at its prompt"),
    *NOTHING_TO_BOOT,
)

FIRMWARE_FATAL = (*REFUSED, *NOTHING_TO_BOOT)
# those that do not depend on how fast the machine is: they are the product's fault on a busy one, too
TIMELESS = (
    *(sentence for _, sentence in REFUSED),
    "GRUB cannot load what its menu names",
    "GRUB has no menu and waits at its prompt",
    "the firmware found nothing to boot",
    "the kernel panicked",
)
# An emulator delivers the timer's interrupts in a thread of its own, which may come too late for a kernel
# that checks them (Linux, arch/x86/kernel/apic/io_apic.c, check_timer; seen with QEMU 10.0 beside other
# work). `no_timer_check` spares guests the check: clouds' kickstarts have it, installer media do not.
TIMER = "IO-APIC + timer doesn't work"
# before these a busy processor is not progress: only the console and the disk are
EARLY = ("firmware", "bootloader", "kernel", "initramfs")

# what a kernel says when it does not get its processors, or one of them spins (Linux:
# kernel/rcu/tree_stall.h, kernel/watchdog.c, kernel/time/clocksource.c, kernel/time/timekeeping.c)
STALLS = re.compile(
    r"[^\r\n]*(rcu_\w+ kthread (starved for|timer wakeup didn't happen)|rcu: INFO: rcu_\w+ (self-)?detected"
    r" stall|soft lockup - CPU#\d+ stuck"
    r"|clocksource: .*(skew|unstable|jump|took too long)|timekeeping: .*overflow|expedited stalls"
    r"|softlockup: hung tasks|hung_task: blocked tasks)[^\r\n]*"
)
# a kernel that was told to be quiet writes nothing after this
HANDED_OVER = re.compile(r"Booting `|Loading initial ramdisk|EFI stub:")

# the same of an installer ISO (ours says so itself; Anaconda's text mode)
INSTALLER_PHASES = (
    ("firmware", re.compile(r"SeaBIOS|BdsDxe|UEFI firmware|TianoCore")),
    ("bootloader", re.compile(r"GNU GRUB|Booting `|ISOLINUX")),
    ("medium", re.compile(r"imagebuild: looking for the medium")),
    ("media check", re.compile(r"imagebuild: checking the medium")),
    ("live system", re.compile(r"imagebuild: starting the tree|anaconda.*started|Starting installer")),
    ("installer", re.compile(r"imagebuild: .*, installer for (BIOS|UEFI)|anaconda \S+ for .* started")),
    ("verification", re.compile(r"imagebuild: checking commit")),
    ("installation", re.compile(r"imagebuild: installing on|Creating \S+ on /dev/|Starting pull of")),
    ("complete", re.compile(r"imagebuild: installation complete|Installation complete")),
)
INSTALLER_FATAL = (
    (re.compile(r"imagebuild: INSTALLATION FAILED: [^\r\n]*"), "the installer gave up"),
    (re.compile(r"imagebuild: THE MEDIUM IS DAMAGED[^\r\n]*"), "the media check failed"),
    (re.compile(r"imagebuild: The machine cannot go on"), "the medium could not be used"),
    (re.compile(r"The following error occurred while installing[^\r\n]*|Pane is dead"), "Anaconda gave up"),
    *FATAL[:2],
    *FIRMWARE_FATAL,
)


def plain(console: str) -> str:
    """Return what a console shows, without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc|\r", "", console)


def phase_reached(console: str) -> str:
    """Return the last phase that the console shows; before the first it is the firmware's."""
    phases = [name for name, pattern in PHASES if pattern.search(console)]
    return phases[-1] if phases else "firmware"


def installer_phase(console: str) -> str:
    """Return the last phase of an installation that the console shows."""
    phases = [name for name, pattern in INSTALLER_PHASES if pattern.search(console)]
    return phases[-1] if phases else "firmware"


def fatal_line(console: str, patterns: Patterns = FATAL) -> str | None:
    """Return a sentence for the first fatal pattern on the console, with the line; None for a good one."""
    text = plain(console)
    for pattern, sentence in patterns:
        match = pattern.search(text)
        if match:
            return f"{sentence}: {match.group().strip()!r}"
    return None


def starts_quietly(console: str) -> bool:
    """Whether the boot loader has started a kernel that says nothing there (`quiet`, or another console)."""
    return HANDED_OVER.search(console) is not None and "Linux version" not in console


def stalled(console: str) -> str | None:
    """Return the first line in which a kernel says that it does not get on; None when there is none."""
    match = STALLS.search(plain(console))
    return match.group().strip() if match else None


def describe_failure(
    problem: str, console: str, evidence: Path, *, phase: str = "", serial: Path | None = None
) -> str:
    """Return the sentence for the reader: the phase reached, the problem, where the evidence lies, the last
    lines.
    """
    clean = plain(console)
    tail = "\n".join(f"    {line}" for line in [line for line in clean.splitlines() if line.strip()][-12:])
    where = f"(screenshot: {evidence / 'screen.png'}, console: {serial or evidence / 'serial.log'})"
    return (
        f"the host did not come up; it got as far as the {phase or phase_reached(console)}: {problem}"
        f" {where}\n{tail}"
    )
