"""How lorax ends: interrupted, killed, with a disk full, with an error of its own; what is left then, and
what is said.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from imagebuild import steplog
from imagebuild.cli import progress
from imagebuild.engine.store import Store
from imagebuild.errors import BuildError, EvidenceError
from imagebuild.installers.lorax import backend as lorax
from imagebuild.installers.lorax import child as lorax_child
from imagebuild.installers.lorax import failure as lorax_failure
from imagebuild.installers.lorax import request as lorax_request
from imagebuild.installers.lorax import sources as lorax_sources
from imagebuild.model import Tree
from imagebuild.stages.installer import InstallerSpec, make_iso
from imagebuild.tools import command, own_place, temporary
from tests.data import ROOT
from tests.deadline import read_line
from tests.installers.lorax.lab import SOURCE, fake, installer, kickstarts, needs_root, request, tree

__all__ = ["tree"]
# a library that can be driven, and the command of one that cannot
BOTH = pytest.mark.parametrize("generation", ["39.5", "26.9"])

# --- failures -----------------------------------------------------------------------------------------------


def failure(tmp_path: Path, tree: Tree, generation: str, behaviour: str, **options: object) -> EvidenceError:
    place = fake(tmp_path, generation, behaviour)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(EvidenceError) as caught, steplog.writing_to(tmp_path / "log"):
        lorax.build(out, request(tmp_path, tree, installer(place, **options)))
    # nothing of what it made is left but its own logs, which are where they are said to be
    assert caught.value.evidence == out / "work" / "logs"
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_dir()) == [
        "work",
        "work/logs",
    ]
    for name in re.findall(r"\w+\.log", caught.value.hint):
        assert (caught.value.evidence / name).is_file(), name
    assert not list((place / "tmp").rglob("lorax-*"))
    return caught.value


@needs_root
@BOTH
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("exit", ["the volume id cannot be longer than 32 characters"]),
        (
            "raise",
            [
                "template command error in runtime-install.tmpl:",
                "  RuntimeError: Required installpkg failed.",
                "dracut: the last words of a program",
            ],
        ),
        (
            "full",
            [
                "  installing package a needs 20MB on the / filesystem",
                "   At least 213MB more space needed on the / filesystem.",
                "template command error in",
            ],
        ),
        ("crash", ["No space left on device"]),
    ],
)
def test_a_failure_quotes_what_lorax_said(
    tmp_path: Path, tree: Tree, generation: str, behaviour: str, words: list[str]
) -> None:
    error = failure(tmp_path, tree, generation, behaviour)
    assert error.message.startswith("lorax failed (exit status 1)")
    for each in words:
        assert f"    {each}" in error.message or (behaviour == "crash" and each in error.message), (
            error.message
        )
    for unwanted in ("Traceback", "^^^", 'File "', "template line 1"):
        assert unwanted not in error.message
    # once is enough
    assert error.message.count("Required installpkg failed") == (behaviour == "raise")
    assert "lorax.log" in error.hint


@needs_root
@BOTH
def test_a_bad_source_is_named_by_its_url(tmp_path: Path, tree: Tree, generation: str) -> None:
    sources = ["https://example.org/os", "https://me:secret@bad.example.org/os"]
    error = failure(tmp_path, tree, generation, "", sources=sources)
    assert "Error fetching metadata for lorax-repo-1" in error.message
    assert "lorax-repo-1 is https://bad.example.org/os" in error.message
    assert "lorax-repo-0 is" not in error.message
    assert "secret" not in error.message + error.hint
    assert not list(tmp_path.rglob("request.json")), "with the password in it"


@needs_root
@pytest.mark.parametrize(
    ("generation", "options", "message"),
    [
        ("24.22", {"rootfs_size": 3}, "has no option --rootfs-size"),
        ("26.9", {"ssl_verify": False}, "has no option --noverifyssl"),
        ("25.22", {"excludepkgs": ["a"]}, "has no option --excludepkgs"),
        ("26.9", {"rootfs_type": "squashfs"}, "squashfs-ext4 only"),
        ("29.0", {"skip_branding": True}, "has no option --skip-branding"),
        ("28.14.64", {"dnfplugins": ["x"]}, "knows no dnfplugins"),
    ],
)
def test_what_a_generation_cannot_do_is_said(
    tmp_path: Path, tree: Tree, generation: str, options: dict[str, object], message: str
) -> None:
    error = failure(tmp_path, tree, generation, "", **options)
    assert "exit status 3" in error.message
    assert message in error.message


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("OSError: [Errno 28] No space left on device", True),
        ("  installing package glibc-all-langpacks-2.25-6.fc26.x86_64 needs 108MB on the / filesystem", True),
        ("  installing package a-1-1.noarch needs 2KB more space on the /boot filesystem", True),
        ("  installing package a-1-1.noarch needs 7 inodes on the / filesystem", True),
        ("   At least 213MB more space needed on the / filesystem.", True),
        ("At least 2 GB more space needed on the /boot filesystem", True),
        ("Curl error (23): Failed writing received data to disk/application", True),
        ("cp: error writing 'x': Disk quota exceeded", True),
        ("RuntimeError: Required installpkg failed.", False),
        ("Curl error (6): Couldn't resolve host name", False),
    ],
)
def test_a_full_disk_is_known_by_everybodys_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, full: bool
) -> None:
    usage = namedtuple("usage", "total used free")
    for free, said in (
        (1 << 20, f"the file system of installer.lorax.tmp ({tmp_path}) is full"),
        (1 << 34, "root file system is too small"),
    ):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(1, 1, free))
        assert (said in lorax_failure.full_disk(text, {"installer.lorax.tmp": tmp_path})) == full


@needs_root
def test_room_is_looked_for_before(tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    place, out = fake(tmp_path), tmp_path / "out"
    out.mkdir()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 3 << 30))
    with pytest.raises(
        BuildError,
        match=(
            r"lorax needs \d+\.\d GiB in installer\.lorax\.tmp .* and the store .*, where 3\.0 GiB are free:"
            r" 1\.0 GiB for its packages,"
        ),
    ):
        lorax.build(out, request(tmp_path, tree, installer(place)))
    assert not (place / "told.json").exists()
    with pytest.raises(BuildError, match=r"installer\.lorax\.tmp: /nowhere is no directory"):
        lorax.build(out, request(tmp_path, tree, installer(place, tmp="/nowhere")))


@pytest.mark.parametrize("records", ["dated", "plain"])
def test_continuation_lines_belong_to_their_record(records: str) -> None:
    when = "2017-07-07 10:00:00,123 " if records == "dated" else ""
    text = (
        f"{when}INFO pylorax: not this\n  nor this\n{when}ERROR pylorax.ltmpl: Dependency check failed: \n"
        f" Problem: package a\n  - nothing provides b\n{when}DEBUG pylorax.ltmpl:   Traceback\n  nor"
        f" that\n{when}CRITICAL pylorax: the end\n"
    )
    assert lorax_failure.errors_in(text) == [
        "Dependency check failed: ",
        " Problem: package a",
        "  - nothing provides b",
        "the end",
    ]


# written by pylorax.executils of 26.9 when the image of the root file system is too small (mkrootfsimg: cp
# within a mount)
PROGRAMS = """2017-07-07 10:00:00,123 INFO program: Running... mkfs.ext4 -L Anaconda /dev/loop0
2017-07-07 10:00:00,123 DEBUG program: Return code: 0
2017-07-07 10:00:00,123 INFO program: Running... cp -a /root/. /var/tmp/lorax.imgutils.x
2017-07-07 10:00:00,123 INFO program: cp: error writing '/var/tmp/lorax.imgutils.x/a': No space left on device
2017-07-07 10:00:00,123 DEBUG program: Return code: 1
2017-07-07 10:00:00,123 INFO program: Running... umount /var/tmp/lorax.imgutils.x
2017-07-07 10:00:00,123 DEBUG program: Return code: 0
2017-07-07 10:00:00,123 INFO program: Running... losetup --detach /dev/loop0
2017-07-07 10:00:00,123 DEBUG program: Return code: 0
"""


def test_the_program_that_failed_is_quoted_not_those_that_tidied_up(tmp_path: Path) -> None:
    (tmp_path / "program.log").write_text(PROGRAMS)
    (tmp_path / "lorax.log").write_text("2017-07-07 10:00:00,123 ERROR pylorax: could not get the release\n")
    said = (
        'Traceback (most recent call last):\n  File "x", line 1, in main\n    run()\n   '
        " ^^^^^\nsubprocess.CalledProcessError: Command returned 1\n"
    )
    assert lorax_failure.reason(tmp_path, said).splitlines() == [
        "    could not get the release",
        "    subprocess.CalledProcessError: Command returned 1",
        "    Running... cp -a /root/. /var/tmp/lorax.imgutils.x",
        "    cp: error writing '/var/tmp/lorax.imgutils.x/a': No space left on device",
        "    Return code: 1",
    ]


def test_times_are_set_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".discinfo").write_text("1501000000.123456\n26\nx86_64\n")
    (tmp_path / ".treeinfo").write_text(
        "[general]\ntimestamp = 1501000000.12\nfamily = Fedora\n\n[stage2]\nmainimage ="
        " images/install.img\n\n"
    )
    lorax.set_times(tmp_path, 7)
    assert (tmp_path / ".discinfo").read_text() == "7.000000\n26\nx86_64\n"
    assert (
        (tmp_path / ".treeinfo").read_text()
        == "[general]\ntimestamp = 7\nfamily = Fedora\n\n[stage2]\nmainimage = images/install.img\n\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Cannot download https://me:secret@example.org/os/repodata/repomd.xml",
        "for http://me:secret@h:80?x",
        "via me:secret@proxy.example.org:3128",
        "repo: 'https://me:se%40secret@x/'",
        "https://me:s@secret@example.org/os",
    ],
)
def test_no_password_is_quoted_wherever_it_stands(text: str) -> None:
    """Of .repo files, too, which only dnf reads."""
    said = lorax_sources.without_logins(
        text,
        ["http://[half", "https://example.org/a@b"]
        + (["me:secret@proxy.example.org:3128"] if "via" in text else []),
    )
    assert "secret" not in said
    assert said == text.replace(text[text.index("me:") : text.rindex("@") + 1], "")


# --- interrupts ---------------------------------------------------------------------------------------------

BUILD = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from imagebuild.cli import ending, progress
from imagebuild.installers.lorax import backend as lorax
from imagebuild.tools import command, temporary
from tests.installers.lorax.lab import *
import threading, contextvars
place = Path(sys.argv[1])
made = json.loads((place / "tree.json").read_text())
tree = Tree(**{{**made, "repo": Path(made["repo"]), "host_kind": HostKind(made["host_kind"])}})
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, ending.interrupt)
temporary.adopt()
out = place / "out"
out.mkdir()
asked = request(place, tree, installer(place / "lorax"))
thread = threading.Thread(target=lorax.build, args=(out, asked), daemon=True)
thread.start()
try:
    thread.join()
except KeyboardInterrupt:
    ending.end_everything()
    os._exit(130)
"""


