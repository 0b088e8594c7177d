"""Nothing temporary outlives its run: real processes are interrupted and killed while they hold such
places.
"""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.tools import temporary
from imagebuild.tools.qemu.export import reason_not_to_export
from tests.data import ROOT
from tests.tools.processes import is_gone, processes

# a run in the middle of a guest: the parent holds keys and an agent, its child (as pytest does) another guest
# and what runs in it
HOLDER = """
import sys
from pathlib import Path
from imagebuild.cli import main as cli
from imagebuild.tools import command, gpg, temporary

@cli.app.command("hold")
def hold(said: Path, stubborn: bool = False) -> None:
    made = temporary.directory
    with made("gpg", secret=True, sockets=True) as keys, made("guest") as work, temporary.within(said, "box"):
        gpg.ensure_key(keys, "somebody")
        (work / "overlay").write_bytes(bytes(1 << 20))
        with temporary.for_child("criteria") as environment:
            program = Path(__file__).with_name("inner.py")
            inner = [sys.executable, program, said, "stubborn" if stubborn else ""]
            command.run(inner, env=environment)

cli.main()
"""
INNER = """
import signal, sys
from pathlib import Path
from imagebuild.tools import command, temporary
if sys.argv[2]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with temporary.directory("guest", secret=True) as work, temporary.directory("qemu", sockets=True) as place:
    (work / "id_ed25519").write_text("PRIVATE")
    guest = command.Process(["sleep", "600"])
    (Path(sys.argv[1]) / "partial").write_text(f"{guest.pid}\\n{work}\\n{place}")
    (Path(sys.argv[1]) / "partial").rename(Path(sys.argv[1]) / "said")
    guest.wait()
"""


class Holder:
    def __init__(self, place: Path, temporary_place: Path, *more: str) -> None:
        place.mkdir()
        (place / "holder.py").write_text(HOLDER)
        (place / "inner.py").write_text(INNER)
        self.place, self.said = place, place / "out"
        self.said.mkdir()
        environment = {
            **os.environ,
            "TMPDIR": str(temporary_place),
            "PYTHONPATH": str(ROOT),
            "HOME": str(place),
        }
        self.process = subprocess.Popen(
            [sys.executable, place / "holder.py", "hold", self.said, *more],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while not (self.said / "said").exists():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        pid, work, short = (self.said / "said").read_text().splitlines()
        self.guest, self.work, self.short = int(pid), Path(work), Path(short)

    def agents(self) -> list[int]:
        return [
            pid
            for pid, words in processes()
            if b"gpg-agent" in words[0] and str(self.process.pid).encode() in b" ".join(words)
        ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, elsewhere: Path, number: signal.Signals) -> None:
    holder = Holder(tmp_path / "run", elsewhere)
    agents = holder.agents()
    assert len(agents) == 1
    assert list(elsewhere.rglob("overlay"))
    assert list(holder.said.glob("box-*"))
    holder.process.send_signal(number)
    _, complaint = holder.process.communicate(timeout=20)
    assert holder.process.returncode == 130
    assert f"imagebuild: {number.name}: ending what runs; waiting up to 3 s for " in complaint
    assert list(elsewhere.iterdir()) == []
    assert not list(holder.said.glob("box-*"))
    assert not holder.short.exists()
    assert all(map(is_gone, [holder.guest, *agents]))


def test_secrets_are_gone_at_once_even_when_a_program_does_not_end(tmp_path: Path, elsewhere: Path) -> None:
    holder = Holder(tmp_path / "run", elsewhere, "--stubborn")
    keys = [holder.work / "id_ed25519", *elsewhere.rglob("*.key")]
    assert len(keys) > 1
    begun = time.monotonic()
    holder.process.send_signal(signal.SIGTERM)
    while any(key.exists() for key in keys):
        assert time.monotonic() - begun < 1, "the keys are still there a second later"
        time.sleep(0.01)
    assert holder.process.poll() is None, "this must not be known from the end of the run"
    holder.process.communicate(timeout=20)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("by", ["the next run", "gc"])
def test_what_a_killed_run_left_is_swept(tmp_path: Path, elsewhere: Path, by: str) -> None:
    holder = Holder(tmp_path / "run", elsewhere)
    agents = holder.agents()
    other = Holder(tmp_path / "other", elsewhere)
    holder.process.kill()
    holder.process.communicate()
    assert is_gone(holder.guest)
    assert list(elsewhere.rglob("overlay"))
    program = Path(sys.executable).parent / "imagebuild"
    (tmp_path / "store").mkdir()
    argv: list[str | Path] = (
        [program, "gc", "--store", tmp_path / "store"] if by == "gc" else [program, "config", "--schema"]
    )
    subprocess.run(
        argv,
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(elsewhere), "PYTHONPATH": str(ROOT)},
    )
    assert not holder.work.exists()
    assert not list(holder.said.glob("box-*"))
    assert all(map(is_gone, agents))
    # who lives keeps what is his
    assert other.work.is_dir()
    assert len(list(other.said.glob("box-*"))) == 1
    other.process.terminate()
    other.process.communicate(timeout=20)
    assert list(elsewhere.iterdir()) == []


