"""A client's connection to a head: dask's client, and what is asked through it of head and workers."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagebuild.cluster import settings
from imagebuild.cluster.abilities import own_version, source_of_imagebuild
from imagebuild.cluster.remote_step import PLUGIN, tell_held, tell_load, tell_logs, tell_running
from imagebuild.cluster.security import Address, Identity, check_head
from imagebuild.errors import BuildError

if TYPE_CHECKING:
    from distributed import Client

Pair = tuple[str, str]
# as long a head may be away: whoever starts it again has that time
HEAD_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A worker as the head sees it: what it has told of itself, the steps that it was given with the
    resources that they take, and its process.
    """

    told: object
    processing: Mapping[str, Mapping[str, float]]
    executing: Mapping[str, float]
    pid: int


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a client says of its build: on which machine it is, and the names of steps that run and that were
    not started yet.
    """

    machine: str
    pid: int
    running: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HeadState:
    """What a head knows: its imagebuild, its workers by their addresses, its clients, and the port of dask's
    dashboard on its loopback (None: it has none).
    """

    version: str
    source: str
    workers: Mapping[str, Seen]
    clients: Sequence[Note]
    dashboard: int | None


def tell_state(client: str, note: Note | None, dask_scheduler: Any = None) -> HeadState:
    """Tell what a head knows, and let it know what a client says of itself."""
    notes: dict[str, Note] = dask_scheduler.__dict__.setdefault("imagebuild_notes", {})
    if note is not None:
        notes[client] = note
    for gone in set(notes) - set(dask_scheduler.clients):
        del notes[gone]
    workers = {
        address: Seen(
            told=state.extra.get(PLUGIN),
            processing={str(task.key): dict(task.resource_restrictions or {}) for task in state.processing},
            executing={str(task.key): seconds for task, seconds in state.executing.items()},
            pid=state.pid,
        )
        for address, state in dask_scheduler.workers.items()
    }
    return HeadState(
        version=own_version(),
        source=source_of_imagebuild(),
        workers=workers,
        clients=list(notes.values()),
        dashboard=dask_scheduler.services["dashboard"].port
        if "dashboard" in dask_scheduler.services
        else None,
    )


class Connection:
    """A connection to a head. Raises BuildError when there is none, or it refuses us."""

    def __init__(self, address: Address, shown: Identity | None) -> None:
        self.address = address
        settings.set_up(say="critical")
        check_head(address, shown)
        from distributed import Client

        try:
            self._client: Client = Client(
                str(address),
                security=settings.security(shown),
                timeout=HEAD_SECONDS,
                set_as_default=False,
                name="imagebuild",
            )
        except OSError as error:
            raise BuildError(f"no connection to the head at {address}: {error}") from error
        self.state()

    @property
    def client(self) -> "Client":
        """dask's own."""
        return self._client

    @property
    def alive(self) -> bool:
        """Whether the connection is there, or dask is trying to make it again."""
        return self._client.status in ("running", "connecting")

    def state(self, note: Note | None = None) -> HeadState:
        """Return what the head knows; `note` is what it hears of this client. Raises BuildError for a head of
        another imagebuild, OSError when it cannot be asked now.
        """
        try:
            state: HeadState = self._client.run_on_scheduler(tell_state, self._client.id, note)
        except (AttributeError, ImportError, TypeError) as error:
            raise BuildError(
                f"the head at {self.address} runs another imagebuild than this: {error}",
                hint="head, workers and clients must run the same imagebuild",
            ) from error
        if state.source != source_of_imagebuild():
            raise BuildError(
                f"the head at {self.address} runs imagebuild {state.version} ({state.source}), and"
                f" this is imagebuild {own_version()} ({source_of_imagebuild()})",
                hint="head, workers and clients must run the same imagebuild",
            )
        return state

    def held(self, addresses: Sequence[str], pairs: Sequence[Pair]) -> dict[str, dict[Pair, int]]:
        """Return which of these artifacts lie on workers, and their bytes, by address."""
        return self._ask(addresses, tell_held, list(pairs))

    def logs(self, addresses: Sequence[str], offsets: Mapping[str, int]) -> dict[str, bytes]:
        """Return what the logs of steps that run have got since those offsets, by key."""
        answers = self._ask(addresses, tell_logs, dict(offsets))
        return {key: data for read in answers.values() for key, data in read.items()}

    def running(self, addresses: Sequence[str]) -> dict[str, dict[str, tuple[list[str], float]]]:
        """Return what runs on workers: address -> key -> (programs, seconds that they have to end)."""
        return self._ask(addresses, tell_running)

    def loads(self, addresses: Sequence[str]) -> dict[str, float]:
        """Return how much of its cores each worker has used since it began: 0 … 1, by address."""
        return self._ask(addresses, tell_load)

    def _ask(self, addresses: Sequence[str], question: Any, *arguments: object) -> dict[str, Any]:
        if not addresses:
            return {}
        return dict(self._client.run(question, *arguments, workers=list(addresses), on_error="ignore") or {})

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)


@contextlib.contextmanager
def connected(address: Address, shown: Identity | None) -> Iterator[Connection]:
    """Have a connection for the length of a block."""
    connection = Connection(address, shown)
    try:
        yield connection
    finally:
        connection.close()
