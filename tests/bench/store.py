"""What a remote store costs: python -m tests.bench.store [DISK …].

For each file (without any: 400 MB that do not compress, and a disk of 6 GiB with 400 MB in it that does) an
artifact is sent to a directory and fetched from there by another machine. CPU seconds of each, and of cp(1)
and sha256sum(1) on the same file: a fetch may cost three times those.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.engine.remotes import machine

MOST = 3.0
SIZE = 400_000_000
PIECE = 1 << 20


def cpu_seconds(action: Callable[[], object]) -> float:
    """Return what this process and its children have used."""
    before = os.times()
    action()
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


def make_samples(place: Path) -> list[Path]:
    noise, disk = place / "noise", place / "disk"
    chance = random.Random(7)
    with noise.open("wb") as stream:
        for _ in range(SIZE // PIECE):
            stream.write(chance.randbytes(PIECE))
    words = [bytes(chance.choices(b"etaoin shrdlu\n", k=64)) for _ in range(5000)]
    with disk.open("wb") as stream:
        stream.truncate(6 << 30)
        for number in range(SIZE // PIECE):
            stream.seek(number * 15 * PIECE)
            stream.write(b"".join(chance.choices(words, k=PIECE // 64)))
    return [noise, disk]


def plain(file: Path, place: Path) -> None:
    target = place / "copied"
    subprocess.run(["cp", file, target], check=True)
    # of what is in it: nobody would read a disk's holes
    with (place / "sum").open("wb") as said:
        subprocess.run(["sha256sum", dense(target, place)], check=True, stdout=said)


def dense(file: Path, place: Path) -> Path:
    """Return a file with what is in another one, without its holes."""
    made = place / "dense"
    if not made.exists():
        with file.open("rb") as source, made.open("wb") as target:
            while piece := source.read(PIECE):
                if piece.strip(b"\0"):
                    target.write(piece)
    return made


def measure(file: Path, place: Path) -> bool:
    (place / "share").mkdir()
    dense(file, place)
    one, two = (machine(place / name, f"file://{place}/share") for name in ("one", "two"))
    with one.lock("kind", "key"):
        scratch = one.scratch("kind", "key")
        subprocess.run(["cp", "--sparse=always", file, scratch.out / "disk"], check=True)
        alone = one.directory.finish(scratch, "kind", "key", value=None, components={}, seconds=0.0)
        sent = cpu_seconds(lambda: one._send("kind", "key", alone))
    fetched = cpu_seconds(lambda: two.need("kind", "key"))
    needed = cpu_seconds(lambda: plain(file, place))
    (pack,) = (each for each in (place / "share" / "blobs").rglob("*/*") if each.stat().st_size > PIECE)
    found = two.root / "artifacts" / "kind" / "key" / "out" / "disk"
    size, now = (each.stat().st_blocks * 512 / 1e6 for each in (file, found))
    print(
        f"{file.name}: {size:.0f} MB, sent as {pack.stat().st_size / 1e6:.0f} MB in"
        f" {sent:.2f} CPU s, fetched in {fetched:.2f}, {now:.0f} MB then;"
        f" cp and sha256sum {needed:.2f}: {fetched / needed:.2f} times that"
    )
    return fetched <= MOST * needed


def main() -> int:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        place = Path(name)
        files = [Path(argument) for argument in sys.argv[1:]] or make_samples(place)
        good = []
        for number, file in enumerate(files):
            work = place / f"work-{number}"
            work.mkdir()
            good.append(measure(file, work))
            shutil.rmtree(work)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
