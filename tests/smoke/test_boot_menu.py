"""The menu of a medium is waited for wherever it is shown, its keys are pressed, and what does not react is
said.
"""

from pathlib import Path
from typing import Any

import pytest

from imagebuild.smoke import boot_menu
from imagebuild.smoke.boot_menu import InstallationError, start_entry
from imagebuild.tools.menus.keys import KeyPresses
from imagebuild.tools.picture import Picture
from tests.smoke.timed_machine import Clock, FakeMachine, after, always
from tests.tools.anaconda_logs import F29, written

PLAN = KeyPresses(
    title="Install unattended", keys=("home", "u", "ret"), shown=("Install unattended", "Install Demo")
)
MENU = Picture(width=1, rows=tuple(bytes((row, 0, 0)) for row in range(100)))
COUNTING = Picture(width=1, rows=(*MENU.rows[:96], *(b"\1\1\1",) * 4))
BLANK = Picture(width=1, rows=(b"\0\0\0",) * 100)
SLOWNESS = 6.0
GRUB_ON_SERIAL = "\x1b[05;03H Install Demo 26 \x1b[06;03H*Test this media"


def start(machine: Any, plan: KeyPresses = PLAN) -> None:
    start_entry(machine, plan, SLOWNESS)


@pytest.mark.parametrize(
    ("shows", "earliest"),
    [
        # isolinux' vesamenu.c32: graphics, and a countdown that changes a line each second
        (
            {"picture_at": lambda now: BLANK if now < 5 else MENU if int(now) % 2 else COUNTING},
            5 + boot_menu.SETTLED_SECONDS,
        ),
        # menu.c32, and GRUB under BIOS: the text screen; SeaBIOS' own text is not a menu, however long it
        # stands
        (
            {
                "text_at": after(8, " Install Demo 26", "SeaBIOS\nBooting from DVD/CD..."),
                "picture_at": always(MENU),
            },
            8,
        ),
        # GRUB under UEFI: the firmware's console is the serial one, too, but it does not read a key there
        (
            {"console_at": after(4, GRUB_ON_SERIAL, "BdsDxe: starting Boot0001"), "picture_at": always(MENU)},
            4,
        ),
        # its graphical menu is not there: a logo stands longer than a second look
        (
            {"console_at": always("BdsDxe: starting Boot0001"), "picture_at": always(MENU)},
            SLOWNESS * boot_menu.SETTLED_SECONDS,
        ),
        # something is drawn all the time until the menu is there
        (
            {
                "picture_at": lambda now: (
                    MENU
                    if now > 9
                    else Picture(width=1, rows=(bytes((int(now * 10), 0, 0)),) * 99 + (b"\3\3\3",))
                )
            },
            9,
        ),
    ],
)
def test_the_menu_is_waited_for_wherever_it_is_shown(
    shows: dict[str, Any], earliest: float, tmp_path: Path, clock: Clock
) -> None:
    machine = clock(FakeMachine(tmp_path / "serial.log", **shows))
    start(machine)
    assert machine.pressed == ["home", "u", "ret"]
    assert not machine.typed
    assert earliest <= machine.now < earliest + 6


def test_our_own_menu_is_typed_on_the_serial_console(tmp_path: Path, clock: Clock) -> None:
    machine = clock(FakeMachine(tmp_path / "serial.log", console_at=always(GRUB_ON_SERIAL)))
    start(machine, KeyPresses(title="x", keys=("u",), shown=PLAN.shown, typed="u", heard=True))
    assert (machine.typed, machine.pressed) == (["u"], [])


def test_what_does_not_read_the_serial_console_gets_its_keys_from_the_keyboard(
    tmp_path: Path, clock: Clock
) -> None:
    """A kernel that speaks there, and a GRUB that is shown there by UEFI alone."""
    machine = clock(FakeMachine(tmp_path / "serial.log", console_at=always(GRUB_ON_SERIAL), reacts=2))
    start(machine, KeyPresses(title="x", keys=("u",), shown=PLAN.shown, typed="u", heard=True))
    assert (machine.typed, machine.pressed) == (["u"], ["u"])


def test_nothing_is_pressed_where_the_entry_starts_by_itself(tmp_path: Path, clock: Clock) -> None:
    machine = clock(FakeMachine(tmp_path / "serial.log"))
    start(machine, KeyPresses(title="x", keys=(), shown=()))
    assert (machine.pressed, machine.now) == ([], 0.0)


@pytest.mark.parametrize(
    "shows",
    [{"console_at": always(GRUB_ON_SERIAL)}, {"picture_at": always(MENU)}],
    ids=["console", "picture"],
)
def test_a_menu_that_loses_keys_while_it_is_drawn_gets_them_again(
    shows: dict[str, Any], tmp_path: Path, clock: Clock
) -> None:
    machine = clock(FakeMachine(tmp_path / "serial.log", reacts=4, **shows))
    start(machine)
    assert machine.pressed == 4 * ["home", "u", "ret"]
    assert machine.now < 60, "lorax' menus count down from 60"


def test_a_menu_that_comes_after_the_keys_gets_them_again(tmp_path: Path, clock: Clock) -> None:
    """The logo of a firmware stood still for longer than one would think."""
    machine = FakeMachine(tmp_path / "serial.log", picture_at=always(MENU), reacts=1)
    machine.console_at = lambda _: "BdsDxe: starting Boot0001" + (GRUB_ON_SERIAL if machine.pressed else "")
    start(clock(machine))
    assert machine.pressed == 2 * ["home", "u", "ret"]


def test_keys_that_were_kept_for_the_menu_may_have_started_the_entry(tmp_path: Path, clock: Clock) -> None:
    """Seen under UEFI: pressed at the logo, taken by the menu as it came, and all was over before anything
    more was read.
    """
    machine = FakeMachine(
        tmp_path / "serial.log", picture_at=always(MENU), log=[(13.0, written(F29)[0])], off=14.0
    )
    machine.console_at = lambda _: "BdsDxe: starting Boot0001" + (GRUB_ON_SERIAL if machine.pressed else "")
    # the menu read them at once, and nothing is read for the second press
    machine.drives_read = lambda: (3 << 20) + (8 << 20) * min(machine.presses, 1)  # type: ignore[method-assign]  # a machine of its own
    start(clock(machine))


@pytest.mark.parametrize(
    ("shows", "message"),
    [
        (
            {"picture_at": always(MENU), "reacts": 0},
            r"the start of 'Install unattended' by its keys \(home u ret\) did not come within",
        ),
        ({"picture_at": always(BLANK)}, "the boot menu did not come within"),
        ({"text_at": always("Boot failed: could not read from CDROM (code 0003)")}, "found nothing to boot"),
        ({"off": 3.0}, "the machine went off before the boot menu came"),
    ],
)
def test_a_menu_that_does_not_come_or_react_is_said(
    shows: dict[str, Any], message: str, tmp_path: Path, clock: Clock
) -> None:
    with pytest.raises(InstallationError, match=message):
        start(clock(FakeMachine(tmp_path / "serial.log", **shows)))
