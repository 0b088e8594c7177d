"""What is known to be vulnerable, from files that lie here: Debian's security tracker, or OSV records.
Nothing is fetched.

Sources: security-tracker.debian.org/tracker/data/json (source package -> CVE -> releases -> CODENAME with
`status`, `fixed_version`, `urgency`; `0` as fixed version: never affected; `unimportant`: no security issue);
the OSV schema 1.6 (ossf/osv-schema: `affected`, `ranges` of type ECOSYSTEM with `introduced`, `fixed` and
`last_affected`, `versions`, `withdrawn`), whose Debian records name source packages.
"""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuild import json_text
from imagebuild.errors import BuildError, UsageError
from imagebuild.publish.versions import COMPARE

# the tracker's file has some 70 MB in 2026, and grows; a record of OSV some KB
LARGEST, LARGEST_RECORD, MOST_RECORDS = 1 << 29, 8 << 20, 1_000_000
# os-release's ID -> what OSV calls the distribution
ECOSYSTEMS = {
    "almalinux": "AlmaLinux",
    "debian": "Debian",
    "fedora": "Fedora",
    "opensuse-leap": "openSUSE",
    "rhel": "Red Hat",
    "rocky": "Rocky Linux",
    "ubuntu": "Ubuntu",
}
# words of OSV's database_specific and of Debian's urgency, the gravest first; what nobody has judged comes
# before what somebody found harmless
SEVERITIES = ("critical", "high", "medium", "unknown", "low", "end-of-life")
HINT = "give the JSON of Debian's security tracker, or OSV records: a file, a directory of them, or all.zip"


@dataclass(frozen=True, kw_only=True)
class Affected:
    """From which version on a package is vulnerable (empty: from the first), and from which on no more
    (`fixed`, empty: it is still to be fixed), or up to which (`last`).
    """

    introduced: str = ""
    fixed: str = ""
    last: str = ""