@contextlib.contextmanager
def started(
    tmp_path: Path, tree: Tree, generation: str, clean_up: float
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a build as a process of its own; yield when its lorax has something mounted, so to speak."""
    import json

    place = fake(tmp_path, generation, "hang")
    fields = {**tree.__dict__, "repo": str(tree.repo), "host_kind": tree.host_kind.value}
    (tmp_path / "tree.json").write_text(json.dumps(fields))
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD.format(root=str(ROOT)), str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "FAKE_CLEAN_UP": str(clean_up), "TMPDIR": str(tmp_path / "temporary")},
        start_new_session=True,
    )
    with process:
        try:
            wait_for(place / "mounted")
            yield process, place
        finally:
            # leaving `with` waits for it
            process.kill()


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"no {file}"
        time.sleep(0.02)


def still_running(place: Path) -> list[str]:
    """Return what runs there and does not end: a program that was killed needs a moment until it is gone."""
    deadline = time.monotonic() + 10
    while (found := running(place)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def running(place: Path) -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        found += [words] if str(place) in words and str(os.getpid()) != each.parent.name else []
    return found


@needs_root
@BOTH
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_lorax_cleans_up_and_leaves_nothing(
    tmp_path: Path, tree: Tree, generation: str, number: signal.Signals
) -> None:
    """Longer than everybody else is waited for, and what it waits for is said at once."""
    with started(tmp_path, tree, generation, clean_up=4) as (process, place):
        process.send_signal(number)
        assert process.stderr is not None
        said = read_line(process.stderr)
        assert not (place / "cleaned").exists(), "four seconds later"
        assert "waiting up to 45 s for lorax" in said
        assert process.wait(30) == 130
        assert (place / "cleaned").exists()
        assert not (place / "interrupted again").exists()
        assert list((place / "tmp").iterdir()) == []
        assert list((tmp_path / "temporary").iterdir()) == []
        assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith("lorax")]
        assert still_running(place) == []


@needs_root
def test_a_signal_to_the_whole_group_reaches_the_command_once(tmp_path: Path, tree: Tree) -> None:
    with started(tmp_path, tree, "26.9", clean_up=2) as (process, place):
        group = os.getpgid(
            next(
                int(each.parent.name)
                for each in Path("/proc").glob("[0-9]*/cmdline")
                if _is_child(each, tmp_path)
            )
        )
        for _ in range(3):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGINT)
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert (place / "cleaned").exists()
        assert not (place / "interrupted again").exists()


def _is_child(cmdline: Path, place: Path) -> bool:
    try:
        words = cmdline.read_bytes().split(b"\0")
    except OSError:
        return False
    return words[1:2] == [str(Path(lorax_child.__file__)).encode()] and str(place).encode() in words[2]


@needs_root
@BOTH
def test_a_killed_build_leaves_what_the_next_run_sweeps(
    tmp_path: Path, tree: Tree, generation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(tmp_path, tree, generation, clean_up=1) as (process, place):
        process.kill()
        process.wait()
        assert still_running(place) == [], "lorax outlives the build"
        assert list((place / "tmp").rglob("lorax-*"))
        # any run with that TMPDIR, although it may not have anything to do with lorax
        monkeypatch.setattr(own_place, "_given", tmp_path / "temporary")
        temporary.sweep()
        assert not list((place / "tmp").rglob("lorax-*"))
        assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith("lorax")]
        # the next one that uses it, and gc
        temporary.sweep(place / "tmp")
        assert list((place / "tmp").iterdir()) == []


def begin_to_count_when_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a minute be a moment, but not before lorax is in the middle of its work, however long that takes
    here.
    """
    wait = command.Process.wait

    def patient(process: command.Process, seconds: float | None = None) -> int:
        # only lorax itself has a deadline
        if seconds is not None:
            wait_for(tmp_path / "lorax" / "mounted")
        return wait(process, seconds)

    monkeypatch.setattr(command.Process, "wait", patient)
    monkeypatch.setattr(lorax, "MINUTE", 0.01)


@needs_root
@BOTH
def test_one_that_takes_too_long_is_interrupted(
    tmp_path: Path, tree: Tree, generation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_to_count_when_mounted(tmp_path, monkeypatch)
    error = failure(tmp_path, tree, generation, "hang", timeout_minutes=30)
    assert "lorax did not end within 30 minutes" in error.message
    assert "installer.lorax.timeout_minutes" in error.hint
    assert (tmp_path / "lorax" / "cleaned").exists()


@needs_root
def test_one_that_does_not_end_is_killed(tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_to_count_when_mounted(tmp_path, monkeypatch)
    monkeypatch.setattr(lorax_request, "CLEAN_UP_SECONDS", 1)
    monkeypatch.setattr(lorax, "PATIENCE_SECONDS", 3.0)
    monkeypatch.setenv("FAKE_CLEAN_UP", "600")
    begun = time.monotonic()
    failure(tmp_path, tree, "26.9", "hang", timeout_minutes=30)
    assert time.monotonic() - begun < 20
    assert still_running(tmp_path / "lorax") == []


# --- what is shown ------------------------------------------------------------------------------------------


def test_the_child_and_the_log_mean_the_same_by_a_stage() -> None:
    assert lorax_child.STAGE == steplog.STAGE


def test_stages_are_said_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    stages = lorax_child.Stages()
    for message in (
        "Checking dependencies",
        "Checking dependencies",
        "something",
        "Downloading packages",
        "Checking dependencies",
    ):
        stages.look(message)
    assert (
        capsys.readouterr().out
        == "==> Checking dependencies\n==> Downloading packages\n==> Checking dependencies\n"
    )


def test_the_next_failure_is_moved_with_its_logs(tmp_path: Path) -> None:
    """`failed/` has what the message speaks of."""
    from imagebuild.engine.graph import _run_step, _Task

    store = Store(tmp_path / "store")
    task = _Task(
        kind="installer.make", key="k", components={}, function=broken, arguments=(), guests=0, without=()
    )
    with pytest.raises(EvidenceError) as caught:
        _run_step(store, task)
    assert caught.value.evidence == tmp_path / "store/failed/installer.make-k/out/work/logs"
    assert (caught.value.evidence / "lorax.log").read_text() == "words"
    assert sorted(path.name for path in (caught.value.evidence.parent).iterdir()) == ["logs"]


@needs_root
def test_a_refused_iso_stays_as_evidence(tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    place, out = fake(tmp_path, "40.5.19"), tmp_path / "out"
    out.mkdir()
    spec = InstallerSpec(backend="lorax", product="Fedora", release="29", ways=("native",))
    config = installer(place).model_copy(update={"volume_id": "Fedora_29"})
    # whatever is wrong with it: here the label (lorax's x86.tmpl replaces what is neither letter, digit nor
    # underscore)
    medium = place / "pylorax" / "__init__.py"
    medium.write_text(
        medium.read_text().replace("outputdir, volid, 'grub'", "outputdir, volid.replace('_', '-'), 'grub'")
    )
    with (
        pytest.raises(EvidenceError, match="its volume id is 'Fedora-29', not 'Fedora_29'") as caught,
        steplog.writing_to(tmp_path / "log"),
    ):
        make_iso(out, tree, None, kickstarts(tmp_path), SOURCE, config, spec)
    image = out / f"{config.name}-{tree.version}.x86_64.iso"
    assert caught.value.evidence == image
    assert image.name in caught.value.hint
    assert sorted(file.name for file in out.iterdir()) == sorted([image.name, "facts.json", "treeinfo"])


def broken(out: Path) -> int:
    logs = out / "work" / "logs"
    logs.mkdir(parents=True)
    (logs / "lorax.log").write_text("words")
    (out / "work" / "request.json").write_text("secret")
    (out / "work" / "x").mkdir()
    raise lorax._kept("it broke", "", logs)


def test_progress_off_a_terminal_names_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    view = progress.View(Console())
    monkeypatch.setattr(view, "say", said.append)
    log = tmp_path / "log"
    log.write_text("x\n==> installing runtime packages\nmore\n==> half a li")
    view.rows = {"installer iso": progress._Row("running", log=log)}
    view.look()
    with log.open("a") as stream:
        stream.write("ne\nafter\n==> \x1b[31mred\x07\n")
    view.look()
    view.look()
    assert said == [
        "installer iso: installing runtime packages",
        "installer iso: half a line",
        "installer iso: red",
    ]
    log.unlink()
    view.look()


def test_a_terminal_shows_the_stage_before_the_last_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("==> creating the runtime image\nINFO pylorax.ltmpl: something\n")
    console = Console(force_terminal=True, width=120, color_system=None)
    view = progress.LiveView(console)
    view.rows = {"installer iso": progress._Row("running", log=log)}
    view.look()
    with console.capture() as shown:
        console.print(view)
    assert "creating the runtime image: INFO pylorax.ltmpl: something" in shown.get()
