"""A head or a worker of a test's cluster as a process: `python -m tests.cluster.run head|worker JSON`. A
worker states what the test wants, where a real one measures its machine.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagebuild.cluster import head, remote_step, worker
from imagebuild.cluster.abilities import (
    Abilities,
    own_version,
    place_of,
    python_version,
    source_of_imagebuild,
)
from imagebuild.cluster.security import identity, parse_address
from tests.cluster.remote import open_store


def say(line: str) -> None:
    print(line, flush=True)


def run_head(order: dict[str, Any]) -> None:
    address = parse_address(order["address"])
    keys = Path(order["keys"]) if order["keys"] else None
    head.serve(
        head.HeadOrder(listen=address, shown=identity(address, keys, "head"), dashboard=order["dashboard"]),
        say,
    )


def run_worker(order: dict[str, Any]) -> None:
    address = parse_address(order["address"])
    keys = Path(order["keys"]) if order["keys"] else None
    store = open_store(Path(order["store"]), Path(order["remote"]) if order["remote"] else None)
    abilities = Abilities(
        name=order["name"],
        version=own_version(),
        source=source_of_imagebuild(),
        python=python_version(),
        cores=order["cores"],
        memory=order["memory"],
        shares=place_of(store),
        can=tuple(order["can"]),
        keys={name: tuple(values) for name, values in order["tools"].items()},
    )
    abilities = replace(abilities, **order["other"])
    if order["full"]:
        remote_step.FULL = 1 << 62
    shown = identity(address, keys, "worker")
    worker.wait_for_head(address, shown, say)
    wanted = worker.WorkerOrder(
        head=address, shown=shown, store=store, abilities=abilities, listen="127.0.0.1"
    )
    if worker.serve(wanted, say):
        say("the head is gone")
        worker.begin_anew()


if __name__ == "__main__":
    {"head": run_head, "worker": run_worker}[sys.argv[1]](json.loads(sys.argv[2]))
