"""A directory of criteria is read: everything in it, once, and nothing outside of it.

NAME              an executable, or a pytest file test_NAME.py that is not executable
NAME.yaml         its record (`SiteRecord`)
kola.json, data   as kola's external tests have them, for the executables of their directory
config.bu, .ign   nobody configures our guests by those: the executables beside them are not tested

Sub-directories hold executables, as in kola's tests/kola.
"""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from imagebuild.smoke.criterion import Asks
from imagebuild.smoke.site import kola
from imagebuild.smoke.site.kola import KolaMeta
from imagebuild.smoke.site.plain_yaml import read_yaml
from imagebuild.smoke.site.record import MINUTES, SiteCriterion, SiteFile, SiteRecord
from imagebuild.smoke.site.tests_told import told

# a criterion is a script or a program of a few MiB; its files are part of each key
MOST_BYTES, MOST_FILES, DEEPEST = 16 << 20, 1000, 8
DATA, KOLA_JSON, RECORD = "data", "kola.json", ".yaml"
# Ignition's and Butane's (external-tests.md)
CONFIGURES = ("config.ign", "config.bu", "config.fcc")
# kola leaves this name out where it is the only executable (InstalledTestDefaultTest)
DEFAULT_TEST = "test.sh"
# what a unit's environment has without a word about quoting
PLAIN = re.compile(r"[A-Za-z0-9._+@-]+")
TEST_FILE = re.compile(r"test_[A-Za-z0-9_]+[.]py")


@dataclass
class _Reader:
    """One directory, and what was read of it so far."""

    root: Path
    count: int = 0
    size: int = 0
    names: dict[str, str] = field(default_factory=dict)

    def shown(self, path: Path) -> str:
        return str(path.relative_to(self.root.parent))

    def entries(self, directory: Path) -> list[Path]:
        """Return what is in a directory. Raises ValueError for what leads out of it, or is not a file."""
        if len(directory.relative_to(self.root).parts) > DEEPEST:
            raise ValueError(f"{self.shown(directory)}: is deeper than {DEEPEST} directories, or a circle")
        found = sorted(directory.iterdir())
        self.count += len(found)
        if self.count > MOST_FILES:
            raise ValueError(f"{self.shown(self.root)}: has more than {MOST_FILES} files")
        for path in found:
            self._check(path)
        return found

    def _check(self, path: Path) -> None:
        try:
            there, mode = path.resolve(strict=True), path.stat().st_mode
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{self.shown(path)}: cannot be read: {error}") from error
        if not there.is_relative_to(self.root.resolve()):
            raise ValueError(f"{self.shown(path)}: is a link out of the directory")
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ValueError(f"{self.shown(path)}: is neither a file nor a directory")

    def read(self, path: Path) -> bytes:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES - self.size + 1)
        self.size += len(data)
        if self.size > MOST_BYTES:
            raise ValueError(f"{self.shown(self.root)}: holds more than {MOST_BYTES >> 20} MiB")
        return data

    def file(self, path: Path, base: Path) -> SiteFile:
        return SiteFile.of(
            path.relative_to(base).as_posix(), self.read(path), executable=_is_executable(path)
        )

    def below(self, directory: Path, base: Path) -> Iterator[SiteFile]:
        for path in self.entries(directory):
            if path.is_dir():
                yield from self.below(path, base)
            else:
                yield self.file(path, base)

    def name(self, text: str, path: Path) -> str:
        """Return the name of a cell. Raises ValueError for one that another criterion has."""
        name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:120]
        if not name:
            raise ValueError(f"{self.shown(path)}: its name has neither letters nor digits")
        if name in self.names:
            raise ValueError(f"{self.shown(path)}: {name} is a criterion already: {self.names[name]}")
        self.names[name] = self.shown(path)
        return name


def read_criteria(root: Path, ours: frozenset[str]) -> tuple[SiteCriterion, ...]:
    """Read the criteria of a directory; `ours` are names that are not free any more. Raises ValueError with
    what is wrong in which file.
    """
    reader = _Reader(root=root, names=dict.fromkeys(ours, "one of imagebuild's own"))
    try:
        found = (*_pytest_files(reader), *_executables(reader, root, _kola_name(root)))
    except OSError as error:
        raise ValueError(f"{root}: cannot be read: {error}") from error
    # what lies beside several travels with each of them
    if sum(len(file.content) for site in found for file in site.files) > 2 * MOST_BYTES:
        raise ValueError(f"{root}: criteria and what lies beside them are more than {MOST_BYTES >> 19} MiB")
    if not found:
        raise ValueError(f"{root}: has neither an executable nor a file test_….py")
    return found


def _kola_name(root: Path) -> str:
    """Return how kola names a directory of tests: by the project whose tests/kola it is."""
    parts = root.resolve().parts
    project = parts[-3] if parts[-2:] == ("tests", "kola") and len(parts) > 2 else parts[-1]
    return f"ext.{re.sub(r'[^A-Za-z0-9._+@-]', '-', project)}"


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o111)


# --- pytest files ---


