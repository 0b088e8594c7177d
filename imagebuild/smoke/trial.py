"""What a trial is made of: the subject that is tested, the bench it is tested on, what was promised of it,
and the scope of this run.

The records travel to the test process as JSON. What is found is kept under a key of the first three: every
field counts, but for those whose type says that they are `Outside`. The scope is never part of a key.
"""

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import TypeAdapter

from imagebuild.kinds import Controller, Firmware, Login
from imagebuild.model import Waiver
from imagebuild.smoke.access import NOTHING_MORE, Access
from imagebuild.smoke.served import ServedRelease
from imagebuild.tools import command
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu.registry import FIRMWARES

T = TypeVar("T")
_OUTSIDE = "does not change what is found"
# the type of a field that is left out of keys: where something lies, how fast it runs
Outside = Annotated[T, _OUTSIDE]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The disk that a user's hypervisor would boot. `size` is what it is made to be there, when that is not
    its own, and `grow` by how much the test makes it larger, both in bytes.

    `digest` (cells.disk_digest) is what stands for its content in keys. `source` is the file that lasts, of
    which the disk was unpacked: what is kept between runs goes with it.
    """

    artifact: str
    disk: Outside[Path]
    format: str
    controller: Controller
    size: int | None = None
    grow: int = 0
    digest: str = ""
    source: Outside[Path | None] = None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The machine that guests are given; `memory` in bytes, `cpu` is QEMU's model when one was configured."""

    firmware: Firmware
    accelerator: Outside[Accelerator]
    cores: Outside[int]
    memory: int
    cpu: str | None = None

    def suited(self, level: int) -> "Bench":
        """Return it with the processor that a tree built for an x86-64 level needs. Raises BuildError."""
        return replace(self, accelerator=self.accelerator.suited(level, self.cpu))


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a release line promises of each of its releases.

    `allowed_messages` are patterns of journal and console that are known; `why_no_previous` says why there is
    no release before, which is known to be so for a `first_release` only; `why_no_line` says so of the
    release line before. `older_releases` are those from which hosts come, too.
    """

    login: Login
    user: str
    storage: str
    remote: str
    update_url: str
    update_verify: bool = True
    access: Access = NOTHING_MORE
    allowed_failed_units: tuple[str, ...] = ()
    allowed_messages: tuple[str, ...] = ()
    why_no_previous: str | None = None
    first_release: bool = False
    why_no_line: str | None = None
    # by the names of their cells
    older_releases: tuple[str, ...] = ()
    # they are looked at when the criteria have run
    waivers: Outside[tuple[Waiver, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class Previous:
    """A release before this one. `name` tells the cell of an older one apart, `ref` is that of another
    release line (empty: the same), `delta` the digest of the static delta from there (empty: none).
    """

    commit: str
    version: str
    name: str = ""
    ref: str = ""
    delta: str = ""

    @property
    def served(self) -> ServedRelease:
        """It, as the test's server has it."""
        return ServedRelease(commit=self.commit, version=self.version, ref=self.ref)


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What was released: the commit and its version, the `ref` that hosts follow, and the line's terms.

    `atomic`: the tree has that command; `commit_given`: somebody said which commit the image should have.
    Besides the release before there are `older` ones, and the last of the release line before.
    """

    terms: Terms
    commit: str
    version: str
    ref: str
    host_kind: str
    atomic: bool = False
    previous: Previous | None = None
    commit_given: bool = True
    older: tuple[Previous, ...] = ()
    line: Previous | None = None

    @property
    def refspec(self) -> str:
        """Where upgrades come from, as an OSTree origin has it."""
        return f"{self.terms.remote}:{self.ref}"


@dataclass(frozen=True, kw_only=True)
class Known:
    """The same disk was tested before: only what is about booting it here is to be tested.

    `other_firmware`: that was under another firmware, so what was deployed on it is booted again, too.
    """

    other_firmware: bool = False


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is asked in this run: `criteria` by name (none: all), up to `tries` times.

    `machine_ids` are those of other hosts made from the same image; without them another one is booted.
    `repo` has the commit (None: no release can be made from it); `cells` is where finished cells are kept
    between runs, and `saved` settled first boots (None: nowhere); `restore`: one of those may be used.
    `cells_remote` is the address of the remote store in which cells are shared (None: in none).
    `deltas` are directories of static deltas to the commit. `terminal` is the device at which a person sits
    who looks at the guest when a criterion has failed (None: nobody does).
    """

    criteria: tuple[str, ...] = ()
    known: Known | None = None
    machine_ids: tuple[str, ...] = ()
    tries: int = 1
    repo: Path | None = None
    cells: Path | None = None
    saved: Path | None = None
    restore: bool = True
    terminal: Path | None = None
    deltas: tuple[Path, ...] = ()
    cells_remote: str | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """On what is tested, and how much: what a pipeline knows of that beforehand."""

    bench: Bench
    scope: Scope = Scope()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The four records, and the directory that takes what is seen."""

    subject: Subject
    bench: Bench
    promise: Promise
    scope: Scope
    evidence: Path

    @property
    def key(self) -> str:
        """What the findings of this trial depend on, criteria and program aside."""
        parts = [keyed(self.subject), keyed(self.promise), bench_facts(self.bench)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def keyed(record: Any) -> dict[str, Any]:
    """Return the fields of a record that belong into a key, in JSON's types: those that are not `Outside`."""
    hints = get_type_hints(type(record), include_extras=True)
    data: dict[str, Any] = TypeAdapter(type(record)).dump_python(record, mode="json")
    inside: dict[str, Any] = {}
    for field in fields(record):
        if _OUTSIDE in getattr(hints[field.name], "__metadata__", ()):
            continue
        value = getattr(record, field.name)
        inside[field.name] = keyed(value) if is_dataclass(value) else data[field.name]
    return inside


def guest_tools(accelerator: Accelerator, firmware: Firmware) -> dict[str, str]:
    """Return the versions of what runs a guest. How fast it runs does not change what it is found to be."""
    return {
        "qemu": command.version(accelerator.program),
        "accelerator": accelerator.name,
        "ovmf": FIRMWARES[firmware].digest(accelerator.arch),
    }


def bench_facts(bench: Bench) -> dict[str, str]:
    """Return what a key has of a bench."""
    return {
        "bench": json.dumps(keyed(bench), sort_keys=True),
        "processor": bench.accelerator.model,
        **guest_tools(bench.accelerator, bench.firmware),
    }


def write_trial(file: Path, trial: Trial) -> None:
    """Write a trial as JSON."""
    file.write_bytes(TypeAdapter(Trial).dump_json(trial, indent=1) + b"\n")


def read_trial(file: Path) -> Trial:
    """Read the trial that `write_trial` wrote."""
    return TypeAdapter(Trial).validate_json(file.read_bytes())