def test_a_run_that_ends_by_itself_leaves_nothing(elsewhere: Path) -> None:
    program = (
        "from imagebuild.tools import temporary\nwith temporary.directory('a') as a, temporary.file('b') as"
        " b: b.write_text('x')\nprint(a)\n"
    )
    environment = {**os.environ, "TMPDIR": str(elsewhere), "PYTHONPATH": str(ROOT)}
    made = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert made.startswith(str(elsewhere))
    assert list(elsewhere.iterdir()) == []


EXPORTER = """
import sys
from pathlib import Path
from imagebuild.cli import main as cli
from imagebuild.tools.qemu.export import exported

@cli.app.command("hold")
def hold(image: Path) -> None:
    with exported(image, "raw", writable=True) as raw:
        (image.parent / "said").write_text(str(raw))
        sys.stdin.read()

cli.main()
"""


@pytest.mark.skipif(reason_not_to_export() is not None, reason="disk images cannot be exported here")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_export_is_unmounted_and_the_image_stays(
    tmp_path: Path, elsewhere: Path, number: signal.Signals
) -> None:
    image, said = tmp_path / "image", tmp_path / "said"
    image.write_bytes(b"precious" * 8192)
    environment = {**os.environ, "TMPDIR": str(elsewhere), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", EXPORTER, "hold", image],
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not said.exists() or not said.read_text():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    raw = said.read_text()
    assert raw.startswith(str(elsewhere))
    assert raw in Path("/proc/self/mountinfo").read_text()
    process.send_signal(number)
    with process:
        process.wait(20)
    if number is signal.SIGKILL:
        program = Path(sys.executable).parent / "imagebuild"
        subprocess.run(
            [program, "config", "--schema"], check=True, capture_output=True, cwd=ROOT, env=environment
        )
    assert raw not in Path("/proc/self/mountinfo").read_text()
    assert list(elsewhere.iterdir()) == []
    assert image.read_bytes() == b"precious" * 8192


def test_sockets_find_room_below_a_long_temporary_directory(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    program = """
import os, subprocess, sys
from imagebuild.tools import temporary
temporary.adopt()
with temporary.directory("ssh", sockets=True) as mine, temporary.for_child("criteria") as child:
    for short in (os.environ["TMPDIR"], child["TMPDIR"]):
        assert len(short + "/ostree-gpg-XXXXXX/S.gpg-agent.browser") <= 107
        assert os.path.realpath(short).startswith(sys.argv[1])
    inner = (
        "from imagebuild.tools import temporary\\n"
        "with temporary.directory('ssh', sockets=True) as x: print(x)"
    )
    print(mine, flush=True)
    subprocess.run([sys.executable, "-c", inner], env={**os.environ, **child}, check=True)
"""
    environment = {**os.environ, "TMPDIR": str(long), "PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        [sys.executable, "-c", program, long], env=environment, check=True, capture_output=True, text=True
    ).stdout
    mine, inner = said.splitlines()
    # what ssh(1) and gpg-agent(1) put there, with what ssh adds while it listens (mux.c: a dot and 16
    # characters)
    for place in (mine, inner):
        assert len(f"{place}/socket.{'x' * 16}") <= 107
        assert len(f"{place}/S.gpg-agent.browser") <= 107
        assert not Path(place).exists()
    assert list(long.iterdir()) == []


@pytest.mark.parametrize("name", ["a:b", "a b", "feature%2Fx@2", "\u00fc (1)", "a//b", '["a'])
def test_programs_of_ours_find_their_place_wherever_it_is(elsewhere: Path, name: str) -> None:
    (elsewhere / name).mkdir(parents=True)
    inner = (
        "from imagebuild.tools import temporary\nwith temporary.directory('a') as a, temporary.directory('b',"
        " sockets=True) as b: print(a, b, sep='|')"
    )
    program = (
        "import os, subprocess, sys\nfrom imagebuild.tools import temporary\ntemporary.adopt()\nwith"
        " temporary.for_child('criteria') as child: subprocess.run([sys.executable, '-c', sys.argv[1]],"
        " env={**os.environ, **child}, check=True)"
    )
    environment = {**os.environ, "TMPDIR": str(elsewhere / name), "PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        [sys.executable, "-c", program, inner], env=environment, check=True, capture_output=True, text=True
    ).stdout
    place, short = said.strip().split("|")
    assert place.startswith(f"{elsewhere / name}/imagebuild-")
    # sockets may have to lie in /tmp, but in a place of the parent, too
    assert all(re.search(r"/imagebuild-\d+/[^/]+/criteria-\w+/[ab]-\w+$", path) for path in (place, short)), (
        said
    )
    assert list((elsewhere / name).iterdir()) == []


DEAF = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from tests.conftest import pytest_configure
pytest_configure()
os.execvp("sh", ["sh", "-c", "kill -INT $$; echo deaf"])
"""


def test_the_programs_of_tests_hear_an_interrupt_in_a_background_job_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEAF],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout) == (-signal.SIGINT, ""), done.stderr


def test_a_place_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / f"imagebuild-{os.geteuid()}").symlink_to(tmp_path / "target")
    with (
        pytest.raises(BuildError, match="is not a directory of this user"),
        temporary.directory("x", base=tmp_path),
    ):
        pass
    assert not list((tmp_path / "target").iterdir())


def test_where_nothing_can_be_locked_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BuildError, match="no file can be locked"), temporary.directory("x", base=tmp_path):
        pass
    assert not list((tmp_path / f"imagebuild-{os.geteuid()}").iterdir())


def test_permissions_and_names(tmp_path: Path) -> None:
    with (
        temporary.directory("a", base=tmp_path, secret=True) as one,
        temporary.directory("a", base=tmp_path) as other,
    ):
        assert one != other
        assert {each.stat().st_mode & 0o777 for each in (one, other, one.parent, one.parent.parent)} == {
            0o700
        }
        assert temporary.sweep(tmp_path) == 0
        assert one.is_dir()
    assert not one.exists()


def test_a_large_directory_elsewhere_is_found_from_the_usual_place(elsewhere: Path, tmp_path: Path) -> None:
    """Whoever is killed while it has one leaves it to every run, not only to the next that has large things
    to do.
    """
    large = tmp_path / "large"
    large.mkdir()
    program = (
        "import os, signal\nfrom pathlib import Path\nfrom imagebuild.tools import temporary\nwith"
        f" temporary.directory('lorax', base=Path({str(large)!r})) as place:\n    (place /"
        " 'big').write_bytes(b'x' * 100000)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(elsewhere), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert list(large.rglob("big"))
    sweep = "from imagebuild.tools import temporary\nprint(temporary.sweep())\n"
    freed = subprocess.run(
        [sys.executable, "-c", sweep], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert int(freed) >= 100000
    assert not list(large.rglob("big"))
    assert list(elsewhere.iterdir()) == []
