"""A finished release is audited: from its own bill of materials, so that anybody can."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from packageurl import PackageURL

from imagebuild import json_text
from imagebuild.config.publish import AuditConfig
from imagebuild.errors import BuildError, UsageError
from imagebuild.publish import audit, bill, facts
from imagebuild.publish.advisories import Distribution
from imagebuild.publish.audit import Audit, Inventory, Vulnerability
from imagebuild.publish.facts import Facts
from imagebuild.publish.parts import Part
from imagebuild.release_line.model import Config

OWN = "imagebuild:"


@dataclass(frozen=True, kw_only=True)
class Audited:
    """What was found in a release of each architecture, and what would hold it."""

    audits: Mapping[str, Audit]
    held: tuple[Vulnerability, ...]

    def document(self) -> dict[str, Any]:
        """Return it for programs: architecture -> what was found."""
        return {arch: one.document() for arch, one in self.audits.items()}


def audit_release(place: Path, advisories: Path | None, config: Config | None) -> Audited:
    """Audit a release directory by advisories (None: those of the configuration, which has the waivers, too).
    Raises UsageError, BuildError.
    """
    wanted = config.publish.audit if config is not None else None
    known = advisories or (Path(wanted.advisories) if wanted is not None else None)
    if known is None:
        raise UsageError(
            "no advisories are given",
            hint="--advisories FILE, or publish.audit.advisories of a configuration",
        )
    wanted = wanted or AuditConfig(advisories=str(known))
    audits, held = dict[str, Audit](), list[Vulnerability]()
    for release in facts.read_all(place):
        before = _release_before(place, release)
        done = audit.audit(
            known,
            _inventory(place, release),
            _inventory(*before) if before is not None else None,
            config.waivers if config is not None else (),
            date.today(),  # waivers count to the end of a day where the person is
        )
        audits[release.arch] = done
        held += done.held(wanted)
    return Audited(audits=audits, held=tuple(held))


def describe(audited: Audited) -> list[str]:
    """Return what was found as lines for people."""
    several = len(audited.audits) > 1
    return [
        f"{f'{arch}: ' if several else ''}{line}"
        for arch, one in audited.audits.items()
        for line in audit.lines(one)
    ]


def _release_before(place: Path, release: Facts) -> tuple[Path, Facts] | None:
    """Return the release beside this one that hosts come from, if it has a bill of materials."""
    commit = release.previous.commit if release.previous is not None else None
    for earlier in reversed(facts.history(place.absolute().parent, release.ref)):
        beside = place.absolute().parent / earlier.compose_id
        if earlier.tree.commit == commit and _file(beside, earlier).is_file():
            return beside, earlier
    return None


def _file(place: Path, release: Facts) -> Path:
    return place / release.layout.metadata / bill.CYCLONEDX


def _inventory(place: Path, release: Facts) -> Inventory:
    file = _file(place, release)
    try:
        document = json_text.parse(file.read_bytes())
        components = document["components"]
        parts = tuple(sorted(part for each in components if (part := _part(each)) is not None))
        tree = next(_properties(each) for each in components if each["name"] == release.ref)
    except FileNotFoundError as error:
        raise UsageError(
            f"{place} has no {file.relative_to(place)}",
            hint="it was released before there were bills of materials, or is not a release",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise BuildError(
            f"{file} is not the bill of materials of a release: {error!r}",
            hint="imagebuild verify says whether it is what was signed",
        ) from error
    kind = "dpkg" if any(part.purl.startswith("pkg:deb/") for part in parts) else "rpm"
    return Inventory(
        parts=parts,
        distribution=Distribution(
            vendor=tree.get("os-release:ID", "linux"),
            version=tree.get("os-release:VERSION_ID", ""),
            codename=tree.get("os-release:VERSION_CODENAME", ""),
            kind=kind,
        ),
    )


def _properties(component: Mapping[str, Any]) -> dict[str, str]:
    found: Sequence[Mapping[str, str]] = component.get("properties", [])
    return {each["name"].removeprefix(OWN): each["value"] for each in found}


def _part(component: Mapping[str, Any]) -> Part | None:
    """Return a package of the tree; None for what is none, or is in the installer only."""
    own, purl = _properties(component), component.get("purl", "")
    if not purl or "where" in own:
        return None
    source, _, version = own.get("source", "").partition(" ")
    return Part(
        name=component["name"],
        version=component["version"],
        arch=PackageURL.from_string(purl).qualifiers.get("arch", ""),
        source=source,
        source_version=version,
        purl=purl,
    )
