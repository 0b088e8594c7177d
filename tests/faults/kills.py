"""Killed anywhere: signals at random moments of a command; then it is run again, and what it makes is
compared with what an undisturbed one has made.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from imagebuild.cli.main import INTERRUPTED
from tests.faults.bench import Machine, Running
from tests.faults.leftovers import left
from tests.faults.tally import Tally
from tests.faults.work import Work, forget, moved

KILL, TERM, CTRL_C = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
# of one machine, before its command runs to the end: each strike finds other things finished
STRIKES, SHORTER = 4, 0.8


class Undisturbed:
    """What a command makes when nobody disturbs it, and how long that takes. The machine is put aside: all of
    them lie at one place, which their configuration has.
    """

    def __init__(self, work: Work, place: Path) -> None:
        self.machine = work.begin(place / "machine")
        begun = time.monotonic()
        self.machine.must(*work.argv(self.machine))
        self.seconds = time.monotonic() - begun
        self.result = work.result(self.machine)
        assert not (rest := list(left(self.machine, half=work.half))), rest
        self.machine = moved(self.machine, place / "undisturbed")


def strike(running: Running, seconds: float, number: signal.Signals) -> bool:
    """Send a signal after some seconds; return whether it came in time. Ctrl-C goes to the whole group."""
    try:
        running.process.wait(seconds)
    except subprocess.TimeoutExpired:
        if number is CTRL_C:
            os.killpg(running.process.pid, number)
        else:
            running.process.send_signal(number)
        return True
    return False


def finished_in(machine: Machine) -> dict[Path, int]:
    """Return the artifacts that are finished, by inode: none may go, nor be made once more."""
    return {file: file.stat().st_ino for file in machine.store.glob("artifacts/*/*/artifact.json")}


def misbehaviour(running: Running, machine: Machine, number: signal.Signals) -> list[str]:
    """Return what a run that was struck has done wrong."""
    ended = running.end(60)
    rest = [] if number is KILL else list(left(machine, half=False))
    if number is KILL or ended.code in (0, -number):
        # 0: the signal came in its last instructions
        return rest if ended.code == 0 else []
    if ended.code != INTERRUPTED:
        rest.append(f"{number.name}: it ended with {ended.code}: {ended.said[-500:]}")
    if "Traceback" in ended.said:
        rest.append(f"{number.name}: it showed a traceback: {ended.said[-1500:]}")
    return rest


def disturb(
    work: Work, whole: Undisturbed, place: Path, numbers: Sequence[signal.Signals], chance: random.Random,
    tally: Tally,
) -> list[signal.Signals]:  # fmt: skip
    """Strike one machine with each of the signals, then let its command come to the end, and compare. Returns
    the signals that came too late.
    """
    machine = work.begin(place / "machine")
    late, wrong, longest = list[signal.Signals](), list[str](), whole.seconds
    for number in numbers:
        running = machine.start(*work.argv(machine))
        if not strike(running, chance.uniform(0, longest), number):
            late.append(number)
        wrong += misbehaviour(running, machine, number)
        # there is less to do the next time
        longest *= SHORTER
    finished = finished_in(machine)
    ended = machine.run(*work.argv(machine))
    if ended.code != 0:
        wrong.append(f"run again, it ended with {ended.code}: {ended.said[-1500:]}")
    lost = [
        f"{file} was made again" for file in finished if not work.removes and not is_still(file, finished)
    ]
    wrong += list(left(machine, half=work.half))
    wrong += difference(work, machine, whole)
    for last in range(len(numbers) - len(late)):
        # what went wrong is one fault of several strikes
        tally.count(lost=lost if not last else [], wrong=wrong if not last else [], recovered=ended.code == 0)
    forget(machine)
    return late


def is_still(file: Path, finished: dict[Path, int]) -> bool:
    """Whether an artifact is the very one that was finished."""
    return file.exists() and file.stat().st_ino == finished[file]


def difference(work: Work, machine: Machine, whole: Undisturbed) -> list[str]:
    """Return what a command has made otherwise than the undisturbed one."""
    result = work.result(machine)
    changed = sorted(name for name in {*result, *whole.result} if result.get(name) != whole.result.get(name))
    wrong = [
        f"{name} is {result.get(name)}, and undisturbed {whole.result.get(name)}" for name in changed[:5]
    ]
    try:
        work.same(machine, whole.machine)
    except AssertionError as error:
        wrong.append(f"the release is another one: {error}")
    return wrong


def killed(work: Work, place: Path, *, seed: int, kills: int, terms: int = 0, interrupts: int = 0) -> Tally:
    """Strike a command that often with each signal, at moments that follow from the seed."""
    tally, chance = Tally(f"{work.name}: killed, SIGTERM, Ctrl-C"), random.Random(f"{seed} {work.name}")
    whole = Undisturbed(work, place)
    numbers = [KILL] * kills + [TERM] * terms + [CTRL_C] * interrupts
    chance.shuffle(numbers)
    while numbers:
        now, numbers = numbers[:STRIKES], numbers[STRIKES:]
        numbers += disturb(work, whole, place, now, chance, tally)
    forget(whole.machine)
    return tally
