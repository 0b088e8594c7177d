"""The commands of a cluster: head, worker, cluster-keys; and what it does now."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagebuild.cli import options
from imagebuild.cli.showing import console, duration, say

if TYPE_CHECKING:
    from imagebuild.cluster.status import ClusterStatus

# more names of steps that wait are not shown
SHOWN = 10
Listen = Annotated[
    str, typer.Option("--listen", metavar="ADDRESS", help="tls://HOST:PORT, or tcp:// on loopback")
]
Dashboard = Annotated[
    int, typer.Option("--dashboard", min=0, metavar="PORT", help="dask's dashboard on loopback; 0: none")
]


def be_head(
    listen: Listen = "tls://0.0.0.0:8786", keys: options.Keys = None, dashboard: Dashboard = 8787
) -> None:
    """Be the head of a cluster: dask's scheduler, which workers join and clients ask. Ends when it is told to
    (Ctrl-C, SIGTERM).
    """
    from imagebuild.session import clusters

    clusters.be_head(listen, keys, dashboard or None, say)


def be_worker(
    head: Annotated[str, typer.Argument(metavar="ADDRESS", help="the head's: tls://HOST:8786")],
    store: options.Store = options.DEFAULT_STORE,
    store_remote: options.StoreRemote = None,
    keys: options.Keys = None,
    name: Annotated[str | None, typer.Option("--name", help="what it is called; default: the host's")] = None,
    cores: Annotated[
        int | None, typer.Option("--cores", min=1, help="cores that steps may take; default: all")
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option("--memory", min=1, metavar="MIB", help="memory of steps; default: what is available"),
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST", help="its address; default: the way to the head")
    ] = None,
) -> None:
    """Work for a head: run steps of builds on this machine. What it can do is measured first. Joins again
    when the head was away.
    """
    from imagebuild.session import clusters
    from imagebuild.wiring.stores import open_store

    wish = clusters.WorkerWish(
        head=head,
        store=open_store(store, store_remote),
        keys=keys,
        name=name,
        cores=cores,
        memory=memory,
        listen=listen,
    )
    clusters.be_worker(wish, say)


def make_keys(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="where they are written")],
    days: Annotated[int, typer.Option("--days", min=1, help="how long they are valid")] = 365,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="only a certificate of this name, by the authority that is there"),
    ] = None,
) -> None:
    """Make a cluster's authority, and certificates of head, workers and clients. Whoever has any of them may
    run any program on every worker.
    """
    from imagebuild.session import clusters

    for file in clusters.make_keys(directory, days=days, names=tuple(name or ())):
        say(str(file))
    say("each of these certificates is full trust: keep ca.key off the cluster's machines")


def show_cluster(address: str, keys: Path | None, *, as_json: bool) -> None:
    """Print what a cluster does now."""
    from imagebuild.session import clusters

    status = clusters.cluster_status(clusters.ClusterOrder(address=address, keys=keys))
    if as_json:
        sys.stdout.write(json.dumps(asdict(status), indent=1) + "\n")
        return
    _show_workers(status)
    for worker in status.workers:
        for key, seconds in worker.steps:
            say(f"{worker.name}: {key}, for {duration(seconds)}")
    for client in status.clients:
        say(
            f"build on {client.machine} (process {client.pid}): {len(client.running)} steps run,"
            f" {len(client.waiting)} not started yet"
        )
        for name in client.waiting[:SHOWN]:
            say(f"    {name}")
    if status.dashboard is not None:
        say(f"dask's dashboard, on the head's own loopback: http://127.0.0.1:{status.dashboard}/status")


def _show_workers(status: "ClusterStatus") -> None:
    from rich.table import Table

    table = Table(show_edge=False)
    for heading in ("worker", "imagebuild", "fingerprint", "cores", "MiB", "used so far", "can"):
        table.add_column(heading, overflow="fold")
    for worker in status.workers:
        table.add_row(
            worker.name,
            worker.version,
            worker.fingerprint,
            f"{worker.used:.0f} of {worker.cores}",
            f"{worker.used_memory:.0f} of {worker.memory}",
            f"{worker.load:.0%}",
            ", ".join(worker.can),
        )
    console.print(table)
