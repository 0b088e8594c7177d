"""The workers of a cluster as one client knows them: who is there, what they hold, and who is not used."""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from imagebuild.cluster.abilities import Abilities, read_abilities
from imagebuild.cluster.choice import Worker, joined, stranger
from imagebuild.cluster.connection import Connection, Seen

Pair = tuple[str, str]


class Roll:
    """Which workers are there; kept up to date by `take`."""

    def __init__(self, connection: Connection, shares: str, say: Callable[[str], None]) -> None:
        self._connection, self._shares, self._say = connection, shares, say
        self._guard = threading.Lock()
        self._workers: dict[str, Worker] = {}
        self._strangers: dict[str, str] = {}
        self._pairs: set[Pair] = set()
        self._sizes: dict[Pair, int] = {}
        self._asked: set[str] = set()

    def workers(self) -> list[Worker]:
        """Return those that can be used."""
        return list(self._workers.values())

    def strangers(self) -> dict[str, str]:
        """Return the names of those that cannot, each with the reason."""
        return dict(self._strangers)

    def ask_for(self, pairs: Iterable[Pair]) -> None:
        """Say which artifacts matter: workers are asked which of them they have."""
        self._pairs |= set(pairs)
        self._asked.clear()

    def take(self, seen: Mapping[str, Seen], own: Collection[str]) -> list[str]:
        """Take in what the head says; return the addresses of workers that are gone. `own` are the keys of
        this client's steps, those that have ended, too.
        """
        gone = [address for address in self._workers if address not in seen]
        for address in gone:
            del self._workers[address]
            self._asked.discard(address)
        for address, one in seen.items():
            if address not in self._workers:
                self._meet(address, read_abilities(one.told))
            if address in self._workers:
                self._workers[address].others = joined(one.processing, own)
        self._ask_what_they_hold()
        return gone

    def _meet(self, address: str, abilities: Abilities | None) -> None:
        name = abilities.name if abilities is not None else address
        reason = (
            stranger(abilities, self._shares)
            if abilities is not None
            else "it states other things of itself than workers of this imagebuild do"
        )
        if reason is None and abilities is not None:
            self._strangers.pop(name, None)
            self._workers[address] = Worker(address=address, abilities=abilities)
        elif self._strangers.get(name) != reason and reason is not None:
            self._strangers[name] = reason
            self._say(f"worker {name} is not used: {reason}")

    def _ask_what_they_hold(self) -> None:
        new = [address for address in self._workers if address not in self._asked]
        if not new or not self._pairs:
            return
        self._asked.update(new)
        for address, held in self._connection.held(new, sorted(self._pairs)).items():
            self._workers[address].holds |= held
            self._sizes |= held

    def note(self, worker: Worker, made: Pair, size: int, reads: Sequence[Pair]) -> None:
        """Write down that a worker has made an artifact, of others that it therefore has, too."""
        self._sizes[made] = size
        worker.holds |= {pair: self._sizes.get(pair, 1) for pair in (made, *reads)}
