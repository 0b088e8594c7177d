"""A build's events as JSON lines, for other programs. Fields are added, none is renamed or taken away:

    {"time": 1785000000.123, "event": "started", "step": "disk cloud", "log": "/…/log", "waits": false}
    {"time": …, "event": "finished", "step": "disk cloud", "seconds": 61.2, "cached": false}
    {"time": …, "event": "failed", "step": …, "message": "…", "hint": "…", "log": "…", "criteria": false}
    {"time": …, "event": "not started", "step": …, "because": "disk cloud"}
    {"time": …, "event": "progress", "step": …, "text": "installing the host"}

In a build of several refs `step` is "REF: NAME", and `ref` is there, too: the first that needs the step.
`time` is in seconds since 1970; `cached`: the artifact was there; `waits`: another imagebuild builds it;
`criteria`: it was built, and release criteria do not hold. A finished step may have a `remark`: another
machine had finished it before, and made something else (docs/shared-store.md).
"""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from imagebuild.engine.graph import Listener
from imagebuild.engine.sharing import split
from imagebuild.engine.steps import Step
from imagebuild.engine.store import StoredArtifact
from imagebuild.errors import BuildError, CriteriaError


class EventStream:
    """A listener that writes each event as a line, at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def _write(self, event: str, step: str, **fields: object) -> None:
        ref, _ = split(step)
        of = {"ref": ref} if ref else {}
        row = {"time": round(time.time(), 3), "event": event, "step": step, **of, **fields}
        self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._stream.flush()

    def started(self, one: Step[Any], log: Path, *, busy: bool) -> None:
        """A step runs."""
        self._write("started", one.name, log=str(log), waits=busy)

    def finished(self, one: Step[Any], record: StoredArtifact, *, cached: bool) -> None:
        """A step's artifact is there."""
        said = {"remark": record.remark} if record.remark is not None else {}
        self._write("finished", one.name, seconds=round(record.seconds, 3), cached=cached, **said)

    def failed(self, one: Step[Any], error: BuildError) -> None:
        """A step failed."""
        self._write(
            "failed",
            one.name,
            message=error.message,
            hint=error.hint,
            log=str(error.log) if error.log is not None else "",
            criteria=isinstance(error, CriteriaError),
        )

    def not_started(self, one: Step[Any], because: Step[Any]) -> None:
        """A step was never started."""
        self._write("not started", one.name, because=because.name)

    def progress(self, step: str, text: str) -> None:
        """A step that runs begins something new."""
        self._write("progress", step, text=text)


class Listeners:
    """Several listeners as one: each hears everything, in their order."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners = tuple(listeners)

    def started(self, one: Step[Any], log: Path, *, busy: bool) -> None:
        """A step runs."""
        for listener in self._listeners:
            listener.started(one, log, busy=busy)

    def finished(self, one: Step[Any], record: StoredArtifact, *, cached: bool) -> None:
        """A step's artifact is there."""
        for listener in self._listeners:
            listener.finished(one, record, cached=cached)

    def failed(self, one: Step[Any], error: BuildError) -> None:
        """A step failed."""
        for listener in self._listeners:
            listener.failed(one, error)

    def not_started(self, one: Step[Any], because: Step[Any]) -> None:
        """A step was never started."""
        for listener in self._listeners:
            listener.not_started(one, because)
