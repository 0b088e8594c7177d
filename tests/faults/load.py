"""Load: many small builds in one process, and a store with many artifacts."""

import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from imagebuild.engine.directory import DirectoryStore
from imagebuild.session.build import Order, Quiet, prepare
from imagebuild.session.releases import Wish
from tests.data import ROOT
from tests.faults.bench import Bench
from tests.faults.tally import Tally

PAGE = os.sysconf("SC_PAGE_SIZE")
# the first builds fill caches: of sources, of type adapters, of libostree
WARM = 5
# bytes that each build may add to the memory, on average, before it is a leak: malloc does not give all back
GROWTH = 512 << 10


def measures() -> dict[str, int]:
    """Return what this process holds: bytes of memory, descriptors, threads, children."""
    return {
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def build_many(bench: Bench, place: Path, count: int) -> list[dict[str, int]]:
    """Build the same commit that often in this process, each time into a new store; return what is held after
    each, with the bytes of its store.
    """
    found = []
    for number in range(count):
        machine = bench.machine(place / f"load-{number}")
        order = Order(config=machine.config, store=machine.store, output=machine.output, populate="native")
        build = prepare(order)
        result = build.run(Quiet(), jobs=2)
        assert not result.failed, result.failed
        assert build.release(result, Wish(output=machine.output)).new
        gc.collect()
        size = subprocess.run(["du", "-sk", machine.store], capture_output=True, text=True, check=True).stdout
        found.append({**measures(), "store": int(size.split()[0]) << 10})
        subprocess.run(["rm", "-rf", machine.place], check=True)
    return found


def judge(found: list[dict[str, int]]) -> list[str]:
    """Return what has grown from the first builds to the last."""
    first, last = found[min(WARM, len(found) - 2)], found[-1]
    wrong = [
        f"{name} went from {first[name]} to {last[name]}"
        for name in ("descriptors", "threads")
        if last[name] > first[name]
    ]
    allowed = GROWTH * (len(found) - WARM)
    if last["memory"] - first["memory"] > max(allowed, 0):
        wrong.append(f"memory went from {first['memory']} to {last['memory']}")
    # blocks of a file system: what is compressed, and logs, differ a little
    if last["store"] > first["store"] * 1.05:
        wrong.append(f"the store went from {first['store']} to {last['store']}")
    return wrong


def one_after_the_other(bench: Bench, place: Path, *, count: int) -> Tally:
    """Build that often in one process of its own, and look at what it holds."""
    tally = Tally("builds one after the other in one process")
    argv: list[str | Path] = [sys.executable, "-m", "tests.faults.load", bench.place, bench.key, place]
    argv.append(str(count))
    (place / "tmp").mkdir(parents=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp")}
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    if ended.returncode != 0:
        tally.count(lost=[], wrong=[ended.stderr[-2000:]], recovered=False)
        return tally
    found = json.loads(ended.stdout.splitlines()[-1])
    wrong = judge(found)
    first, last = found[min(WARM, len(found) - 2)], found[-1]
    tally.figure = "; ".join(f"{name} {first[name]} → {last[name]}" for name in first)
    for _ in found:
        tally.count(lost=[], wrong=wrong, recovered=not wrong)
        wrong = []
    return tally


# --- a store with many artifacts --------------------------------------------------------------------------


def fill(store: Path, count: int) -> None:
    """Give a store that many artifacts of builds long ago, a hundred each, with a file and a log."""
    opened = DirectoryStore(store)
    for number in range(count):
        key = f"{number:032x}"
        place = opened.root / "artifacts" / "write_text.many" / key
        (place / "out").mkdir(parents=True)
        (place / "out" / "text").write_text("text")
        (place / "log").write_text("")
        data = {
            "kind": "write_text.many", "key": key, "components": {}, "value": {}, "files": {"out/text": 4},
            "seconds": 1.0,
        }  # fmt: skip
        (place / "artifact.json").write_text(json.dumps(data))
    for begin in range(0, count, 100):
        used = {f"step {n}": ["write_text.many", f"{n:032x}"] for n in range(begin, min(begin + 100, count))}
        name = f"20200101T{begin // 3600 % 24:02d}{begin // 60 % 60:02d}{begin % 60:02d}.{begin:09d}"
        (opened.root / "builds" / f"{name}.json").write_text(json.dumps(used))


def seconds_of_gc(place: Path, count: int) -> float:
    """Return the CPU seconds that a collection takes of a store with that many artifacts, none in use."""
    fill(place, count)
    begun = time.process_time()
    DirectoryStore(place).collect(0)
    spent = time.process_time() - begun
    assert not list((place / "artifacts").glob("*/*")), "something was not collected"
    return spent


def many_artifacts(bench: Bench, place: Path, *, count: int) -> Tally:
    """Plan a build with nothing to do in a store with that many artifacts, and collect stores of that size
    and of a fourth of it, in one run.
    """
    tally = Tally(f"a store of {count:,} artifacts: nothing to do, gc")
    machine = bench.machine(place / "machine")
    machine.must(*machine.all())
    fill(machine.store, count)
    begun = time.monotonic()
    said = machine.must(*machine.all("--plan"))
    planned = time.monotonic() - begun
    wrong = ["something is to be built"] if "build  " in said else []
    small, large = seconds_of_gc(place / "small", count // 4), seconds_of_gc(place / "large", count)
    ratio = large / small
    if ratio > 2 * 4:
        wrong.append(f"gc of four times as many artifacts takes {ratio:.1f} times as long")
    tally.figure = f"--plan {planned:.1f} s; gc of 4 times as many: {ratio:.1f} times as long"
    tally.count(lost=[], wrong=wrong, recovered=not wrong)
    return tally


if __name__ == "__main__":
    from tests.faults.small import arrange

    arrange()
    repository, key, where, number = sys.argv[1:]
    rows = build_many(Bench(place=Path(repository), key=Path(key)), Path(where), int(number))
    print(json.dumps(rows))
