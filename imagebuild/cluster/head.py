"""The head: dask's own scheduler, which knows who is there and carries what clients and workers say to each
other. What runs where is the clients' business.
"""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass

from imagebuild.cluster import settings
from imagebuild.cluster.security import Address, Identity
from imagebuild.errors import BuildError

DASHBOARD_PORT = 8787


@dataclass(frozen=True, kw_only=True)
class HeadOrder:
    """How a head is wanted: where it listens, with which certificates, and the port of dask's dashboard on
    loopback (None: there is none).
    """

    listen: Address
    shown: Identity | None
    dashboard: int | None = DASHBOARD_PORT


def serve(order: HeadOrder, say: Callable[[str], None]) -> None:
    """Be the head until this process is told to end. Raises BuildError when it cannot listen there."""
    settings.set_up()
    if order.dashboard is None:
        settings.serve_no_pages()
    try:
        asyncio.run(_serve(order, say))
    except OSError as error:
        raise BuildError(
            f"no head can listen on {order.listen}: {error.strerror or error}",
            hint="is there one already? another port: --listen tls://0.0.0.0:PORT",
        ) from error


async def _serve(order: HeadOrder, say: Callable[[str], None]) -> None:
    from distributed import Scheduler

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    scheduler = Scheduler(
        host=order.listen.host,
        port=order.listen.port,
        protocol=f"{order.listen.scheme}://",
        security=settings.security(order.shown),
        dashboard=order.dashboard is not None,
        # dask has a web server with or without pages, and listens where the head does unless it is told
        dashboard_address=f"127.0.0.1:{order.dashboard or 0}",
    )
    async with scheduler:
        say(f"head at {scheduler.address}")
        if order.dashboard is not None and "dashboard" in scheduler.services:
            say(f"dask's dashboard: http://127.0.0.1:{scheduler.services['dashboard'].port}/status")
        await asyncio.wait(
            [asyncio.create_task(ended.wait()), asyncio.create_task(scheduler.finished())],
            return_when=asyncio.FIRST_COMPLETED,
        )
