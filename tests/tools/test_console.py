"""What the serial console tells about a boot."""

import pytest

from imagebuild.tools.console import fatal_line, phase_reached

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
        ("   Minimal BASH-like line editing is supported. For the first word, TAB", "GRUB has no menu"),
    ],
)
def test_a_fatal_line_is_said_in_a_sentence(line: str, sentence: str) -> None:
    assert sentence in fatal_line(f"{BOOT}{line}\r\n")


def test_a_good_boot_has_no_fatal_line() -> None:
    assert not fatal_line(BOOT)
