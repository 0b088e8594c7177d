"""How programs on a guest are waited for. The stand-in for ssh prints, waits and ends as real ones do."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuild.tools import ssh
from imagebuild.tools.ssh import NO_ANSWER, Answer, Shell


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(ssh, "LOOK_SECONDS", 0.1)
    return tmp_path / "ssh"


def run(
    program: Path,
    script: str,
    tmp_path: Path,
    patience: ssh.Patience = ssh.by_the_clock,
    timeout: float = 1.0,
) -> Answer:
    # `-O exit` ends the kept connection
    program.write_text(f'#!/bin/sh\ncase "$*" in *"-O exit") exit 0;; esac\n{script}\n')
    program.chmod(0o755)
    shell = Shell(user="u", port=1, key=tmp_path / "key", patience=patience)
    try:
        return shell.run(["true"], timeout=timeout)
    finally:
        shell.close()


def test_a_program_that_ends_is_an_answer(program: Path, tmp_path: Path) -> None:
    answer = run(program, "sleep 0.3; echo out; echo complaint >&2; exit 3", tmp_path, timeout=20)
    assert (answer.status, answer.output, answer.complaint) == (3, "out\n", "complaint\n")
    assert (answer.late, answer.cut_off, answer.never_begun) == (False, False, False)


def test_a_program_that_does_not_end_is_late(program: Path, tmp_path: Path) -> None:
    answer = run(program, "echo begun; exec sleep 60", tmp_path)
    assert answer.late
    assert not answer.cut_off
    assert (answer.status, answer.output, answer.complaint) == (255, "begun\n", "no answer within 1 s")
    assert answer.seconds < 30


def test_whoever_waits_is_told_how_much_was_printed_and_may_give_up_early(
    program: Path, tmp_path: Path
) -> None:
    told: list[int] = []

    def begin(timeout: float) -> Callable[[int], str | None]:
        def over(printed: int) -> str | None:
            told.append(printed)
            return f"{NO_ANSWER}: nothing moves" if printed >= 6 else None

        return over

    begun = time.monotonic()
    answer = run(program, "sleep 0.5; echo begun; exec sleep 60", tmp_path, begin, timeout=1000)
    assert answer.complaint == f"{NO_ANSWER}: nothing moves"
    assert (told[0], told[-1]) == (0, 6)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("complaint", "never_begun", "cut_off"),
    [
        # OpenSSH 9.2, Debian 12, with LogLevel=ERROR: a port that does not speak, one that hangs up, nobody
        # there, a cut in the handshake
        ("Connection timed out during banner exchange\n", True, True),
        ("kex_exchange_identification: Connection closed by remote host\n", True, True),
        ("ssh: connect to host 127.0.0.1 port 41709: Connection refused\n", True, True),
        ("", False, True),
        ("podman: no such container\n", False, False),
    ],
)
def test_what_ssh_itself_says_is_told_from_what_programs_say(
    complaint: str, never_begun: bool, cut_off: bool
) -> None:
    answer = Answer(status=255, output="", complaint=complaint, seconds=1.0)
    assert (answer.never_begun, answer.cut_off, answer.late) == (never_begun, cut_off, False)
    assert not Answer(status=1, output="", complaint=complaint, seconds=1.0).cut_off
