"""A person looks at a guest in which a criterion has failed, before it is ended."""

import io
import os
import pty
from pathlib import Path

from imagebuild.smoke.look import Failure, GuestAccess, ask, at_terminal, describe

ACCESS = GuestAccess(console=Path("/evidence/serial.log"), ssh="ssh -p 2222 debian@127.0.0.1", alive=True)
FAILURE = Failure(criterion="artifact-boots", reason="no ssh\nmore", access=ACCESS)


class Terminal(io.BytesIO):
    """Remembers what was written, and how often somebody was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        self.waited += 1
        return b"\n"


def test_a_person_is_told_how_to_get_in_and_waited_for() -> None:
    terminal = Terminal()
    ask(FAILURE, terminal)
    said = terminal.getvalue().decode()
    assert "artifact-boots failed: no ssh\n" in said
    assert "tail -f /evidence/serial.log" in said
    assert "ssh -p 2222 debian@127.0.0.1" in said
    assert terminal.waited == 1


def test_a_guest_that_is_off_has_a_console_only() -> None:
    off = GuestAccess(console=ACCESS.console, ssh=ACCESS.ssh, alive=False)
    said = describe(Failure(criterion="c", reason="", access=off))
    assert "serial.log" in said
    assert ACCESS.ssh not in said


def test_nobody_is_waited_for_where_there_is_no_guest() -> None:
    terminal = Terminal()
    ask(Failure(criterion="c", reason="no QEMU", access=None), terminal)
    assert "there is no guest" in terminal.getvalue().decode()
    assert not terminal.waited


def test_the_end_of_input_goes_on() -> None:
    ask(FAILURE, io.BytesIO())


def test_it_is_asked_at_the_terminal_that_was_named() -> None:
    person, device = pty.openpty()
    try:
        os.write(person, b"\n")
        at_terminal(Path(os.ttyname(device)))(FAILURE)
        said = b""
        # the echo of Enter may come by itself
        while b"ssh -p 2222" not in said:
            said += os.read(person, 4096)
    finally:
        os.close(person)
        os.close(device)
