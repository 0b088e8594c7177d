"""What is made at most once in a run, because it is dear; a failure is remembered, too, and raised again."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Once:
    """Results by name. A guest that did not come up is not booted again for every criterion, nor is a failed
    leg gone again.
    """

    def __init__(self) -> None:
        self._results: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._results

    def __call__(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` returned when it was called for this name, or raise what it raised."""
        if name not in self._results:
            try:
                self._results[name] = make()
            except Exception as error:
                self._results[name] = error
        found = self._results[name]
        if isinstance(found, Exception):
            raise found
        result: T = found
        return result