def _pytest_files(reader: _Reader) -> Iterator[SiteCriterion]:
    entries = reader.entries(reader.root)
    tests = [path for path in entries if TEST_FILE.fullmatch(path.name) and not _is_executable(path)]
    helpers = [path for path in entries if path.suffix == ".py" and not _is_executable(path)] if tests else []
    modules = tuple(reader.file(path, reader.root) for path in helpers)
    for path in tests:
        record = _record(reader, path)
        (own,) = [file for file in modules if file.path == path.name]
        for test in told(own.data, reader.shown(path)):
            asks = Asks.OWN_BOOT if record.fresh_boot and test.asks is Asks.FIRST_BOOT else test.asks
            site = SiteCriterion(
                name=reader.name(test.function.removeprefix("test_"), path),
                about=test.about,
                # what they import lies beside them
                files=(own, *(file for file in modules if file is not own)),
                module=path.stem,
                function=test.function,
                asks=asks,
            )
            yield _as_recorded(site, record)


def _as_recorded(site: SiteCriterion, record: SiteRecord) -> SiteCriterion:
    """Return a criterion as its record has it."""
    return replace(
        site,
        about=record.about or site.about,
        artifacts=record.artifacts,
        firmware=record.firmware,
        skippable=record.skippable,
        warn_until=record.warn_until or site.warn_until,
        seconds=site.seconds if record.minutes is None else record.minutes * 60.0,
    )


def _record(reader: _Reader, path: Path) -> SiteRecord:
    """Return the record of a criterion. Raises ValueError for one that says what no record says."""
    file = path.with_name(path.name + RECORD)
    file = file if file.exists() else path.with_suffix(RECORD)
    if not file.exists():
        return SiteRecord()
    try:
        return SiteRecord.model_validate(read_yaml(reader.read(file).decode(), reader.shown(file)))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the record"
        says = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise ValueError(f"{reader.shown(file)}: {key}: {says}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{reader.shown(file)}: is not text: {error}") from error


# --- executables ---


def _executables(reader: _Reader, directory: Path, prefix: str) -> Iterator[SiteCriterion]:
    entries = [path for path in reader.entries(directory) if path.name != "__pycache__"]
    plain = [path for path in entries if path.is_file()]
    programs = [path for path in plain if _is_executable(path)]
    for path in plain:
        _refuse_leftover(reader, path, entries)
    for path in (*programs, *(path for path in entries if path.is_dir())):
        if not PLAIN.fullmatch(path.name):
            raise ValueError(f"{reader.shown(path)}: its name has more than letters, digits and . _ + @ -")
    beside = _Beside.of(reader, directory, plain, [path for path in entries if path.is_dir()])
    for path in programs:
        alone = len(programs) == 1 and path.name == DEFAULT_TEST and directory != reader.root
        yield _executable(reader, path, prefix if alone else f"{prefix}.{path.name}", beside)
    for path in entries:
        if path.is_dir() and path.name != DATA:
            yield from _executables(reader, path, f"{prefix}.{path.name}")


def _refuse_leftover(reader: _Reader, path: Path, entries: list[Path]) -> None:
    """Refuse a script that nobody would run, and a record of nothing."""
    if _is_executable(path):
        return
    at_top = path.parent == reader.root
    if TEST_FILE.fullmatch(path.name) and at_top:
        return
    with path.open("rb") as stream:
        script = stream.read(2) == b"#!"
    if script:
        raise ValueError(f"{reader.shown(path)}: is a script that is not executable: chmod +x, or remove it")
    names = {entry.name for entry in entries} | {entry.stem for entry in entries if entry != path}
    if path.suffix == RECORD and path.stem not in names:
        raise ValueError(f"{reader.shown(path)}: is the record of a criterion that is not there")


@dataclass(frozen=True)
class _Beside:
    """What lies beside the executables of a directory."""

    meta: KolaMeta | None
    data: tuple[SiteFile, ...]
    configures: str

    @classmethod
    def of(cls, reader: _Reader, directory: Path, plain: list[Path], directories: list[Path]) -> "_Beside":
        names = {path.name: path for path in plain}
        meta = names.get(KOLA_JSON)
        data = [path for path in directories if path.name == DATA]
        return cls(
            meta=kola.read_json(reader.read(meta), reader.shown(meta)) if meta is not None else None,
            data=tuple(file for path in data for file in reader.below(path, directory)),
            configures=next((name for name in CONFIGURES if name in names), ""),
        )


def _executable(reader: _Reader, path: Path, kola_name: str, beside: _Beside) -> SiteCriterion:
    own, record = reader.file(path, path.parent), _record(reader, path)
    header = kola.read_header(own.data, reader.shown(path))
    meta = header or beside.meta or KolaMeta()
    fresh = meta.exclusive if record.fresh_boot is None else record.fresh_boot
    architectures = kola.words(meta.architectures)
    where = kola_name.removeprefix(f"{_kola_name(reader.root)}.")
    site = SiteCriterion(
        name=reader.name(where, path),
        about=meta.description,
        files=(own, *beside.data),
        program=own.path,
        kola=kola_name,
        asks=Asks.OWN_BOOT if fresh else Asks.FIRST_BOOT,
        architectures=architectures.only,
        not_architectures=architectures.without,
        memory=meta.memory,
        seconds=meta.timeout_min * 60.0 or MINUTES * 60.0,
        warn_until=meta.warn_until,
        untested=_untested(beside, meta),
        elsewhere=meta.elsewhere(),
    )
    return _as_recorded(site, record)


def _untested(beside: _Beside, meta: KolaMeta) -> str:
    if beside.configures:
        return f"{beside.configures} would have to configure its guest, and guests here have no Ignition"
    return meta.untested()
