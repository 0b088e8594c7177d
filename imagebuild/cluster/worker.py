"""A worker's process: dask's own worker with threads, which runs imagebuild's steps and ends their programs.

When it has lost its head it ends what runs, and begins anew as a new process: dask has no way to join again.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuild.cluster import settings
from imagebuild.cluster.abilities import Abilities
from imagebuild.cluster.security import PLAIN, Address, Identity, check_head
from imagebuild.engine.store import Store
from imagebuild.errors import BuildError
from imagebuild.tools import command, temporary

# threads for each core: most wait for a program, and how many steps run is decided by cores and memory
THREADS = 8
RETRY_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class WorkerOrder:
    """How a worker is wanted: which head it joins, with which certificates, where its store is, and on which
    address of this machine others reach it (None: dask finds one).
    """

    head: Address
    shown: Identity | None
    store: Store
    abilities: Abilities
    listen: str | None = None


def wait_for_head(head: Address, shown: Identity | None, say: Callable[[str], None]) -> None:
    """Wait until a head can be reached. Raises BuildError when it refuses us: that does not pass."""
    told = False
    while True:
        try:
            return check_head(head, shown)
        except BuildError as error:
            if "no head can be reached" not in error.message:
                raise
            if not told:
                say(f"{error.message}; trying again until there is one")
            told = True
        time.sleep(RETRY_SECONDS)


def serve(order: WorkerOrder, say: Callable[[str], None]) -> bool:
    """Work for a head until it is gone, or this process is told to end; return whether the head is gone.

    All programs of all steps have ended then. Raises BuildError, MissingToolError.
    """
    settings.set_up()
    with temporary.directory("worker") as place:
        gone = asyncio.run(_serve(order, place, say))
    command.end_all()
    return gone


async def _serve(order: WorkerOrder, place: Path, say: Callable[[str], None]) -> bool:
    from distributed import Worker

    from imagebuild.cluster.preload import fit_out

    told = order.abilities
    worker = Worker(
        str(order.head),
        nthreads=THREADS * told.cores,
        name=told.name,
        memory_limit=0,
        local_directory=str(place),
        security=settings.security(order.shown),
        # without an address dask listens on all of them, and whoever connects may run any program
        host=order.listen or (order.head.host if order.head.scheme == PLAIN else None),
        dashboard=False,
        # it has a web server all the same
        dashboard_address="127.0.0.1:0",
        # it is a process of its own, which nobody else watches
        nanny=None,
    )
    await fit_out(worker, order.store, told)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with _joined(worker, told.name):
        say(f"{told.name} works for {order.head} ({told.fingerprint}): {', '.join(told.can)}")
        waits = [asyncio.create_task(worker.finished()), asyncio.create_task(ended.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if ended.is_set():
            say("ending what runs")
        # beside this loop: a program that cleans up has its time
        await asyncio.to_thread(command.end_all)
        with contextlib.suppress(Exception):
            await worker.close(timeout=5, executor_wait=False, reason="told to end")
        for wait in waits:
            wait.cancel()
    return not ended.is_set()


@contextlib.asynccontextmanager
async def _joined(worker: Any, name: str) -> AsyncIterator[None]:
    """Let a worker join, until the block ends. Raises BuildError when the head does not take it."""
    try:
        await worker
    except RuntimeError as error:  # distributed/core.py, Server.start
        raise BuildError(
            f"the head did not take this worker: {error.__cause__ or error}",
            hint=f"is another one called {name}, or was heard of a minute ago? --name gives it another name",
        ) from error
    async with worker:
        yield


def begin_anew() -> None:
    """Become a new process with the same arguments: what a lost head left behind is in none of it."""
    temporary.clear()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # the arguments that this was started with
