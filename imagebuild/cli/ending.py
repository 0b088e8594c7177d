"""How the program ends when it is interrupted: what runs is ended, secrets are removed, nothing is left
behind.
"""

import os
import signal
import sys
from typing import NoReturn, Protocol

from imagebuild.tools import command, temporary
from imagebuild.tools.command import GRACE_SECONDS


class WatchedBuild(Protocol):
    """What shows a build: a signal handler asks it which steps run."""

    def running(self) -> list[str]:
        """Return the names of the steps that run now."""


# what is shown now
_views: list[WatchedBuild] = []


def watch(view: WatchedBuild) -> None:
    """Let an interrupt name the steps that this view shows."""
    _views.append(view)


def listen() -> None:
    """Let SIGTERM, SIGINT and SIGHUP interrupt, unless they are ignored: a shell's background job ignores
    SIGINT, what nohup started SIGHUP.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def interrupt(number: int, _: object) -> NoReturn:
    """End as Ctrl-C does, and say at once what is waited for. Not by raising that signal: a shell's
    background job ignores it.
    """
    running = _views[-1].running() if _views else []
    # not through the console: the signal may have come in the middle of what it prints
    said = sentence(signal.Signals(number).name, running, command.running(), command.patience())
    os.write(sys.stderr.fileno(), f"imagebuild: {said}\n".encode())
    temporary.forget_secrets()
    raise KeyboardInterrupt


def sentence(signal: str, steps: list[str], programs: list[str], seconds: float = GRACE_SECONDS) -> str:
    """Return what an interrupted run says at once: what it ends, and for what it waits how many seconds."""
    counted = [
        f"{programs.count(name)} {name}" if programs.count(name) > 1 else name
        for name in dict.fromkeys(programs)
    ]
    said = f"{signal}: ending {', '.join(steps) or 'what runs'}"
    return f"{said}; waiting up to {seconds:.0f} s for {', '.join(counted)}" if counted else said


def end_everything() -> None:
    """End all programs; a second Ctrl-C or SIGTERM cannot interrupt that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    temporary.forget_secrets()
    command.end_all()
    temporary.clear()