@dataclass(frozen=True, kw_only=True)
class Advisory:
    """One vulnerability of one package: `ranges` and single `versions` are affected."""

    name: str
    package: str
    summary: str
    severity: str
    ranges: tuple[Affected, ...]
    versions: frozenset[str] = frozenset()

    def fixed_for(self, version: str, compare: Callable[[str, str], int]) -> str | None:
        """Return the version with the fix (empty: none yet); None when a version is not affected."""
        for each in self.ranges:
            if each.introduced not in ("", "0") and compare(version, each.introduced) < 0:
                continue
            if each.fixed and compare(version, each.fixed) >= 0:
                continue
            if each.last and compare(version, each.last) > 0:
                continue
            return each.fixed
        return "" if version in self.versions else None


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Whose packages are asked about: os-release's ID, VERSION_ID and VERSION_CODENAME, and the kind of
    database.
    """

    vendor: str
    version: str
    codename: str
    kind: str


@dataclass
class Advisories:
    """What is known, by the name of the package; `source` is where it was read."""

    source: str
    known: dict[str, list[Advisory]] = field(default_factory=dict)

    def add(self, advisory: Advisory) -> None:
        """Take one in."""
        self.known.setdefault(advisory.package, []).append(advisory)

    def of(self, names: tuple[str, ...], version: str, kind: str) -> Iterator[tuple[Advisory, str]]:
        """Yield what affects a version of a package that has these names, with the version that fixes it."""
        seen = set()
        for name in names:
            for advisory in self.known.get(name, ()):
                fixed = advisory.fixed_for(version, COMPARE[kind])
                if fixed is not None and advisory.name not in seen:
                    seen.add(advisory.name)
                    yield advisory, fixed


def read(place: Path, distribution: Distribution) -> Advisories:
    """Read advisories about a distribution's packages. Raises UsageError for what is not there, BuildError
    for what is none.
    """
    found = Advisories(source=place.name)
    check(place)
    try:
        for name, document in _documents(place):
            _take(found, name, document, distribution)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BuildError(f"{place} cannot be read as advisories: {error}", hint=HINT) from error
    return found


def check(place: Path) -> None:
    """Raise UsageError when there is nothing to be read."""
    if not place.exists():
        raise UsageError(f"there are no advisories at {place}", hint=HINT)


def _documents(place: Path) -> Iterator[tuple[str, Any]]:
    """Yield each JSON document and where it is from."""
    if place.is_dir():
        for number, file in enumerate(sorted(place.glob("*.json"))):
            _check(number, file.stat().st_size)
            yield file.name, json_text.parse(file.read_bytes())
    elif zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            members = [each for each in archive.infolist() if each.filename.endswith(".json")]
            for number, member in enumerate(members):
                _check(number, member.file_size)
                with archive.open(member) as stream:
                    data = stream.read(LARGEST_RECORD + 1)
                _check(number, len(data))
                yield member.filename, json_text.parse(data)
    else:
        if place.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST >> 20} MiB")
        yield place.name, json_text.parse(place.read_bytes())


def _check(number: int, size: int) -> None:
    if number >= MOST_RECORDS:
        raise ValueError(f"it has more than {MOST_RECORDS} records")
    if size > LARGEST_RECORD:
        raise ValueError(f"one record has more than {LARGEST_RECORD >> 20} MiB")


def _take(found: Advisories, name: str, document: Any, distribution: Distribution) -> None:
    if isinstance(document, dict) and isinstance(document.get("vulns"), list):
        document = document["vulns"]
    for record in document if isinstance(document, list) else [document]:
        if not isinstance(record, dict):
            raise ValueError(f"{name}: {json.dumps(record)[:60]} is not a record")
        if "id" in record and "affected" in record:
            _take_osv(found, record, distribution)
        elif "id" not in record and all(isinstance(each, dict) for each in record.values()):
            _take_tracker(found, record, distribution)
        else:
            raise ValueError(f"{name} is neither of Debian's tracker nor of OSV")


def _take_tracker(found: Advisories, document: Mapping[str, Any], distribution: Distribution) -> None:
    if distribution.vendor != "debian" or not distribution.codename:
        raise ValueError(f"it is about Debian, and this is {distribution.vendor} {distribution.version}")
    for package, records in document.items():
        for name, record in records.items():
            releases = record.get("releases") if isinstance(record, dict) else None
            known = releases.get(distribution.codename) if isinstance(releases, dict) else None
            if not isinstance(known, dict):
                continue
            fixed, urgency = str(known.get("fixed_version", "")), str(known.get("urgency", ""))
            if known.get("status") == "resolved" and not fixed:
                continue
            if fixed == "0" or urgency == "unimportant":
                continue
            found.add(
                Advisory(
                    name=name,
                    package=package,
                    summary=_words(record.get("description")),
                    severity=_severity(urgency),
                    ranges=(Affected(fixed=fixed),),
                )
            )


def _take_osv(found: Advisories, record: Mapping[str, Any], distribution: Distribution) -> None:
    if record.get("withdrawn"):
        return
    own = record.get("database_specific")
    said = own.get("severity") if isinstance(own, dict) else None
    for affected in json_text.objects(record.get("affected")):
        package = affected.get("package")
        if not isinstance(package, dict) or not _is_about(str(package.get("ecosystem", "")), distribution):
            continue
        ranges = [
            each
            for one in json_text.objects(affected.get("ranges"))
            if one.get("type") == "ECOSYSTEM"
            for each in _ranges(one)
        ]
        versions = affected.get("versions")
        aliases = record.get("aliases")
        found.add(
            Advisory(
                # what people call it
                name=_cve([record.get("id"), *(aliases if isinstance(aliases, list) else [])]),
                package=str(package.get("name", "")),
                summary=_words(record.get("summary") or record.get("details")),
                severity=_severity(str(said or "")),
                ranges=tuple(ranges),
                versions=frozenset(map(str, versions)) if isinstance(versions, list) else frozenset(),
            )
        )


def _ranges(one: Mapping[str, Any]) -> Iterator[Affected]:
    introduced: str | None = None
    for event in json_text.objects(one.get("events")):
        if "introduced" in event:
            if introduced is not None:
                yield Affected(introduced=introduced)
            introduced = str(event["introduced"])
        elif introduced is not None and ("fixed" in event or "last_affected" in event):
            yield Affected(
                introduced=introduced,
                fixed=str(event.get("fixed", "")),
                last=str(event.get("last_affected", "")),
            )
            introduced = None
    if introduced is not None:
        yield Affected(introduced=introduced)


def _is_about(ecosystem: str, distribution: Distribution) -> bool:
    name, _, version = ecosystem.partition(":")
    return name == ECOSYSTEMS.get(distribution.vendor) and (
        not version or distribution.version == version or distribution.version.partition(".")[0] == version
    )


def _cve(names: list[Any]) -> str:
    known = [name for name in names if isinstance(name, str) and name]
    return next((name for name in known if name.startswith("CVE-")), known[0] if known else "unknown")


def _severity(word: str) -> str:
    word = word.lower().rstrip("*")
    return {"important": "high", "moderate": "medium"}.get(word, word if word in SEVERITIES else "unknown")


def _words(value: object) -> str:
    return " ".join(str(value or "").split())[:300]
