"""Steps that workers of a test's cluster run: they sleep, run programs, fail, and say where they ran."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from imagebuild import steplog
from imagebuild.errors import CriteriaError
from imagebuild.model import ArtifactPath
from imagebuild.tools import command


@dataclass(frozen=True)
class Text:
    file: ArtifactPath


def write(out: Path, text: str) -> Text:
    (out / "text").write_text(text)
    return Text(out / "text")


def join(out: Path, texts: tuple[Text, ...], separator: str) -> Text:
    (out / "text").write_text(separator.join(text.file.read_text() for text in texts))
    return Text(out / "text")


def nap(out: Path, seconds: float, before: tuple[Text, ...]) -> Text:
    time.sleep(seconds)
    return write(out, "".join(text.file.read_text() for text in before)[:10] + ".")


def rest(out: Path, name: str, seconds: float, before: tuple[Text, ...]) -> Text:
    """Two of the same length are two steps."""
    time.sleep(seconds)
    return write(out, f"{name} after {len(before)}")


def tell_process(out: Path, text: str) -> Text:
    return write(out, f"{text} {os.getpid()}")


def tell_place(out: Path, place: Path) -> Text:
    return write(out, str(place))


def talk(out: Path, text: str, flag: Path) -> Text:
    """Write a line to the log, and wait until somebody says that it was read."""
    steplog.note(f"==> {text}")
    until = time.monotonic() + 30
    while not flag.exists() and time.monotonic() < until:
        time.sleep(0.05)
    return write(out, text)


def hold(out: Path, text: str, marks: Path) -> Text:
    """Run a program that never ends by itself; who runs it is written down."""
    attempt = len(list(marks.iterdir()))
    (marks / f"{text}-{attempt}").write_text(str(os.getpid()))
    command.run(["sh", "-c", f"echo $$ > {marks}/{text}-program-{attempt}; exec sleep 300"])
    return write(out, text)


def hold_once(out: Path, text: str, marks: Path) -> Text:
    """The first one who runs this never ends by himself."""
    if not list(marks.glob(f"{text}-*")):
        return hold(out, text, marks)
    return tell_process(out, text)


def fill(out: Path, text: str, full: str) -> Text:
    """There is no room where `full` is part of the path."""
    if full in str(out):
        raise OSError(28, "No space left on device")
    return write(out, text)


def judge(out: Path, text: str) -> Text:
    """Not good enough, with evidence."""
    (out / "evidence").mkdir()
    (out / "evidence" / "console").write_text(f"{text}: panic\n")
    raise CriteriaError("criteria do not hold", evidence=out / "evidence")
