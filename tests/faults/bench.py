"""A machine with a small ostree repository, signed, of two commits; and imagebuild on it, each run in
directories of its own.
"""

import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild.tools import gpg
from imagebuild.tools.ostree.repository import Repo
from tests.data import ROOT
from tests.tools.ostree.commits import CREATED, FILES, REF, make_commit

SMALL, REAL = ("-m", "tests.faults.small"), ("-m", "imagebuild")
USER = "small <small@example.org>"
DAY, EPOCH = "20261128", "1790000000"
# seconds after which a run hangs, however busy the machine is
PATIENCE = 600.0
# a package database, without which there is no release
STATUS = (
    b"Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-%d\n"
    b"Description: x\n more\n"
)
CONFIG = """product: Small
release: "1"
refs: [{ref}]
tree:
  url: {url}
  gpg_keys: [{key}]
  osname: os
  remote: os
  update_url: https://example.org/repo
  update_gpg_key: /usr/share/key.asc
kickstarts:
  cloud: {{template: debian-12-cloud.ks, syntax: F28}}
images:
  cloud:
    kickstart: cloud
    name: Small
    disk_size: 6 GiB
    firmware: [uefi]
    installed: [uefi]
    formats: {{qcow2: {{}}}}
storage: podman-overlay
smoke: {{user: test}}
publish:
  compose: Small-${{release}}-${{date}}.${{respin}}
  nightly: Small-${{release}}-${{date}}.n.${{respin}}
  variants: {{images: Host}}
  subvariant: Host
  signing: {{user: "{user}", homedir: "{homedir}", generate: true}}
  destination: file://{place}/mirror
  repo: file://{place}/stable
{more}"""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended: its exit code (negative: the signal), and what it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Running:
    """A run, and the file that has what it says."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def end(self, seconds: float = PATIENCE) -> Ended:
        """Wait for its end. Raises subprocess.TimeoutExpired, and kills it, when it does not come."""
        try:
            self.process.wait(seconds)
        finally:
            self.process.kill()
        said = self.log.read_text(errors="replace")
        self.log.unlink()
        return Ended(code=self.process.returncode, said=said)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the repository, its keys and the cache lie, and the program that runs."""

    place: Path
    key: Path
    program: tuple[str, ...] = SMALL

    @property
    def origin(self) -> Repo:
        """The repository that is pulled from."""
        return Repo(self.place / "origin")

    @property
    def homedir(self) -> Path:
        """GnuPG's directory with the key that signs commits and releases."""
        return self.place / "gnupg"

    def commit(self, version: str, text: bytes = b"") -> str:
        """Commit a version, signed."""
        work = self.place / "work"
        work.mkdir(exist_ok=True)
        count = len(list(work.iterdir()))
        files = FILES | {
            "usr/share/version": version.encode() + text,
            "usr/lib/sysimage/dpkg/status": STATUS % count,
        }
        made = make_commit(self.origin, work, files, version, timestamp=CREATED + 1000 * count)
        with gpg.keyring(self.homedir) as home:
            self.origin.sign(made, gpg.ensure_key(home, USER), home)
        self.origin.update_summary()
        return made

    def machine(self, place: Path, *, more: str = "") -> "Machine":
        """Return a machine whose store, releases and temporary files lie below `place`; `more` goes into its
        configuration.
        """
        for name in ("tmp", "cache"):
            (place / name).mkdir(parents=True, exist_ok=True)
        file = place / "small.yaml"
        file.write_text(
            CONFIG.format(
                ref=REF, url=f"file://{self.place / 'origin'}", key=self.key, user=USER, homedir=self.homedir,
                place=place, more=more,
            )
        )  # fmt: skip
        return Machine(bench=self, place=place, config=file)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Directories of one machine, and how imagebuild is run there."""

    bench: Bench
    place: Path
    config: Path

    @property
    def store(self) -> Path:
        """Its store."""
        return self.place / "store"

    @property
    def output(self) -> Path:
        """Its releases."""
        return self.place / "releases"

    @property
    def temporary(self) -> Path:
        """Its TMPDIR: also what its processes are known by."""
        return self.place / "tmp"

    def all(self, *more: str) -> list[str]:
        """Return the arguments that build and release."""
        return [
            "all", "--config", str(self.config), "--store", str(self.store), "--output", str(self.output),
            "--date", DAY, "--respin", "0", "--populate", "native", *more,
        ]  # fmt: skip

    def start(self, *arguments: str, **environment: str) -> "Running":
        """Start it, in a session of its own."""
        log = self.place / f"said-{secrets.token_hex(4)}"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, *self.bench.program, *arguments],
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                cwd=self.place,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "TMPDIR": str(self.temporary),
                    "XDG_CACHE_HOME": str(self.place / "cache"),
                    "IMAGEBUILD_GUEST_SLOTS": str(self.bench.place / "slots"),
                    "SOURCE_DATE_EPOCH": EPOCH,
                    "COLUMNS": "400",
                    **environment,
                },
                start_new_session=True,
            )
        return Running(process, log)

    def run(self, *arguments: str, **environment: str) -> Ended:
        """Run it to its end."""
        return self.start(*arguments, **environment).end()

    def must(self, *arguments: str, **environment: str) -> str:
        """Run what must succeed; return what it said."""
        ended = self.run(*arguments, **environment)
        assert ended.code == 0, ended.said
        return ended.said

    def with_program(self, program: tuple[str, ...]) -> "Machine":
        """Return the same machine with another program."""
        return replace(self, bench=replace(self.bench, program=program))


def bench_in(place: Path) -> Bench:
    """Return the bench in a directory; made, when it is not there."""
    made = Bench(place=place, key=place / "key.asc")
    return made if made.key.exists() else make_bench(place)


def make_bench(place: Path) -> Bench:
    """Make the repository with a release to upgrade from, and the key."""
    Repo.ensure(place / "origin")
    key = place / "key.asc"
    with gpg.keyring(place / "gnupg") as home:
        gpg.export_key(home, gpg.ensure_key(home, USER), key)
    made = Bench(place=place, key=key)
    for version in ("1.1", "1.2"):
        made.commit(version)
    return made
