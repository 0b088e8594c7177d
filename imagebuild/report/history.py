"""The last builds: what they made, how that ended, and where the time went: for the terminal, as a page, as a
Chrome trace.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imagebuild.engine.builds import INTERRUPTED, RUNNING
from imagebuild.engine.store import Store
from imagebuild.report.templates import template

# columns of a bar
WIDTH = 48
HERE = "this machine"


@dataclass(frozen=True, kw_only=True)
class Span:
    """One step of a build: seconds since 1970. `worker` of a cluster; None: this machine."""

    step: str
    begin: float
    end: float
    state: str
    background: bool
    worker: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedBuild:
    """One build: what it used (`steps` of them), what of that it built itself, and the cells of its verdicts
    by state.

    `state` is running, interrupted, over, or empty (an older imagebuild's); `seen` is its last sign of life
    (seconds since 1970); `logs` are those of the steps that run.
    """

    name: str
    steps: int
    spans: tuple[Span, ...]
    cells: Mapping[str, int]
    complete: bool
    state: str = ""
    seen: float = 0.0
    process: str = ""
    logs: Mapping[str, Path] = field(default_factory=dict)

    @property
    def built(self) -> int:
        """How many steps it has built so far."""
        return len([each for each in self.spans if each.state not in (RUNNING, INTERRUPTED)])

    @property
    def begun(self) -> datetime:
        """When it began (UTC)."""
        return datetime.strptime(self.name.partition(".")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)

    @property
    def seconds(self) -> float:
        """From the first step's beginning to the last one's end; of one that runs: so far."""
        if self.state == RUNNING:
            return self.seen - self.begun.timestamp()
        return max((each.end for each in self.spans), default=0.0) - min(
            (each.begin for each in self.spans), default=0.0
        )

    @property
    def outcome(self) -> str:
        """How it ended, in a word or two."""
        failed = [each.step for each in self.spans if each.state == "failed"]
        if self.state == RUNNING:
            now = ", ".join(each.step for each in self.spans if each.state == RUNNING)
            return f"running: {now or 'between two steps'}" + (
                f"; failed so far: {', '.join(failed)}" if failed else ""
            )
        if self.state == INTERRUPTED:
            return f"interrupted at {datetime.fromtimestamp(self.seen, UTC):%H:%M:%S}"
        if failed:
            return f"failed: {', '.join(failed)}"
        return ("finished" if self.spans else "nothing to do") if self.complete else "not finished"


def builds_of(store: Store, count: int) -> list[RecordedBuild]:
    """Return the newest builds, newest first."""
    found = []
    for known in reversed(store.builds()[-count:]):
        records = {step: store.find(*pair) for step, pair in known.used.items()}
        cells: Counter[str] = Counter()
        for record in records.values():
            value = record.value if record is not None else None
            if isinstance(value, dict) and isinstance(value.get("cells"), list):
                cells.update(str(cell["state"]) for cell in value["cells"])
        rows = [
            Span(
                **{key: span[key] for key in ("step", "begin", "end", "state", "background")},
                worker=span.get("worker"),
            )
            for span in known.spans
        ]
        # what runs, or was cut short, has a bar, too
        rows += [
            Span(
                step=span["step"],
                begin=span["begin"],
                end=max(known.seen, span["begin"]),
                state=known.state,
                background=span["background"],
            )
            for span in known.now
        ]
        found.append(
            RecordedBuild(
                name=known.name,
                steps=len(known.used),
                spans=tuple(rows),
                cells=cells,
                state=known.state,
                seen=known.seen,
                process=known.process,
                logs={
                    span["step"]: store.root / "scratch" / f"{span['kind']}-{span['key']}" / "log"
                    for span in known.now
                },
                complete=all(record is not None for record in records.values()),
            )
        )
    return found


def bars(build: RecordedBuild, width: int = WIDTH) -> list[tuple[str, str, str]]:
    """Return (step, bar, seconds) of each step, in the order in which they began: the bar lies where the step
    lay in time.
    """
    begin, whole = min((each.begin for each in build.spans), default=0.0), build.seconds or 1.0
    rows = []
    for span in sorted(build.spans, key=lambda each: each.begin):
        first = int(width * (span.begin - begin) / whole)
        length = max(1, round(width * (span.end - span.begin) / whole))
        mark = "░" if span.background else "█"
        rows.append(
            (
                span.step,
                " " * first + mark * min(length, width - first if first < width else 1),
                f"{span.end - span.begin:.1f}",
            )
        )
    return rows


def trace(builds: Sequence[RecordedBuild]) -> str:
    """Return builds as a Chrome trace (Trace Event Format, complete events `X`; microseconds): Perfetto and
    chrome://tracing open it. Each worker has lanes of its own, as many as it ran steps at once.
    """
    events: list[dict[str, Any]] = []
    for number, build in enumerate(builds):
        lanes: list[tuple[str, float]] = []
        events.append(
            {
                "name": "process_name",
                "ph": "M",
                "pid": number,
                "tid": 0,
                "args": {"name": f"build {build.name}"},
            }
        )
        for span in sorted(build.spans, key=lambda each: each.begin):
            place = span.worker or HERE
            lane = next(
                (at for at, (where, end) in enumerate(lanes) if where == place and end <= span.begin),
                len(lanes),
            )
            lanes[lane:] = [(place, span.end), *lanes[lane + 1 :]]
            events.append(
                {
                    "name": span.step,
                    "cat": span.state,
                    "ph": "X",
                    "ts": round(span.begin * 1e6),
                    "dur": round((span.end - span.begin) * 1e6),
                    "pid": number,
                    "tid": lane,
                }
            )
        events += [
            {"name": "thread_name", "ph": "M", "pid": number, "tid": lane, "args": {"name": place}}
            for lane, (place, _) in enumerate(lanes)
        ]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, indent=1) + "\n"


def _bars(build: RecordedBuild) -> Iterator[dict[str, str | float]]:
    """Yield the steps of a build as the page draws them: where each begins, how long it is (per cent)."""
    begin, whole = min((span.begin for span in build.spans), default=0.0), build.seconds or 1.0
    for span in sorted(build.spans, key=lambda span: span.begin):
        seconds = span.end - span.begin
        yield {
            "step": span.step,
            "kind": f"{span.state}{' background' if span.background else ''}",
            "left": 100 * (span.begin - begin) / whole,
            "width": 100 * seconds / whole,
            "seconds": seconds,
        }


def _lanes(build: RecordedBuild) -> dict[str, list[dict[str, str | float]]]:
    """Return the bars of each worker, this machine's first; nothing of a build without a cluster."""
    workers = sorted({span.worker for span in build.spans if span.worker is not None})
    if not workers:
        return {}
    by_step = {span.step: span.worker or HERE for span in build.spans}
    lanes: dict[str, list[dict[str, str | float]]] = {name: [] for name in (HERE, *workers)}
    for bar in _bars(build):
        lanes[by_step[str(bar["step"])]].append(bar)
    return lanes


def page(builds: Sequence[RecordedBuild]) -> str:
    """Return builds as one page without scripts."""
    shown = [
        {
            "begun": build.begun,
            "outcome": build.outcome,
            "seconds": build.seconds,
            "found": ", ".join(f"{count} {state}" for state, count in sorted(build.cells.items())),
            "bars": list(_bars(build)),
            "lanes": _lanes(build),
        }
        for build in builds
    ]
    return template("builds.html.j2").render(builds=shown)
