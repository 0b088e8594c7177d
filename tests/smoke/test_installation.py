"""A medium is driven as a person would: its menu is waited for wherever it is shown, keys are pressed, and
what does not react is said.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild.errors import BuildError, MissingToolError
from imagebuild.kinds import Firmware
from imagebuild.smoke import boot_menu, installation
from imagebuild.smoke.boot import QUIET_SECONDS
from imagebuild.smoke.boot_menu import InstallationError, start_entry
from imagebuild.smoke.installation import HangError, InstallerBench, follow, plan_keys
from imagebuild.tools import anaconda_log, iso
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.load import Meter
from imagebuild.tools.menus import medium
from imagebuild.tools.menus.keys import KeyPresses
from imagebuild.tools.picture import Picture
from imagebuild.tools.qemu.command_line import command_line
from imagebuild.tools.qemu.machine import Kernel, Machine, Places
from tests.smoke.registers import HALTED
from tests.tools.anaconda_logs import F29, written

PLAN = KeyPresses(
    title="Install unattended", keys=("home", "u", "ret"), shown=("Install unattended", "Install Demo")
)
MENU = Picture(width=1, rows=tuple(bytes((row, 0, 0)) for row in range(100)))
COUNTING = Picture(width=1, rows=(*MENU.rows[:96], *(b"\1\1\1",) * 4))
BLANK = Picture(width=1, rows=(b"\0\0\0",) * 100)
SLOWNESS = 6.0
GRUB_ON_SERIAL = "\x1b[05;03H Install Demo 26 \x1b[06;03H*Test this media"


@dataclass
class FakeMachine:
    """A machine whose console, text screen and picture are functions of the time; `reacts`: to which press of
    its keys the menu reacts.
    """

    serial: Path
    console_at: Callable[[float], str] = lambda _: ""
    text_at: Callable[[float], str] = lambda _: ""
    picture_at: Callable[[float], Picture | None] = lambda _: None
    log: list[tuple[float, str]] = field(default_factory=list)
    reacts: int = 1
    read: int = 3 << 20
    presses: int = 0
    off: float = 1e9
    broken: str = ""
    last_word: str = ""
    pressed: list[str] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.meter = Meter(lambda: {"1": (self.now, 0.0)}, lambda: self.now)
        self.places = Places(serial=self.serial, monitor=Path("/none"), variables=Path("/none"))

    @property
    def alive(self) -> bool:
        return self.now < self.off

    def console(self) -> str:
        self.serial.with_name("anaconda.log").write_text(
            "".join(line for when, line in self.log if when <= self.now)
        )
        return self.console_at(self.now)

    def screen_text(self) -> str:
        return self.text_at(self.now)

    def picture(self) -> Picture | None:
        return self.picture_at(self.now)

    def drives_read(self) -> int:
        """A menu reads nothing; the kernel that is read when it reacts is large."""
        self.read += (8 << 20) if self.reacts and self.presses >= self.reacts else 0
        return self.read

    def press(self, *keys: str) -> None:
        self.pressed += keys
        self.presses += 1

    def type(self, text: str) -> None:
        self.typed.append(text)
        self.presses += 1

    def broke(self) -> str:
        return self.broken

    def ending(self) -> str:
        return "" if self.alive else self.last_word

    def cpu_seconds(self) -> float:
        return self.now

    def io_bytes(self) -> int:
        return 0

    def registers(self) -> str:
        return HALTED

    def screenshot(self, file: Path) -> None:
        file.write_bytes(b"png")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeMachine], FakeMachine]:
    def set_to(machine: FakeMachine) -> FakeMachine:
        def sleep(seconds: float) -> None:
            machine.now += seconds

        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr(time, "monotonic", lambda: machine.now)
        return machine

    return set_to


Clock = Callable[[FakeMachine], FakeMachine]


def always(value: Any) -> Callable[[float], Any]:
    return lambda _: value


def after(seconds: float, then: Any, before: Any) -> Callable[[float], Any]:
    return lambda now: then if now >= seconds else before


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


# --- followed by the log ------------------------------------------------------------------------------------


def bench(file: Path = Path("x.iso"), firmware: Firmware = Firmware.BIOS) -> InstallerBench:
    return InstallerBench(
        iso=file, firmware=firmware, accelerator=Accelerator(name="tcg", slowness=1, reason="")
    )


def logged(*lines: str, begin: float = 30.0, every: float = 5.0) -> list[tuple[float, str]]:
    return [(begin + every * number, line) for number, line in enumerate(lines)]


def followed(machine: Any, work: Path) -> dict[str, float]:
    return follow(machine, bench(), work, heard=False)


@pytest.mark.parametrize("word", ["the guest restarted it, or crashed", "the guest switched it off", ""])
def test_an_installation_is_followed_by_anacondas_log_alone(word: str, tmp_path: Path, clock: Clock) -> None:
    machine = clock(FakeMachine(tmp_path / "serial.log", log=logged(*written(F29)), off=90.0, last_word=word))
    phases = followed(machine, tmp_path)
    assert list(phases) == [
        "firmware",
        "installer",
        "kickstart",
        "installation",
        "deployment",
        "configuration",
        "scripts",
        "complete",
        "off",
    ]
    assert phases["installer"] == pytest.approx(30, abs=2)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"off": 60.0, "last_word": "the guest restarted it, or crashed"},
            r"went off before .* complete \(the guest restarted it, or crashed\)",
        ),
        (
            {"off": 60.0, "last_word": "the guest switched it off"},
            r"went off before .* complete \(the guest switched it off\)",
        ),
        ({"off": 60.0}, "went off before the installation was complete"),
        # it was complete, and yet something had gone wrong
        (
            {
                "off": 90.0,
                "log": logged(
                    *written(F29),
                    "06:13:00,1 INFO anaconda:Running kickstart %%onerror script(s)\n",
                    every=3.0,
                ),
            },
            "Anaconda gave up",
        ),
        (
            {
                "log": logged(
                    *written(F29[:3]),
                    "06:13:00,1 CRIT anaconda:anaconda: exception: Traceback (most recent call last):#012\n",
                )
            },
            "Anaconda gave up",
        ),
    ],
)
def test_an_installation_that_ends_too_early_is_no_installation(
    more: dict[str, Any], message: str, tmp_path: Path, clock: Clock
) -> None:
    machine = clock(FakeMachine(tmp_path / "serial.log", **{"log": logged(*written(F29[:5])), **more}))
    with pytest.raises(InstallationError, match=message) as caught:
        followed(machine, tmp_path)
    assert "Anaconda's log" in caught.value.hint
    assert "as far as the " in caught.value.message
    assert "anaconda" in caught.value.message.splitlines()[-1], "the last lines of the log are in the message"


def test_a_medium_that_never_speaks_is_given_up(tmp_path: Path, clock: Clock) -> None:
    machine = clock(FakeMachine(tmp_path / "serial.log"))
    with pytest.raises((InstallationError, HangError), match="nothing moved on console and disk"):
        followed(machine, tmp_path)
    assert machine.now == pytest.approx(QUIET_SECONDS, abs=10)
    assert (tmp_path / "screen.png").exists()


# --- the plan, from the medium ------------------------------------------------------------------------------


def test_a_medium_without_a_menu_or_an_entry_does_not_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.iso"

    def broken(image: Path, work: Path) -> dict[Firmware, Any]:
        raise BuildError("no menu here", hint="look there")

    monkeypatch.setattr(medium, "menus", broken)
    with pytest.raises(InstallationError, match=r"x\.iso under bios: no menu here") as caught:
        plan_keys(bench(file))
    assert caught.value.hint == "look there"
    monkeypatch.setattr(medium, "menus", lambda *_: {})
    with pytest.raises(InstallationError, match=r"x\.iso does not boot under uefi"):
        plan_keys(bench(file, Firmware.UEFI))


def test_how_the_entry_was_started_is_in_the_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(image: Path, work: Path) -> dict[Firmware, Any]:
        raise BuildError("no menu here")

    monkeypatch.setattr(medium, "menus", broken)
    with pytest.raises(InstallationError):
        installation.install(bench(tmp_path / "x.iso"), tmp_path / "disk", tmp_path)
    assert "no menu here" in (tmp_path / "menu.txt").read_text()
    assert installation.main_log(tmp_path) == "menu.txt"
    (tmp_path / "serial.log").touch()
    assert installation.main_log(tmp_path) == "serial.log"
    (tmp_path / "anaconda.log").touch()
    assert installation.main_log(tmp_path) == "anaconda.log"
    monkeypatch.setattr(installation, "plan_keys", lambda _: PLAN)
    assert installation._plan_with_evidence(bench(), tmp_path) is PLAN
    assert (
        tmp_path / "menu.txt"
    ).read_text() == "the unattended entry 'Install unattended' is started by home u ret\n"


def test_a_kernel_that_qemu_starts_is_no_installation_from_the_medium(tmp_path: Path) -> None:
    direct = replace(bench(), kernel=Kernel(file=Path("vmlinuz"), initrd=Path("initrd.img"), arguments=""))
    with pytest.raises(AssertionError, match="says nothing of the medium"):
        installation.install(direct, tmp_path / "disk", tmp_path)


def test_a_host_without_the_tools_is_not_the_mediums_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(image: Path, work: Path) -> dict[Firmware, Any]:
        raise MissingToolError("the program xorriso is not installed")

    monkeypatch.setattr(medium, "menus", missing)
    monkeypatch.setattr(iso, "volume_id", always("X"))
    with pytest.raises(MissingToolError):
        plan_keys(bench(tmp_path / "x.iso"))


def test_the_machine_has_the_port_that_anaconda_looks_for() -> None:
    from imagebuild.kinds import Controller

    machine = Machine(
        disk=None,
        controller=Controller.VIRTIO,
        firmware=Firmware.BIOS,
        cores=1,
        memory=1 << 30,
        ports={anaconda_log.PORT: Path("/e/a,b.log")},
    )
    places = Places(serial=Path("/s"), monitor=Path("/m"), variables=Path("/v"), last_word=Path("/l"))
    argv = command_line(machine, Accelerator(name="tcg", slowness=1, reason=""), places, None)
    # as livemedia-creator does (lorax 26.9, src/sbin/livemedia-creator); a file needs nobody to listen
    assert "virtio-serial-pci" in argv
    assert "virtserialport,chardev=port0,name=org.fedoraproject.anaconda.log.0" in argv
    assert "file,id=port0,path=/e/a,,b.log" in argv
    assert "unix:/l,server=on,wait=off" in argv
