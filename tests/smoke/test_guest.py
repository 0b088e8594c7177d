"""Guests that hang, are woken, do not answer: what the rig makes of them, without QEMU.

What ssh says is OpenSSH 9.2's own (`ssh -o BatchMode=yes`, Debian 12; sshconnect.c, kex.c, clientloop.c).
"""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagebuild.kinds import Firmware
from imagebuild.smoke import guest, guest_machine, installation
from imagebuild.smoke.boot import Problem, Watched
from imagebuild.smoke.boot_menu import InstallationError
from imagebuild.smoke.criteria import test_boots as boots
from imagebuild.smoke.guest import Guest
from imagebuild.smoke.host.errors import RigError
from imagebuild.smoke.host.words import Boot, Host
from imagebuild.smoke.hosts.ostree import OstreeHost
from imagebuild.smoke.installation import HangError, InstallerBench
from imagebuild.tools import ssh
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.load import Meter
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.ssh import Answer
from tests.smoke import trials
from tests.smoke.trials import EXPECTED

BANNER = "Connection timed out during banner exchange"
REFUSED = "ssh: connect to host 127.0.0.1 port 43211: Connection refused"
BROKEN = "client_loop: send disconnect: Broken pipe"
HUNG = Watched(problem="it hung at IP idents", phases={"firmware": 1.0, "kernel": 9.0}, rig=True, hung=True)
UP = Watched(problem=None, phases={"firmware": 1.0, "ssh": 60.0})


def answer(status: int, complaint: str = "") -> Answer:
    return Answer(status=status, output="", complaint=complaint, seconds=0.0)


@dataclass
class Answers:
    """A host that gives these answers, one after the other, and the last one for ever."""

    given: list[Answer]
    asked: list[str] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        self.asked.append(argv[-1])
        return self.given.pop(0) if len(self.given) > 1 else self.given[0]


@dataclass
class FakePower:
    dead: str | None = None

    def restart(self, name: str) -> str | None:
        return None

    def fatal(self) -> str | None:
        return self.dead


def host(*given: Answer, dead: str | None = None) -> Host:
    return Host(transport=Answers(list(given)), commands=OstreeHost(), slowness=0.0, power=FakePower(dead))


# --- whose fault it is that nothing is answered ---


@pytest.mark.parametrize(
    "complaint", [BANNER, REFUSED, "kex_exchange_identification: Connection closed by remote host"]
)
def test_a_program_that_ssh_did_not_get_in_to_run_is_begun_again(complaint: str) -> None:
    one = host(answer(255, complaint), answer(255, complaint), answer(0))
    assert one.run("date").status == 0
    assert isinstance(one.transport, Answers)
    assert one.transport.asked == ["date"] * 3


@pytest.mark.parametrize(
    "complaint",
    [
        BANNER,
        REFUSED,
        BROKEN,
        "",
        "Timeout, server 127.0.0.1 not responding.",
        "mux_client_request_session: read from master failed: Broken pipe",
    ],
)
def test_a_connection_that_broke_is_the_rigs_fault_even_when_the_host_answers_again(complaint: str) -> None:
    # long enough that it is not begun again for ever, and then it answers
    silent = [answer(255, complaint)] * 4
    with pytest.raises(RigError, match="the connection to the host broke during date"):
        host(*silent, answer(0)).run("date")


def test_a_connection_that_broke_because_the_kernel_panicked_is_the_products_fault() -> None:
    with pytest.raises(AssertionError, match="panicked"):
        host(answer(255, BROKEN), dead="the kernel panicked: 'x'").run("date")


def test_a_program_that_hangs_on_a_host_that_answers_is_the_products_fault() -> None:
    with pytest.raises(AssertionError, match="no answer within 30 s"):
        host(answer(255, "no answer within 30 s"), answer(0)).run("date")
    with pytest.raises(RigError, match="does not answer to date"):
        host(answer(255, "no answer within 30 s")).run("date")


def test_a_programs_own_status_255_is_an_answer() -> None:
    found = host(answer(255, "fsck: 3 errors left"), answer(0)).run("fsck")
    assert (found.status, found.complaint) == (255, "fsck: 3 errors left")


