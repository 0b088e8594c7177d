"""What a build writes down of itself in the store: what it used and built, and, as long as it runs, what it
does now.

    builds/TIME.json       step name -> (kind, key): what it used
    builds/TIME.timeline   what it built, from when to when, and how that ended: a JSON object a line
    builds/TIME.state      what runs now; when and how it ended
    builds/TIME.lock       flock(2)ed by the build as long as it runs; its time is the last sign of life

Whether a build runs is known from the lock, not from its process id, and ends with it, however that ends.
"""

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagebuild import files, json_text

Pair = tuple[str, str]
BEAT_SECONDS = 5.0
# what a build does now is written at once, but when much happens not more often than that
STATE_SECONDS = 0.5
# what reading a record raises that was cut, or is another program's
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
# 9999-12-31, in seconds since 1970
LAST_MOMENT = 253_402_214_400
RUNNING, INTERRUPTED, OVER = "running", "interrupted", "over"


class Diary:
    """The book of a build that runs. Its name is the time of its beginning (UTC); `tell` hears what it uses
    when that changes.
    """

    def __init__(self, place: Path, used: Mapping[str, Pair]) -> None:
        self.name = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f".{time.time_ns() % 10**9:09d}"
        self._place, self._used = place, dict(used)
        self._written, self._dirty = -STATE_SECONDS, False
        self.tell: Callable[[Mapping[str, Pair]], None] = lambda _: None
        self._state: dict[str, Any] = {
            "pid": os.getpid(),
            "host": platform.node(),
            "there": [],
            "running": [],
            "ended": None,
            "how": "",
        }
        # before anybody can see the build
        self._lock = os.open(place / f"{self.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        files.wait_for_lock(self._lock)
        self._beaten = time.monotonic()
        self._write_state()
        self._write("json", self._used)

    def _write_state(self, *, now: bool = True) -> None:
        if not now and time.monotonic() - self._written < STATE_SECONDS:
            self._dirty = True
            return
        self._written, self._dirty = time.monotonic(), False
        self._write("state", self._state)

    def _write(self, kind: str, data: object) -> None:
        partial = self._place / f".{self.name}.{kind}.tmp"
        try:
            with files.naming(partial):
                partial.write_text(json.dumps(data, indent=1, sort_keys=True))
            partial.rename(self._place / f"{self.name}.{kind}")
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def uses(self, step: str, pair: Pair) -> None:
        """Write down that a step's artifact has another key than was expected."""
        self._used[step] = pair
        self._write("json", self._used)
        self.tell(self._used)

    def has(self, *steps: str) -> None:
        """Write down that artifacts of steps were there already."""
        self._state["there"] += steps
        self._write_state(now=False)

    def begins(self, step: str, pair: Pair, *, background: bool) -> None:
        """Write down that a step runs now."""
        self._state["running"].append(
            {"step": step, "kind": pair[0], "key": pair[1], "begin": time.time(), "background": background}
        )
        self._write_state(now=False)

    def ends(self, step: str, state: str, *, worker: str | None = None) -> None:
        """Write down how a step has ended, and on which worker of a cluster (None: on this machine)."""
        span = next(each for each in self._state["running"] if each["step"] == step)
        row = {
            **{name: span[name] for name in ("step", "begin", "background")},
            "end": time.time(),
            "state": state,
            **({"worker": worker} if worker is not None else {}),
        }
        self._state["running"].remove(span)
        book = self._place / f"{self.name}.timeline"
        with files.naming(book), book.open("a") as timeline:
            timeline.write(json.dumps(row, sort_keys=True) + "\n")
        self._write_state(now=False)

    def beat(self) -> None:
        """Give a sign of life, now and then, and write down what was not yet."""
        if self._dirty:
            self._write_state(now=False)
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            os.utime(self._lock)

    def close(self, how: str) -> None:
        """Write down that the build is `over`, or `interrupted`, and let others see that it does not run."""
        self._state |= {"ended": time.time(), "how": how}
        self._write_state()
        os.close(self._lock)


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """A build that was written down. `state` is running, interrupted, over, or empty for one of an older
    imagebuild.

    `spans` are the steps that have ended, `now` those that run, or ran when it was interrupted at `seen`
    (seconds since 1970).
    """

    name: str
    used: Mapping[str, Pair]
    spans: tuple[Mapping[str, Any], ...] = ()
    state: str = ""
    there: frozenset[str] = frozenset()
    now: tuple[Mapping[str, Any], ...] = ()
    seen: float = 0.0
    process: str = ""

    def finished(self, step: str) -> bool:
        """Whether a step's artifact was there when this build was; an older imagebuild's are believed to have
        been.
        """
        return not self.state or step in self.there or self.ended_as(step) == "done"

    def ended_as(self, step: str) -> str:
        """Return how a step has ended in this build; empty when it has not."""
        return next((str(each["state"]) for each in self.spans if each["step"] == step), "")


def remembered(file: Path) -> Remembered | None:
    """Return the build whose TIME.json this is; None when gc has just removed it, or it is something else."""
    data = _json(file)
    try:
        used = {str(name): (str(pair[0]), str(pair[1])) for name, pair in data.items()}
    except DAMAGE:
        return None
    spans = tuple(span for span in _spans(file.with_suffix(".timeline")) if _is_span(span, ended=True))
    state, running = _json(file.with_suffix(".state")), is_running(file)
    try:
        return _as_it_was(file, Remembered(name=file.stem, used=used, spans=spans), state, running=running)
    except DAMAGE:
        return Remembered(name=file.stem, used=used, spans=spans)


def _as_it_was(file: Path, known: Remembered, state: Any, *, running: bool) -> Remembered:
    """Return a build with what its TIME.state says. Raises one of DAMAGE when there is none."""
    lock = file.with_suffix(".lock")
    seen = state["ended"] or (lock.stat().st_mtime if lock.exists() else 0.0)
    now = tuple(span for span in state["running"] if _is_span(span, ended=False))
    return replace(
        known,
        state=RUNNING if running else str(state["how"]) or INTERRUPTED,
        there=frozenset(map(str, state["there"])),
        now=now,
        seen=time.time() if running else _moment(seen),
        process=f"process {state['pid']} on {state['host']}",
    )


def _is_span(span: Any, *, ended: bool) -> bool:
    """Whether something is a row of a timeline, or a step of those that run: strings and moments as they are
    written here.
    """
    try:
        words = [span[name] for name in ("step", *(("state",) if ended else ("kind", "key")))]
        moments = [_moment(span[name]) for name in (("begin", "end") if ended else ("begin",))]
        worker = span.get("worker")
        return (
            all(isinstance(word, str) for word in words)
            and moments == sorted(moments)
            and (isinstance(span["background"], bool) and (worker is None or isinstance(worker, str)))
        )
    except DAMAGE:
        return False


def _moment(value: Any) -> float:
    """Return seconds since 1970. Raises ValueError for what no clock says (datetime ends with the year
    9999).
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LAST_MOMENT:
        raise ValueError(f"{value!r} is not a time")
    return float(value)


def _json(file: Path) -> Any:
    """Return what a file says; None when it is not there, or was cut."""
    try:
        return json_text.parse(file.read_text())
    except (OSError, ValueError):
        return None


def _spans(timeline: Path) -> list[Any]:
    """Return the rows of a timeline; of one of imagebuild 0.1, which was one JSON list, too."""
    try:
        text = timeline.read_text()
    except (OSError, UnicodeDecodeError):
        return []
    whole = text if text.startswith("[") else f"[{','.join(text.splitlines())}]"
    try:
        rows: list[Any] = json_text.parse(whole)
    except ValueError:
        # the last line of a build that was killed while it wrote
        return _spans_of_lines(text)
    return rows if isinstance(rows, list) else []


def _spans_of_lines(text: str) -> list[Any]:
    rows = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            rows.append(json_text.parse(line))
    return rows


def is_running(file: Path) -> bool:
    """Whether the build whose TIME.json this is runs now: its lock is held."""
    try:
        handle = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not files.try_lock(handle)
    finally:
        os.close(handle)


def forget(file: Path) -> None:
    """Remove what a build has written down of itself."""
    for each in (
        *file.parent.glob(f".{file.stem}.*.tmp"),
        *(file.with_suffix(kind) for kind in (".timeline", ".state", ".lock", ".json")),
    ):
        each.unlink(missing_ok=True)
