"""What the serial console tells about a boot."""

import pytest

from imagebuild.tools.console import (
    FATAL,
    FIRMWARE_FATAL,
    INSTALLER_FATAL,
    REFUSED,
    TIMELESS,
    Patterns,
    fatal_line,
    phase_reached,
)

BOOT = """SeaBIOS (version 1.16.2)
Booting `Debian'
[    0.000000] Linux version 6.1.0
[    5.1] systemd[1]: Running in initrd.
Welcome to \x1b[1mDebian Atomic Host dracut-059 (Initramfs)\x1b[0m!
[   24.1] systemd[1]: Switching root.
[   80.2] cloud-init[500]: ci-info: +++++
"""


@pytest.mark.parametrize(
    ("lines", "phase"),
    [
        (0, "firmware"),
        (1, "firmware"),
        (2, "bootloader"),
        (3, "kernel"),
        (4, "initramfs"),
        (5, "initramfs"),
        (6, "userspace"),
        (7, "network"),
    ],
)
def test_the_phase_is_the_last_one_that_was_reached(lines: int, phase: str) -> None:
    assert phase_reached("\n".join(BOOT.splitlines()[:lines])) == phase


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("[    4.2] Kernel panic - not syncing: VFS: Unable to mount root fs", "the kernel panicked"),
        ("You are in emergency mode. After logging in", "emergency shell"),
        ("[  190.1] dracut-initqueue[300]: Warning: Could not boot.", "did not find the root file system"),
        ("error: file `/ostree/x/vmlinuz' not found.", "GRUB cannot load"),
        ("grub rescue> ", "GRUB cannot load"),
        ("Boot failed: not a bootable disk", "found nothing to boot"),
        ("BdsDxe: No bootable option or device was found.", "found nothing to boot"),
        (
            "Press \x1b[1mESC\x1b[0m in 5 seconds to skip \x1b[1mstartup.nsh\x1b[0m or any other key",
            "found nothing to boot",
        ),
        ("error: ../../grub-core/kern/disk.c:236:no such device: 0a1b-2c3d.", "GRUB cannot load"),
        ("error: kern/disk.c:grub_disk_open:240: no such device: 0a1b-2c3d.", "GRUB cannot load"),
        ("   Minimal BASH-like line editing is supported. For the first word, TAB", "GRUB has no menu"),
    ],
)
def test_a_fatal_line_is_said_in_a_sentence(line: str, sentence: str) -> None:
    said = fatal_line(f"{BOOT}{line}\r\n")
    assert said is not None
    assert sentence in said


def test_a_good_boot_has_no_fatal_line() -> None:
    assert fatal_line(BOOT) is None


def test_a_shell_in_the_firmware_that_secure_boot_refuses_is_not_the_disks() -> None:
    # OVMF 2022.11 of Debian 12 with enrolled keys, an empty disk
    shell = (
        'BdsDxe: failed to start Boot0002 "EFI Internal Shell" from Fv(7CB8BDC9-F8EB-4F34-AAEA-3EE4AF6516A1)/'
        "FvFile(7C04A583-9E3E-4F1C-AD65-E05268D0B4D1): Security Violation\r\n"
    )
    said = fatal_line(f"{shell}BdsDxe: No bootable option or device was found.\r\n")
    assert said is not None
    assert "found nothing to boot" in said
    assert fatal_line(shell) is None


# What real machines said, under Secure Boot with Microsoft's keys: edk2 before and after its hint (of 2025,
# tianocore/edk2 pull request 11167; bootc-dev/bootc issue 2039); shim under libvirt's firmware; GRUB of
# Fedora 40 (its magazine, 2024-06) and the form of 2.14
FIRMWARE = 'BdsDxe: failed to load Boot0002 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x2,0x3)/Pci(0x0,0x0)'
NO_SHIM = f"{FIRMWARE}: Access Denied"
NO_SHIM_2025 = f"{NO_SHIM} -- rejected probably by Secure Boot"
NOTHING_LEFT = "BdsDxe: No bootable option or device was found."
STARTING = 'BdsDxe: starting Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x2,0x0)'
NO_GRUB = f"{STARTING}\r\nVerification failed: (0x1A) Security Violation"
REVOKED = "Something has gone seriously wrong: SBAT self-check failed: Security Policy Violation"
NO_KERNEL = "error: ../../grub-core/kern/efi/sb.c:182:bad shim signature."
NO_KERNEL_PLAIN = "error: bad shim signature."
NO_KERNEL_2026 = "error: kern/efi/sb.c:shim_lock_verifier_write:219: bad shim signature."
NOT_LOADED = "error: ../../grub-core/loader/i386/efi/linux.c:258:you need to load the kernel first."


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([NO_SHIM, NOTHING_LEFT], "the firmware refuses the boot loader"),
        ([NO_SHIM_2025, NOTHING_LEFT], "the firmware refuses the boot loader"),
        ([NO_GRUB], "shim refuses GRUB"),
        ([NO_GRUB, NO_SHIM.replace("load", "start")], "shim refuses GRUB"),
        ([REVOKED], "shim refuses to go on"),
        ([NO_KERNEL, NOT_LOADED], "GRUB refuses the kernel"),
        ([NO_KERNEL_PLAIN, NOT_LOADED], "GRUB refuses the kernel"),
        ([NO_KERNEL_2026, NOT_LOADED], "GRUB refuses the kernel"),
    ],
)
@pytest.mark.parametrize("patterns", [FATAL, FIRMWARE_FATAL, INSTALLER_FATAL])
def test_a_refusal_is_told_before_what_comes_of_it(
    lines: list[str], sentence: str, patterns: Patterns
) -> None:
    said = fatal_line("\r\n".join(lines), patterns)
    assert said is not None
    assert said.startswith(sentence)


def test_an_option_of_the_firmware_that_is_not_there_is_no_refusal() -> None:
    assert fatal_line(f"{FIRMWARE}: Not Found\r\n{STARTING}\r\n") is None


@pytest.mark.parametrize("sentence", [sentence for _, sentence in REFUSED])
def test_a_refusal_is_the_products_fault_on_a_busy_machine_too(sentence: str) -> None:
    assert sentence.startswith(TIMELESS)
