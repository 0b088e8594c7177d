"""A directory goes with what still uses it: mounts, loop devices, GnuPG's agents."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagebuild.tools import command, gpg, gpg_agents, temporary
from tests.tools.processes import is_gone, processes


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("busy", [False, True])
def test_nothing_is_removed_through_a_mount(tmp_path: Path, busy: bool) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    place = tmp_path / "place with blanks"
    (place / "mnt").mkdir(parents=True)
    (place / "other").write_text("x")
    subprocess.run(["mount", "--bind", precious, place / "mnt"], check=True)
    with contextlib.ExitStack() as stack:
        if busy:
            stack.enter_context((place / "mnt" / "file").open())
        temporary.remove(place)
    assert not place.exists()
    assert (precious / "file").read_text() == "x"
    assert not os.path.ismount(place / "mnt")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_what_cannot_be_unmounted_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("x")
    (tmp_path / "place/mnt").mkdir(parents=True)
    subprocess.run(["mount", "--bind", tmp_path / "precious", tmp_path / "place/mnt"], check=True)
    monkeypatch.setattr(command, "run_last", lambda _: 1)
    try:
        temporary.remove(tmp_path / "place")
        assert (tmp_path / "precious/file").read_text() == "x"
    finally:
        subprocess.run(["umount", tmp_path / "place/mnt"], check=True)


def test_an_agent_that_does_not_answer_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a busy machine."""

    def silent(_: Path) -> int:
        raise TimeoutError

    with temporary.directory("gpg", sockets=True) as place:
        home = place / "home"
        home.mkdir(mode=0o700)
        gpg.ensure_key(home, "somebody")
        agents = [
            pid for pid, words in processes() if b"gpg-agent" in words[0] and str(home).encode() in words
        ]
        monkeypatch.setattr(gpg_agents, "_end_agent", silent)
    assert len(agents) == 1
    assert is_gone(agents[0])


def test_an_agent_reached_by_a_short_name_ends(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    with temporary.directory("gpg", sockets=True) as short:
        home.mkdir(mode=0o700)
        (short / "home").symlink_to(home)
        gpg.ensure_key(short / "home", "somebody")
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(short / "home" / gpg_agents.AGENT))
        agents = [
            pid
            for pid, words in processes()
            if b"gpg-agent" in words[0] and str(short / "home").encode() in words
        ]
    # its socket may stay where it was too slow to tidy up, and was killed
    assert len(agents) == 1
    assert is_gone(agents[0])


def test_what_an_agent_says_may_come_in_pieces(tmp_path: Path) -> None:
    """As an agent says it: a line and its end are two writes (libassuan 2.5.5, src/assuan-buffer.c,
    `assuan_write_line`).
    """

    def answer(listening: socket.socket) -> None:
        line, _ = listening.accept()
        with line:
            line.sendall(b"OK Pleased to meet you, process 1")
            time.sleep(0.05)
            line.sendall(b"\n")
            assert line.recv(100) == b"GETINFO pid\n"
            line.sendall(b"D 4242\n")
            line.sendall(b"OK\n")
            assert line.recv(100) == b"KILLAGENT\n"
            line.sendall(b"OK closing connection\n")

    with socket.socket(socket.AF_UNIX) as listening, ThreadPoolExecutor() as pool:
        listening.bind(str(tmp_path / gpg_agents.AGENT))
        listening.listen()
        answered = pool.submit(answer, listening)
        assert gpg_agents.tell_agents(tmp_path) == [4242]
        answered.result(10)


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
def test_a_loop_device_keeps_nothing_that_is_removed(tmp_path: Path) -> None:
    with temporary.directory("loops", base=tmp_path) as place:
        (place / "image").write_bytes(bytes(1 << 20))
        done = subprocess.run(
            ["losetup", "--find", "--show", place / "image"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"NOT RUN: no loop devices here: {done.stderr}")
        device = Path("/sys/block") / Path(done.stdout.strip()).name / "loop" / "backing_file"
        assert device.read_text().strip() == str(place / "image")
    assert not device.exists()


def test_an_agent_that_is_just_ending_stops_no_removal(elsewhere: Path) -> None:
    """It accepts, greets perhaps, and says no more: two threads that tidy up tell it to end at the same
    time.
    """
    for answers in ([], [b"OK Pleased to meet you\n"], [b"OK\n", b"D\n"]):
        place = elsewhere / f"home{len(answers)}"
        place.mkdir()
        with socket.socket(socket.AF_UNIX) as agent:
            agent.bind(str(place / "S.gpg-agent"))
            agent.listen()

            def end(agent: socket.socket = agent, answers: list[bytes] = answers) -> None:
                line, _ = agent.accept()
                with line:
                    for each in answers:
                        line.sendall(each)
                        line.recv(100)

            thread = threading.Thread(target=end)
            thread.start()
            temporary.remove(place)
            thread.join()
        assert not place.exists()
