"""A store of many machines: a directory of this one, and a remote that all have in common.

What is finished here is sent there; what is finished there is found here, and fetched when a step reads it.
Locks are this machine's: of two machines that build the same the first writer wins, and the other compares.

    unsent/KIND-KEY      in the directory: finished here, and not sent yet (the remote was down)
    differences/…        in the directory: what this machine has made otherwise than the first writer
"""

import contextlib
import json
import os
import platform
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from imagebuild import files, steplog
from imagebuild.engine import fetching
from imagebuild.engine.builds import INTERRUPTED, Diary, Remembered
from imagebuild.engine.carrying import Carriers
from imagebuild.engine.directory import DirectoryStore, seal
from imagebuild.engine.publishing import Sent, publish
from imagebuild.engine.remote import BUILDS, Remote
from imagebuild.engine.results import DIRECTORY, Result, beside, pair_of, parse, result_name
from imagebuild.engine.store import Json, Scratch, StoredArtifact, remove
from imagebuild.errors import BuildError

# seconds for which a listing of the remote says what is not there: planning asks for every step several times
LISTED_SECONDS = 10.0
# requests on their way at the same time
PARALLEL = 16
NO_CARRIERS: Carriers = {}


class SharedStore:
    """A directory and a remote. `carriers` bring what artifacts of a kind have outside their directories;
    `varying` are kinds whose bytes are not expected to be the same twice (evidence of guests).

    Raises BuildError where the remote does not work.
    """

    def __init__(
        self,
        directory: DirectoryStore,
        remote: Remote,
        carriers: Carriers = NO_CARRIERS,
        varying: Collection[str] = (),
    ) -> None:
        self.directory, self.remote = directory, remote
        self.root, self.remark = directory.root, directory.remark
        self._carriers, self._varying = carriers, frozenset(varying)
        self._results: dict[tuple[str, str], Result] = {}
        self._listed: frozenset[tuple[str, str]] = frozenset()
        self._listed_at: float | None = None
        for name in ("unsent", "differences"):
            (self.root / name).mkdir(exist_ok=True)

    def __reduce__(self) -> tuple[object, ...]:
        return (SharedStore, (self.directory, self.remote, self._carriers, self._varying))

    # --- finding and fetching -------------------------------------------------------------------------------

    def find(self, kind: str, key: str) -> StoredArtifact | None:
        """Return the finished artifact of that key, here or in the remote, or None."""
        here = self.directory.find(kind, key)
        if here is not None and self._carried(kind, here):
            return here
        result = self._result(kind, key)
        return result.at(self.root / "artifacts" / kind / key) if result is not None else None

    def expect(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Read what the remote says of these artifacts, several at a time: it is waiting, mostly."""
        self._list()
        todo = sorted(pair for pair in self._listed.intersection(pairs) if pair not in self._results)
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(lambda pair: self.find(*pair), todo))

    def _result(self, kind: str, key: str, *, asked: bool = False) -> Result | None:
        """Return what the remote says of an artifact; a result never changes once it is there. `asked`: what
        a listing does not have may be there by now.
        """
        pair = kind, key
        if pair not in self._results:
            if not asked and self._listed_lately() and pair not in self._listed:
                return None
            data = self.remote.read(result_name(kind, key))
            if data is None:
                return None
            self._results[pair] = parse(data, kind, key, self.remote.url)
        return self._results[pair]

    def _listed_lately(self) -> bool:
        self._list()
        return self._listed_at is not None and time.monotonic() - self._listed_at < LISTED_SECONDS

    def _list(self) -> None:
        """List the remote, once: a plan of many steps asks one by one for what nobody has."""
        if self._listed_at is None:
            names = self.remote.listing(DIRECTORY)
            self._listed = frozenset(pair for name in names if (pair := pair_of(name)) is not None)
            self._listed_at = time.monotonic()

    def need(self, kind: str, key: str) -> StoredArtifact:
        """Return the finished artifact of that key, fetched unless it is here, with those that it is of no
        use without. What was finished here and not sent is sent first: another machine may have been before
        us. Raises BuildError when nobody has it, or what the remote has is damaged.
        """
        if self._mark(kind, key).exists():
            with self.lock(kind, key):
                pass
        record = self.directory.find(kind, key)
        if record is None or not self._carried(kind, record):
            with self.directory.lock(kind, key):
                record = self._fetch(kind, key)
        for other in beside(record.value):
            self.need(*other)
        return record

    def _carried(self, kind: str, record: StoredArtifact) -> bool:
        carrier = self._carriers.get(kind)
        return carrier is None or carrier.there(self.root, record)

    def _fetch(self, kind: str, key: str) -> StoredArtifact:
        """Fetch what is not here. Hold the lock."""
        record = self.directory.find(kind, key)
        if record is not None and self._carried(kind, record):
            return record
        result = self._result(kind, key, asked=True)
        if result is None:
            raise BuildError(
                f"the artifact {kind}-{key} is neither in {self.root} nor in {self.remote.url}",
                hint="it was removed since the build began (imagebuild gc --store-remote): the same command"
                " builds it again",
            )
        return self._install(result)

    def _install(self, result: Result) -> StoredArtifact:
        """Fetch a result, and rename it into place. Hold the lock."""
        kind, key = result.kind, result.key
        scratch, target = self.directory.scratch(kind, key), self.root / "artifacts" / kind / key
        try:
            fetching.fetch(self.remote, result, scratch)
            self._receive(result, result.at(target), scratch.directory / fetching.UNPACKED)
            seal(scratch, kind, key, result.at(target), result.files)
            return self.directory.settle(scratch, kind, key, result.at(target))
        except BaseException:
            remove(scratch.directory)
            raise

    def _receive(self, result: Result, record: StoredArtifact, place: Path) -> None:
        carrier = self._carriers.get(result.kind)
        if carrier is None or carrier.there(self.root, record):
            return
        for pack in result.carried:
            fetching.receive(self.remote, result, pack, place, carrier.expects)
            carrier.receive(self.root, record, place)
        remove(place)

    # --- building and sending -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Hold the key's lock on this machine. What was finished here, and could not be sent, is sent now:
        raises BuildError when it still cannot be.
        """
        with self.directory.lock(kind, key):
            if self._mark(kind, key).exists():
                self._send_again(kind, key)
            yield

    def at_work(self) -> bool:
        """Whether any builder of this machine holds a lock now."""
        return self.directory.at_work()

    def busy(self, kind: str, key: str) -> bool:
        """Whether another builder of this machine has the key's lock now."""
        return self.directory.busy(kind, key)

    def scratch(self, kind: str, key: str) -> Scratch:
        """Return a new scratch directory. Hold the lock."""
        return self.directory.scratch(kind, key)

    def finish(
        self,
        scratch: Scratch,
        kind: str,
        key: str,
        *,
        value: Json,
        components: Mapping[str, str],
        seconds: float,
    ) -> StoredArtifact:
        """Make a scratch directory a finished artifact, here and in the remote. Hold the lock.

        Where another machine was first its artifact is used from now on; `remark` says what was different.
        Raises BuildError when it could not be sent: it is finished here, and sent later.
        """
        self._mark(kind, key).touch()
        record = self.directory.finish(
            scratch, kind, key, value=value, components=components, seconds=seconds
        )
        return self._send(kind, key, record)

    def _mark(self, kind: str, key: str) -> Path:
        return self.root / "unsent" / f"{kind}-{key}"

    def _send(self, kind: str, key: str, record: StoredArtifact) -> StoredArtifact:
        carrier = self._carriers.get(kind)
        carried = carrier.sources(self.root, record) if carrier is not None else {}
        # free, since it was renamed, and under the lock that is held
        spool = self.root / "scratch" / f"{kind}-{key}"
        # the step is over, and its log is not
        with steplog.writing_to(record.log):
            try:
                sent = publish(self.remote, record, kind, key, carried, spool)
                settled = record if sent.ours else self._give_way(sent, record)
            except BuildError as error:
                steplog.note(f"not sent: {error.message}")
                error.hint = f"{record.directory} is finished, and is sent when it can be; {error.hint}"
                raise
            finally:
                remove(spool)
        self._results[kind, key] = sent.result
        self._mark(kind, key).unlink(missing_ok=True)
        return settled

    def _give_way(self, sent: Sent, record: StoredArtifact) -> StoredArtifact:
        """Use what another machine has made before: replace ours by it if it is different."""
        result = sent.result
        where = f"{result.kind}-{result.key} was made before, on {result.maker or 'another machine'}"
        if sent.difference is None:
            steplog.note(f"{where}: the same, byte by byte")
            return record
        installed = self._install(result)
        if result.kind in self._varying:
            steplog.note(f"{where}: that one is used")
            return installed
        remark = f"{where}, and differs from what was made here: {sent.difference} (that one is used)"
        steplog.note(f"warning: {remark}")
        told = {"remark": remark, "here": dict(record.components), "there": dict(result.components)}
        name = f"{result.kind}-{result.key}.json"
        files.replace(self.root / "differences" / name, json.dumps(told, indent=1) + "\n")
        return replace(installed, remark=remark)

    def _send_again(self, kind: str, key: str) -> None:
        """Send what was finished here before. Hold the lock."""
        record = self.directory.find(kind, key)
        if record is None or not self._carried(kind, record):
            # not finished, after all; or removed since, or what it is of no use without
            self._mark(kind, key).unlink(missing_ok=True)
            return
        self._send(kind, key, record)

    def fail(self, scratch: Scratch, kind: str, key: str, *, keep_output: bool) -> Path:
        """Set a failed scratch directory aside and return where it lies now."""
        return self.directory.fail(scratch, kind, key, keep_output=keep_output)

    # --- builds ---------------------------------------------------------------------------------------------

    def remember(self, used: Mapping[str, tuple[str, str]]) -> Diary:
        """Begin to write down what one build uses, here and in the remote; then send what is finished here
        and is not there.
        """
        diary = self.directory.remember(used)
        name = f"{BUILDS}{diary.name}-{platform.node()}-{os.getpid()}.json"

        def write_down(used: Mapping[str, tuple[str, str]]) -> None:
            self.remote.write(name, json.dumps(used, indent=1, sort_keys=True).encode())

        def tell(used: Mapping[str, tuple[str, str]]) -> None:
            # what it comes to use was made just now, or is used by others: a build does not end for that
            with contextlib.suppress(BuildError):
                write_down(used)

        try:
            write_down(used)
            self._send_missing(set(used.values()))
        except BaseException:
            diary.close(INTERRUPTED)
            raise
        diary.tell = tell
        return diary

    def _send_missing(self, pairs: set[tuple[str, str]]) -> None:
        """Send what is finished here and not there: it may have been made before there was a remote."""
        self._listed_at = None
        self._list()
        # what is there now is kept for this build: what was found before may have been removed just then
        self._results = {pair: result for pair, result in self._results.items() if pair in self._listed}
        unsent = {pair for pair in pairs if self._mark(*pair).exists()}
        for kind, key in sorted(unsent | (pairs - self._listed - set(self._results))):
            record = self.directory.find(kind, key)
            if record is not None and self._carried(kind, record):
                self._mark(kind, key).touch()
                with self.lock(kind, key):
                    pass

    def builds(self) -> list[Remembered]:
        """Return every remembered build of this machine, oldest first."""
        return self.directory.builds()

    def collect(self, keep: int) -> tuple[int, list[str]]:
        """Remove what none of the newest `keep` builds of this machine used; the remote is `sweep`'s."""
        return self.directory.collect(keep)
