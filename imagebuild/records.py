"""How a kind of thing is told: one frozen record per thing, one registry per kind that holds them by name.

A new format, kind of host, backend, destination, profile or composer is a module with its record and a
line in its package's `registry.py`. A record that lacks something is refused where it is registered, which
is when the package is imported, and the error names the record and the field.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, ClassVar, Generic, Protocol, TypeVar

NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")


class Record(Protocol):
    """A frozen dataclass that has a name. A field without a default must hold something."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """What a configuration calls it."""


class IncompleteRecordError(Exception):
    """A mistake in the program, found when it is imported: the record and the field are named."""


R = TypeVar("R", bound=Record)


class Registry(Mapping[str, R], Generic[R]):
    """The records of one kind by name, in the order in which they were registered.

    Raises IncompleteRecordError for a record with an empty required field, a name that no configuration can
    hold, or one that is taken.
    """

    def __init__(self, kind: str, *records: R) -> None:
        self._kind = kind
        self._records: dict[str, R] = {}
        for record in records:
            self._add(record)

    def _add(self, record: R) -> None:
        for field in fields(record):
            required = field.default is MISSING and field.default_factory is MISSING
            if required and getattr(record, field.name) in (None, "", ()):
                who = f"{self._kind} {record.name or '?'}"
                raise IncompleteRecordError(f"{who}: the field {field.name} is empty")
        if NAME.fullmatch(record.name) is None:
            raise IncompleteRecordError(
                f"{self._kind} {record.name}: a name is lower-case words and digits, joined by '-', '_' or"
                " '.'"
            )
        if record.name in self._records:
            raise IncompleteRecordError(f"{self._kind} {record.name}: there are two of this name")
        self._records[record.name] = record

    def __getitem__(self, name: str) -> R:
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)