def test_an_artifact_that_the_rig_could_not_boot_is_an_error() -> None:
    with pytest.raises(RigError, match="cannot start"):
        boots.test_artifact_boots(
            Boot(host=None, expected=EXPECTED, problem="QEMU cannot start", phases={}, rig=True)
        )


# --- guests ---


@dataclass
class FakeRunning:
    """A QEMU: `done` is what was asked of it; its guest runs `busy` of a second, and waits as long."""

    serial: Path
    done: list[str] = field(default_factory=list)
    now: list[float] = field(default_factory=lambda: [0.0])
    busy: float = 0.0
    waits: float = 0.0
    alive: bool = True

    def __post_init__(self) -> None:
        self.meter = Meter(
            lambda: {"1": (self.now[0] * self.busy, self.now[0] * self.waits)}, lambda: self.now[0]
        )
        self.places = SimpleNamespace(serial=self.serial)

    def console(self) -> str:
        return ""

    def ending(self) -> str | None:
        return None if self.alive else "the guest switched it off"

    def broke(self) -> None:
        return None

    def cpu_seconds(self) -> float:
        return self.now[0] * self.busy

    def execute(self, name: str) -> None:
        self.done.append(name)

    def screenshot(self, file: Path) -> None:
        file.write_bytes(b"png")


