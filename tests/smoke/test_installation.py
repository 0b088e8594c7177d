"""An installation is planned from the medium's menu, and followed by the log of its installer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild.errors import BuildError, MissingToolError
from imagebuild.kinds import Firmware
from imagebuild.smoke import installation
from imagebuild.smoke.boot import QUIET_SECONDS
from imagebuild.smoke.boot_menu import InstallationError
from imagebuild.smoke.installation import HangError, InstallerBench, follow, plan_keys
from imagebuild.tools import anaconda_log, iso
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.menus import medium
from imagebuild.tools.menus.keys import KeyPresses
from imagebuild.tools.qemu.command_line import command_line
from imagebuild.tools.qemu.machine import Kernel, Machine, Places
from tests.smoke.timed_machine import Clock, FakeMachine, always
from tests.tools.anaconda_logs import F29, written

PLAN = KeyPresses(
    title="Install unattended", keys=("home", "u", "ret"), shown=("Install unattended", "Install Demo")
)


def bench(file: Path = Path("x.iso"), firmware: Firmware = Firmware.BIOS) -> InstallerBench:
    return InstallerBench(
        iso=file, firmware=firmware, accelerator=Accelerator(name="tcg", slowness=1, reason="")
    )


def logged(*lines: str, begin: float = 30.0, every: float = 5.0) -> list[tuple[float, str]]:
    return [(begin + every * number, line) for number, line in enumerate(lines)]


def followed(machine: Any, work: Path) -> dict[str, float]:
    return follow(machine, bench(), work, heard=False)


@pytest.mark.parametrize("word", ["the guest restarted it, or crashed", "the guest switched it off", None])
def test_an_installation_is_followed_by_anacondas_log_alone(
    word: str | None, tmp_path: Path, clock: Clock
) -> None:
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
