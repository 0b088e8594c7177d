"""What is disturbed: a command, the machine that it begins on, and what tells that two ended alike."""

import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild.tools.ostree.repository import Repo
from tests.faults.bench import REAL, Bench, Machine
from tests.same_releases import artifacts_of, compare_releases
from tests.tools.ostree.commits import REF

# of releases: two nightlies, then a release; prune and gc have something to do then
KEEP = "  keep: {nightlies: 1, builds: 1, commits: 1}\n"
NIGHTLY_DAYS = ("20261126", "20261127")


@dataclass(frozen=True, kw_only=True)
class Work:
    """A command: `begin` makes the machine it runs on, `argv` are its arguments, `result` is what it makes,
    by name; `same` compares more of two machines; without `half` its directories are not looked through for
    what is not finished; `removes`: artifacts may go.
    """

    name: str
    begin: Callable[[Path], Machine]
    argv: Callable[[Machine], list[str]]
    result: Callable[[Machine], dict[str, str]]
    same: Callable[[Machine, Machine], None] = lambda one, other: None  # noqa: ARG005
    half: bool = True
    removes: bool = False


def build(bench: Bench) -> Work:
    """`all`, from nothing to the release."""

    def same(one: Machine, other: Machine) -> None:
        compare_releases(one.output, other.output, count=1)

    return Work(
        name="all",
        begin=bench.machine,
        argv=lambda machine: machine.all(),
        result=lambda machine: artifacts_of(machine.store),
        same=same,
    )


def history(bench: Bench, place: Path, nightlies: int = len(NIGHTLY_DAYS)) -> Machine:
    """Return a machine that has made nightlies and a release, each of a commit of its own, and a failed and a
    killed build's remains.
    """
    machine = bench.machine(place, more=KEEP)
    nightly = [word for word in machine.all() if word not in ("--respin", "0")]
    for day in NIGHTLY_DAYS[:nightlies]:
        machine.must(*(day if word.isdecimal() else word for word in nightly), "--nightly")
        bench.commit(f"1.{day}")
    machine.must(*machine.all())
    for name in ("scratch/disk.install_disk-killed", "failed/disk.install_disk-failed"):
        (machine.store / name / "out").mkdir(parents=True)
        (machine.store / name / "out" / "half").write_bytes(b"half" * 10000)
    return machine


def copy_of(machine: Machine, place: Path) -> Machine:
    """Return a copy of a machine elsewhere, holes and hard links as they are."""
    place.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", "--sparse=always", machine.place, place], check=True)
    text = machine.config.read_text().replace(str(machine.place), str(place))
    (place / machine.config.name).write_text(text)
    return replace(machine, place=place, config=place / machine.config.name)


def tree_of(place: Path, *, but: Iterable[str] = ()) -> dict[str, str]:
    """Return the files below a place and their sizes; of those named only that they are there."""
    return {
        str(file.relative_to(place)): "there" if file.name in but else str(file.stat().st_size)
        for file in sorted(place.rglob("*"))
        if file.is_file() and not {"tmp", ".lock"} & set(file.relative_to(place).parts)
    }


def published(machine: Machine) -> dict[str, str]:
    """Return what has gone out: the mirror, and the stable repository's refs and objects."""
    repo = Repo(machine.place / "stable")
    signed = {"summary.sig", "summary", "index.html", "releases.atom", "latest.json"}
    found = tree_of(machine.place / "mirror", but=signed) if (machine.place / "mirror").is_dir() else {}
    if (repo.path / "config").exists():
        found |= {f"stable {ref}": commit for ref, commit in repo.refs().items()}
        found |= {
            f"stable/{name}": size for name, size in tree_of(repo.path, but={*signed, "config"}).items()
        }
    return found


def stored(machine: Machine) -> dict[str, str]:
    """Return what store, its repository and the directory of releases hold."""
    repo = Repo(machine.store / "repo")
    found = {f"ref {ref}": commit for ref, commit in repo.refs().items()}
    found |= {f"repo/{name}": size for name, size in tree_of(repo.path / "objects").items()}
    found |= artifacts_of(machine.store)
    found |= {f"failed {each.name}": "" for each in (machine.store / "failed").iterdir()}
    return found | {f"release {file.parent.name}": "" for file in machine.output.glob("*/COMPOSE_ID")}


def commands(begun: Machine) -> list[Work]:
    """Return what is done with releases and a store, on copies of a machine with a history: promote, prune,
    gc, verify, by the real program.
    """
    real = begun.with_program(REAL)
    release = "Small-1-20261128.0"

    def begin(place: Path) -> Machine:
        return copy_of(real, place)

    def verifying(machine: Machine) -> list[str]:
        return ["verify", str(machine.output / release), "--key", str(machine.bench.key), "--no-images"]

    def of(machine: Machine, *words: str) -> list[str]:
        return [*words, "--config", str(machine.config), "--store", str(machine.store)]

    return [
        Work(
            name="promote",
            begin=begin,
            argv=lambda machine: of(machine, "promote", str(machine.output / release)),
            result=published,
            half=False,
        ),
        Work(
            name="prune",
            begin=begin,
            argv=lambda machine: [
                *of(machine, "prune", "--yes"),
                "--output",
                str(machine.output),
                "--ref",
                REF,
            ],
            result=stored,
            removes=True,
        ),
        Work(
            name="gc",
            begin=begin,
            argv=lambda machine: ["gc", "--store", str(machine.store), "--keep", "1"],
            result=stored,
            removes=True,
        ),
        Work(name="verify", begin=begin, argv=verifying, result=stored, half=False),
    ]


def moved(machine: Machine, place: Path) -> Machine:
    """Put a machine aside."""
    machine.place.rename(place)
    return replace(machine, place=place, config=place / machine.config.name)


def forget(machine: Machine) -> None:
    """Remove a machine."""
    shutil.rmtree(machine.place)
