"""The time that a program really had of a busy machine."""

import os
from collections.abc import Iterator

import pytest

from imagebuild.tools import command, load
from imagebuild.tools.load import Meter, read_threads, wait_for_quiet


class Machine:
    """A made-up machine: what its threads ran and waited, and its clock."""

    def __init__(self) -> None:
        self.threads: dict[str, tuple[float, float]] = {"1": (0.0, 0.0)}
        self.now = 0.0

    def pass_time(self, seconds: float, **threads: tuple[float, float]) -> None:
        self.now += seconds
        for name, (ran, waited) in threads.items():
            before = self.threads.get(name, (0.0, 0.0))
            self.threads[name] = (before[0] + ran, before[1] + waited)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.mark.parametrize(
    ("ran", "waited", "seconds"),
    [
        (90.0, 0.0, 100.0),  # a quiet machine
        (50.0, 50.0, 50.0),  # every other second
        (10.0, 190.0, 5.0),  # two threads beside many others
        (0.1, 2.0, 100.0),  # a program that waits for something else than a processor
    ],
)
def test_a_second_counts_as_much_as_the_program_had_of_it(
    machine: Machine, ran: float, waited: float, seconds: float
) -> None:
    meter = Meter(lambda: machine.threads, lambda: machine.now)
    machine.pass_time(100.0, **{"1": (ran, waited)})
    meter.look()
    assert meter.seconds == pytest.approx(seconds)
    assert (meter.wall, meter.ran, meter.waited) == (100.0, ran, waited)


def test_threads_that_come_and_go_are_counted_once(machine: Machine) -> None:
    machine.pass_time(5.0, **{"1": (5.0, 0.0)})
    meter = Meter(lambda: machine.threads, lambda: machine.now)
    machine.pass_time(10.0, **{"1": (1.0, 0.0), "2": (3.0, 4.0)})
    meter.look()
    del machine.threads["2"]
    machine.pass_time(10.0, **{"1": (2.0, 0.0)})
    meter.look()
    assert (meter.ran, meter.waited) == (6.0, 4.0)
    assert meter.share_waited == pytest.approx(0.4)


def test_where_the_kernel_counts_nothing_nobody_was_held_up(machine: Machine) -> None:
    meter = Meter(dict, lambda: machine.now)
    machine.now = 60.0
    meter.look()
    assert (meter.seconds, meter.waited, meter.share_waited) == (60.0, 0.0, 0.0)


def test_this_kernels_own_count_is_understood() -> None:
    """Three programs pinned to one processor: whoever is looked at waits longer than it runs (Linux,
    CONFIG_SCHED_INFO).
    """
    if not read_threads(os.getpid()):
        pytest.skip("this kernel has no /proc/PID/schedstat")
    processor = min(os.sched_getaffinity(0))
    script = (
        f"import os, time\nos.sched_setaffinity(0, {{{processor}}})\nend = time.time() + 3\nwhile time.time()"
        " < end: pass"
    )
    programs = [command.Process(["/usr/bin/python3", "-c", script]) for _ in range(3)]
    meter = Meter(lambda: read_threads(programs[0].pid))
    for program in programs:
        program.wait(60)
        meter.look()
    assert load.cpu_seconds(os.getpid()) > 0


@pytest.mark.parametrize(("free", "quiet"), [(0.9, True), (0.2, False)])
def test_it_is_waited_until_the_machine_is_quieter(
    free: float, quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    slept: list[float] = []

    def counts() -> Iterator[tuple[float, float]]:
        for number in range(1000):
            yield number * free, number * 1.0

    numbers = counts()
    assert wait_for_quiet(2, read=lambda: next(numbers), sleep=slept.append, limit=60) is quiet
    assert len(slept) == (1 if quiet else 7)
