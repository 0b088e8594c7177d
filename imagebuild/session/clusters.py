"""A cluster as it is asked for: its head, its workers, its certificates, and a build that runs on it."""

import contextlib
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuild.engine.dispatch import Dispatcher
from imagebuild.engine.steps import Step
from imagebuild.engine.store import Store
from imagebuild.errors import UsageError
from imagebuild.tools import elsewhere, temporary
from imagebuild.tools.load import available_memory
from imagebuild.wiring.stores import open_store

if TYPE_CHECKING:
    from imagebuild.cluster.connection import Connection
    from imagebuild.cluster.status import ClusterStatus

MIB = 1024 * 1024
# what the worker's machine itself keeps of its memory
RESERVED = 512


def say_nothing(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class ClusterOrder:
    """Which cluster builds: its head's address, the directory of certificates (None: the environment names
    it), and who hears what happens to it.
    """

    address: str
    keys: Path | None = None
    say: Callable[[str], None] = say_nothing


@contextlib.contextmanager
def dispatching(
    order: ClusterOrder, here: Dispatcher, store: Store, interrupted: Callable[[], None]
) -> Iterator[Dispatcher]:
    """Have the dispatcher of a cluster for the length of a block. What still runs on workers at the end of
    the block is ended; on KeyboardInterrupt `interrupted` is called before that.

    Raises UsageError for an address or certificates that are none, BuildError when the head cannot be
    reached, MissingToolError without dask.
    """
    from imagebuild.cluster import dispatcher

    with temporary.directory("cluster") as logs, _connected(order) as link:
        used = dispatcher.ClusterDispatcher(link, store, here, logs=logs, say=order.say)
        try:
            yield used
        except KeyboardInterrupt:
            # here first: a second Ctrl-C must not come between
            interrupted()
            raise
        finally:
            used.interrupt()
            used.close()


def make_keys(place: Path, *, days: int, names: tuple[str, ...]) -> list[Path]:
    """Make certificates; see cluster.keys."""
    from imagebuild.cluster import keys

    return keys.make_keys(place, days=days, names=names or keys.ROLES)


def be_head(listen: str, keys: Path | None, dashboard: int | None, say: Callable[[str], None]) -> None:
    """Be a cluster's head until this process is told to end. Raises UsageError, BuildError."""
    from imagebuild.cluster import head, security

    address = security.parse_address(listen)
    shown = security.identity(address, keys, "head")
    head.serve(head.HeadOrder(listen=address, shown=shown, dashboard=dashboard), say)


@dataclass(frozen=True, kw_only=True)
class WorkerWish:
    """How a worker is wanted; None: what is found on this machine."""

    head: str
    store: Store
    keys: Path | None = None
    name: str | None = None
    cores: int | None = None
    memory: int | None = None
    listen: str | None = None


def be_worker(wish: WorkerWish, say: Callable[[str], None]) -> None:
    """Work for a head until this process is told to end. Raises UsageError, BuildError when the head refuses
    it.
    """
    from imagebuild.cluster import abilities, security, worker

    address = security.parse_address(wish.head)
    if wish.listen is not None:
        security.check_listen(address, wish.listen)
    shown = security.identity(address, wish.keys, "worker")
    cores = wish.cores or os.cpu_count() or 1
    has = wish.memory or available_memory() // MIB - RESERVED
    if has < 1:
        raise UsageError(f"a worker with {has} MiB of memory is of no use", hint="--memory MIB")
    say(f"measuring what {platform.node()} can do")
    told = abilities.measure(wish.name or platform.node(), cores, has, wish.store)
    worker.wait_for_head(address, shown, say)
    order = worker.WorkerOrder(
        head=address, shown=shown, store=wish.store, abilities=told, listen=wish.listen
    )
    if worker.serve(order, say):
        say("the head is gone: beginning anew")
        worker.begin_anew()


def cluster_status(order: ClusterOrder) -> "ClusterStatus":
    """Return what a cluster does now. Raises UsageError, BuildError."""
    from imagebuild.cluster.status import status_of

    with _connected(order) as link:
        return status_of(link)


@contextlib.contextmanager
def as_its_workers(order: ClusterOrder | None, store: Path, remote: str | None) -> Iterator[None]:
    """Let what is asked of this machine for keys be answered for the workers of a cluster; for this machine
    without one. Raises UsageError, BuildError when no worker can be used.
    """
    if order is None:
        yield
        return
    from imagebuild.cluster.status import model_of

    with _connected(order) as link:
        machine = model_of(link, open_store(store, remote)).machine
    with elsewhere.standing_for(machine):
        yield


def places_of(order: ClusterOrder, steps: Iterable[Step[Any]], store: Store) -> dict[str, str]:
    """Return for each step by name where it could run. Raises UsageError, BuildError."""
    from imagebuild.cluster import status

    with _connected(order) as link:
        return status.places_of(link, steps, store)


@contextlib.contextmanager
def _connected(order: ClusterOrder) -> Iterator["Connection"]:
    from imagebuild.cluster import connection, security

    address = security.parse_address(order.address)
    shown = security.identity(address, order.keys, "client")
    with connection.connected(address, shown) as link:
        yield link
