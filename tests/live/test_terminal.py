"""All consoles at once: what is not one is left out, what is typed on any of them answers, a secret is not
shown.
"""

import os
import pty
import threading
import time
from pathlib import Path

import pytest

from imagebuild.live import terminal
from imagebuild.live.terminal import Terminal


def test_a_serial_line_that_the_machine_does_not_have_is_no_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, slave = pty.openpty()
    name = os.ttyname(slave).removeprefix("/dev/")
    active = tmp_path / "active"
    active.write_text(f"null {name} nothing\n")
    monkeypatch.setattr(terminal, "ACTIVE", active)
    assert terminal.consoles() == [Path("/dev") / name]


@pytest.mark.parametrize("secret", [False, True])
def test_what_is_typed_on_any_console_answers(secret: bool) -> None:
    (one, first), (two, second) = pty.openpty(), pty.openpty()
    console = Terminal([Path(os.ttyname(first)), Path(os.ttyname(second))])
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(console.ask("Name?", secret=secret)), daemon=True)
    thread.start()
    time.sleep(0.3)
    os.write(two, b"ann\r")
    thread.join(timeout=10)
    assert answers == ["ann"]
    assert os.read(one, 100).startswith(b"Name? ")
    time.sleep(0.1)
    assert (b"ann" in os.read(two, 100)) != secret, "a secret is not shown, anything else is"