class Machines:
    """Stands for qemu, follow_boot and ssh: boots end as they are told to."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *watched: Watched) -> None:
        self.started: list[FakeRunning] = []
        self.watched = list(watched)
        self.answers = Answers([answer(0)])
        self.now = [0.0]
        monkeypatch.setattr(guest, "started", self._started)
        monkeypatch.setattr(disk_image, "make_overlay", lambda *_, **__: None)
        monkeypatch.setattr(guest_machine, "make_seed", lambda *_: None)
        monkeypatch.setattr(guest, "follow_boot", lambda *_, **__: self.watched.pop(0))
        monkeypatch.setattr(time, "monotonic", lambda: self.now[0])
        monkeypatch.setattr(time, "sleep", self._sleep)
        self.trial = trials.trial(
            tmp_path, cores=2, accelerator=Accelerator(name="tcg", slowness=10, reason="")
        )
        self.guest = Guest(self.trial, tmp_path, EXPECTED, tmp_path / "key", {}, tmp_path)
        monkeypatch.setattr(self.guest._shell, "run", self.answers.run)
        monkeypatch.setattr(self.guest._shell, "drop", lambda: None)
        self.guest._shell._kept.close()

    def _sleep(self, seconds: float) -> None:
        self.now[0] += seconds

    @contextlib.contextmanager
    def _started(self, machine: Any, accelerator: Any, serial: Path) -> Iterator[FakeRunning]:
        serial.write_text(f"console {len(self.started)}")
        self.started.append(FakeRunning(serial, now=self.now))
        yield self.started[-1]
        self.started[-1].alive = False


def test_a_boot_that_hung_is_started_again_once_and_that_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(tmp_path, monkeypatch, HUNG, UP)
    assert machines.guest.power_on().problem is None
    assert [running.alive for running in machines.started] == [False, True]
    (boot,) = json.loads((tmp_path / "boots.json").read_text())
    assert boot["phases"]["ssh"] == 60.0
    assert "started again by another QEMU: it hung at IP idents" in boot["note"]
    assert machines.guest.notes == [boot["note"]]
    assert (tmp_path / "serial-hung.log").read_text() == "console 0"
    assert (tmp_path / "screen-hung.png").exists()
    assert machines.guest.consoles() == "console 1"


def test_a_boot_that_hangs_twice_is_an_error_of_the_rig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(tmp_path, monkeypatch, HUNG, HUNG, UP)
    watched = machines.guest.power_on()
    assert watched.rig
    assert "hung at two QEMUs" in (watched.problem or "")
    assert len(machines.started) == 2


def test_a_reboot_that_the_rig_spoils_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Machines(tmp_path, monkeypatch, UP, replace(HUNG, hung=False))
    machines.guest.power_on()
    machines.started[0].alive = False
    with pytest.raises(RigError, match="after the reboot"):
        machines.guest.restart("upgraded")


@pytest.mark.parametrize(
    ("given", "rig_"),
    [(answer(255, BANNER), True), (answer(255, "u@127.0.0.1: Permission denied (publickey)."), False)],
)
def test_who_is_not_let_in_and_who_does_not_get_that_far(
    given: Answer, rig_: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(tmp_path, monkeypatch, UP)
    machines.answers.given = [given]
    watched = machines.guest.power_on()
    assert "not let in" in (watched.problem or "")
    assert watched.rig is rig_


def test_a_guest_that_is_woken_and_does_not_answer_is_an_error_of_the_rig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(tmp_path, monkeypatch, UP)
    machines.guest.power_on()
    machines.guest.pause()
    machines.now[0] += 4200
    monkeypatch.setattr(ssh, "greets", lambda _: False)
    with pytest.raises(RigError, match="does not answer since it was woken, after 4200 s"):
        machines.guest.resume()
    assert machines.started[0].done == ["stop", "cont"]
    monkeypatch.setattr(ssh, "greets", lambda _: True)
    machines.guest.pause()
    machines.guest.resume()
    assert machines.answers.asked[-1].startswith("@")


@pytest.mark.parametrize(
    ("busy", "waits", "prints", "given_up"),
    [
        (0.02, 0.0, False, 182),  # hangs: nothing waits so long for a guest that does nothing
        (0.02, 0.0, True, 1002),  # prints something now and then
        (0.9, 0.0, False, 1002),
        (0.5, 0.5, False, 2002),  # every other second
        (0.1, 9.0, False, 3002),
    ],
)
def test_a_program_is_waited_for_as_long_as_something_happens(
    busy: float, waits: float, prints: bool, given_up: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = Machines(tmp_path, monkeypatch, UP)
    machines.guest.power_on()
    running = machines.started[0]
    running.busy, running.waits = busy, waits
    running.meter.look()
    over = machines.guest._patience(1000)
    printed = 0
    while (why := over(printed)) is None:
        machines.now[0] += 2
        printed += prints
    assert machines.now[0] == pytest.approx(given_up, abs=4)
    assert why.startswith(ssh.NO_ANSWER)
    assert ("neither printed" in why) is (given_up < 1000)


# --- installations ---


def test_an_installation_that_hung_is_begun_again_with_a_new_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence, disk = tmp_path / "evidence", tmp_path / "disk.qcow2"
    evidence.mkdir()
    tries: list[bool] = []

    def install(
        bench: InstallerBench, disk: Path, evidence: Path, *, again: bool = False
    ) -> dict[str, float]:
        tries.append(again)
        assert not disk.exists()
        disk.write_text("half")
        (evidence / "serial.log").write_text(f"console {again}")
        if not again:
            raise HangError("it hung")
        return {"off": 1.0}

    monkeypatch.setattr(installation, "_install", install)
    bench = InstallerBench(
        iso=Path("x.iso"), firmware=Firmware.BIOS, accelerator=Accelerator(name="tcg", slowness=1, reason="")
    )
    assert installation.install(bench, disk, evidence) == {"off": 1.0}
    assert tries == [False, True]
    assert (evidence / "serial-hung.log").read_text() == "console False"
    assert (evidence / installation.HUNG).read_text() == "it hung\n"


@pytest.mark.parametrize(
    ("problem", "again", "error"),
    [
        (Problem(text="x", rig=True, hung=True), False, HangError),
        (Problem(text="x", rig=True, hung=True), True, RigError),
        (Problem(text="x", hung=True), True, InstallationError),
        (Problem(text="x", rig=True), False, RigError),
        (Problem(text="x"), False, InstallationError),
    ],
)
def test_whose_fault_an_installation_is(
    problem: Problem, again: bool, error: type[Exception], tmp_path: Path
) -> None:
    running: Any = FakeRunning(tmp_path / "serial.log")
    assert type(installation._gave_up(running, problem, tmp_path, again=again)) is error
