"""The boot menu of an installer ISO: the entries that users of Fedora media expect, on screen and serial
line, for both firmwares.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from imagebuild.architectures.registry import DEFAULT, guest_of
from imagebuild.kinds import Firmware

KERNEL, INITRD = "/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"
HEADER = """serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set default="{default}"
set timeout={timeout}
search --no-floppy --set=root -l '{volume}'
"""
# where the firmware goes on: its next entry under UEFI; under BIOS the first disk that is not this medium
LOCAL_UEFI = ["exit"]
LOCAL_BIOS = ['if regexp ^hd0 "$root"; then set root=hd1; else set root=hd0; fi', "chainloader +1", "boot"]


@dataclass(frozen=True, kw_only=True)
class MenuLine:
    """One line of the menu; `key` starts it at once."""

    title: str
    key: str
    lines: tuple[str, ...]


def consoles(arch: str) -> str:
    """Return the kernel's arguments for screen and serial line of an architecture's machines."""
    return f"console=tty0 console={guest_of(arch).console}"


def entries(
    title: str, volume: str, firmware: Firmware, kickstart: str | None, arch: str = DEFAULT
) -> list[MenuLine]:
    """Return the entries; `kickstart` is the path of the one on the medium, if there is one."""
    stage2 = f"inst.stage2=hd:LABEL={volume}"

    def boot(*arguments: str) -> tuple[str, ...]:
        return (
            f"linux {KERNEL} {' '.join((stage2, consoles(arch), *arguments, 'quiet'))}",
            f"initrd {INITRD}",
        )

    found = [
        MenuLine(title=f"Install {title}", key="i", lines=boot()),
        MenuLine(title=f"Test this media & install {title}", key="t", lines=boot("rd.live.check")),
    ]
    if kickstart:
        ask = f"inst.ks=hd:LABEL={volume}:{kickstart}"
        found.append(
            MenuLine(title=f"Install {title} unattended (erases the disk)", key="u", lines=boot(ask))
        )
    found.append(MenuLine(title="Rescue shell", key="r", lines=boot("inst.rescue")))
    local = LOCAL_UEFI if firmware.is_uefi else LOCAL_BIOS
    return [*found, MenuLine(title="Boot from local drive", key="l", lines=tuple(local))]


def grub_menu(found: Sequence[MenuLine], volume: str, *, timeout: int, default: int = 1) -> str:
    """Return a grub.cfg."""
    text = HEADER.format(default=default, timeout=timeout, volume=volume)
    for entry in found:
        title = entry.title.replace("'", "")
        body = "".join(f"\t{line}\n" for line in entry.lines)
        text += f"\nmenuentry '{title}' --hotkey={entry.key} --class os --unrestricted {{\n{body}}}\n"
    return text
