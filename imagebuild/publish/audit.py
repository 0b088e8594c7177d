"""Which packages of a tree are known to be vulnerable, what is new of that since the release before, and who
answers for it.
"""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from imagebuild.config.publish import AuditConfig
from imagebuild.config.smoke import WaiverConfig
from imagebuild.errors import BuildError
from imagebuild.publish import advisories
from imagebuild.publish.advisories import SEVERITIES, Advisories, Distribution
from imagebuild.publish.parts import Part, origin_of, parts_of
from imagebuild.smoke.waivers import VULNERABILITY
from imagebuild.tools.ostree.repository import Repo

FILE = "audit.json"


@dataclass(frozen=True, kw_only=True)
class Vulnerability:
    """One vulnerability of one source package of a tree: `packages` are made of it, `fixed` is the version
    with the fix (empty: there is none yet), `new`: the release before did not have it; `waived`: who answers
    for it.
    """

    name: str
    source: str
    version: str
    packages: tuple[str, ...]
    severity: str
    summary: str
    fixed: str
    new: bool = False
    waived: str = ""

    @property
    def says(self) -> str:
        """It in a sentence."""
        fixed = f"fixed in {self.fixed}" if self.fixed else "not fixed yet"
        return f"{self.name} ({self.severity}) in {self.source} {self.version}: {fixed}"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found: `gone` are vulnerabilities of the release before that this one does not have."""

    advisories: str
    found: tuple[Vulnerability, ...]
    gone: tuple[str, ...]
    compared: bool

    def held(self, config: AuditConfig) -> list[Vulnerability]:
        """Return what holds a release."""
        return [
            each
            for each in self.found
            if not each.waived and (config.hold == "all" or (config.hold == "fixed" and each.fixed))
        ]

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "advisories": self.advisories,
            "vulnerabilities": [asdict(each) for each in self.found],
            "gone": list(self.gone) if self.compared else None,
        }


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Packages, and whose they are."""

    parts: tuple[Part, ...]
    distribution: Distribution


def inventory(repo: Repo, commit: str) -> Inventory:
    """Return the packages of a commit. Raises BuildError."""
    parts = parts_of(repo, commit)
    kind = "dpkg" if any(part.purl.startswith("pkg:deb/") for part in parts) else "rpm"
    origin = origin_of(repo, commit, kind)
    distribution = Distribution(
        vendor=origin.vendor, version=origin.version, codename=origin.codename, kind=kind
    )
    return Inventory(parts=parts, distribution=distribution)


def audit(
    known_at: Path, now: Inventory, before: Inventory | None, waivers: Sequence[WaiverConfig], today: date
) -> Audit:
    """Compare packages with the advisories at a place; `before` has those of the release before. Raises
    UsageError, BuildError.
    """
    known = advisories.read(known_at, now.distribution)
    found = vulnerabilities(now.parts, known, now.distribution)
    old = vulnerabilities(before.parts, known, now.distribution) if before is not None else []
    earlier = {(each.name, each.source) for each in old}
    names = {(each.name, each.source) for each in found}
    told = (
        replace(each, new=before is not None and (each.name, each.source) not in earlier) for each in found
    )
    return Audit(
        advisories=known.source,
        found=tuple(_waived(each, waivers, today) for each in told),
        gone=tuple(f"{name} in {source}" for name, source in sorted(earlier - names)),
        compared=before is not None,
    )


def vulnerabilities(
    parts: Sequence[Part], known: Advisories, distribution: Distribution
) -> list[Vulnerability]:
    """Return what is known of these packages, the gravest first; each source package once."""
    found: dict[tuple[str, str, str], Vulnerability] = {}
    for part in parts:
        # Debian's advisories are about source packages, others' about what is installed
        source = part.source or part.name
        version = part.source_version if distribution.kind == "dpkg" and part.source else part.version
        names = (source,) if distribution.kind == "dpkg" else tuple(dict.fromkeys((part.name, source)))
        for advisory, fixed in known.of(names, version, distribution.kind):
            key = (advisory.name, source, version)
            packages = found[key].packages if key in found else ()
            found[key] = Vulnerability(
                name=advisory.name,
                source=source,
                version=version,
                packages=(*packages, part.name),
                severity=advisory.severity,
                summary=advisory.summary,
                fixed=fixed,
            )
    return sorted(
        found.values(), key=lambda each: (SEVERITIES.index(each.severity), each.source, _order(each.name))
    )


def _order(name: str) -> tuple[str | int, ...]:
    return (*(int(word) if word.isdecimal() else 0 for word in re.split(r"[^0-9]+", name)), name)


def _waived(found: Vulnerability, waivers: Sequence[WaiverConfig], today: date) -> Vulnerability:
    """Return it with who answers for it: a waiver of `vulnerability` names in `artifact` a pattern of the
    vulnerability, of the source package, or of both with a space between.
    """
    called = (found.name, found.source, f"{found.source} {found.name}")
    for waiver in waivers:
        if (
            waiver.criterion == VULNERABILITY
            and any(fnmatch.fnmatchcase(name, waiver.artifact) for name in called)
            and waiver.until >= today
        ):
            return replace(found, waived=f"{waiver.who}: {waiver.why} (until {waiver.until})")
    return found


def check(audit: Audit, config: AuditConfig) -> None:
    """Raise BuildError for what nobody answers for."""
    held = audit.held(config)
    if held:
        more = f"; and {len(held) - 5} more" if len(held) > 5 else ""
        raise BuildError(
            f"known vulnerabilities: {'; '.join(each.says for each in held[:5])}{more}",
            hint=f"compose with the fixed packages, or waive them in the configuration: criterion"
            f" {VULNERABILITY}, artifact CVE-… or the source package",
        )


def lines(audit: Audit) -> list[str]:
    """Return an audit for people, a line each."""
    said = [
        f"{'new: ' if each.new else ''}{each.says}"
        f"{f'; waived by {each.waived}' if each.waived else ''} [{', '.join(each.packages)}]"
        for each in audit.found
    ]
    said += [f"no more: {each}" for each in audit.gone]
    total = f"{len(audit.found)} known vulnerabilities" if audit.found else "no known vulnerabilities"
    return [*said, f"{total}, by {audit.advisories}"]
