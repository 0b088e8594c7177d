"""Try every fault in its whole amount, and write the table of docs/reliability.md: `make faults`.

    python -m tests.faults [--seed N] [--only NAME]… [--reduced] [--bench DIR]

As root, on Linux: loop devices, private mount namespaces, tmpfs. What was tried is kept experiment by
experiment: an interrupted night loses the one that ran.
"""

import argparse
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults import table
from tests.faults.bench import bench_in
from tests.faults.experiments import EXPERIMENTS
from tests.faults.tally import BEGUN, Tally

# sched.h
CLONE_NEWNS = 0x00020000


def main() -> int:
    """Run experiments; return 1 when anything was lost or wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", action="append", choices=list(EXPERIMENTS))
    parser.add_argument("--reduced", action="store_true", help="the amount of CI; the table stays as it is")
    parser.add_argument("--bench", type=Path, help="directory of repository and keys, made if need be")
    parser.add_argument("--table", action="store_true", help="only write the table")
    told = parser.parse_args()
    if told.table:
        table.write(EXPERIMENTS)
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bad = 0
    for name in told.only or list(EXPERIMENTS):
        tally = try_one(name, told.seed, told.bench, reduced=told.reduced)
        bad |= bool(tally.lost or tally.wrong or not tally.tried)
        for said in tally.why:
            print(f"{name}, seed {told.seed}: {said}", flush=True)
        if not told.reduced:
            table.keep(name, table.row_of(tally, told.seed))
            table.write(EXPERIMENTS)
    return bad


def try_one(name: str, seed: int, bench: Path | None, *, reduced: bool) -> Tally:
    """Run an experiment, in a directory of its own."""
    experiment = EXPERIMENTS[name]
    amount = experiment.reduced if reduced else experiment.whole
    if amount is None:
        sys.exit(f"{name} has no reduced amount")
    # short, so that sockets lie there, too
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="f") as found:
        made = bench_in(bench or Path(found) / "bench")
        try:
            return experiment.run(made, Path(found) / "work", seed, amount)
        except KeyboardInterrupt:
            tally = BEGUN[-1]
            tally.figure = f"interrupted after {tally.tried} tries"
            return tally


def have_private_mounts() -> None:
    """Let what is mounted here be seen, and left, nowhere else."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        sys.exit(f"no mount namespace: {os.strerror(ctypes.get_errno())}: run this as root")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


if __name__ == "__main__":
    have_private_mounts()
    sys.exit(main())
