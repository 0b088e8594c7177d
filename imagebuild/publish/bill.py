"""The bill of materials of a release: its downloads, the tree in them, the tree's packages, and what the live
ISO has besides. `bill_spdx` and `bill_cyclonedx` write it; here is what they have in common, and the check of
what they wrote.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from packageurl import PackageURL

from imagebuild import json_text
from imagebuild.publish.facts import DownloadFacts, Facts
from imagebuild.publish.names import ISO
from imagebuild.publish.parts import Origin, Part

SPDX, CYCLONEDX = "sbom.spdx.json", "sbom.cdx.json"
HOME = "https://github.com/imagebuild/imagebuild"
SPDX_VERSION, CYCLONEDX_VERSION = "SPDX-2.3", "1.6"
DIGEST = re.compile(r"[0-9a-f]{64}")
# `busybox --help`: BusyBox v1.35.0 (Debian 1:1.35.0-4+b3) multi-call binary.
BUSYBOX = re.compile(r"BusyBox v(\S+)(?: \(Debian ([^)\s]+)\))?")


@dataclass(frozen=True, kw_only=True)
class Addition:
    """What the live ISO carries besides the tree."""

    name: str
    version: str
    licence: str
    purl: str


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What is in a release of one architecture. `installers` maps the path of each ISO to what it has besides
    the tree; None: another program made its root file system, and nobody asked what of.
    """

    facts: Facts
    parts: tuple[Part, ...]
    origin: Origin
    installers: Mapping[str, tuple[Addition, ...] | None]

    @property
    def name(self) -> str:
        """What it is a bill of."""
        return f"{self.facts.compose_id}-{self.facts.arch}"

    @property
    def namespace(self) -> str:
        """A URI that no other bill has, and that the same release has again."""
        return f"{HOME}/sbom/{self.name}/{self.identity}"

    @property
    def identity(self) -> uuid.UUID:
        """An id (RFC 9562, version 5) of everything that was released."""
        digests = " ".join(sorted(download.sha256 for download in self.facts.downloads))
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{HOME}/{self.name}/{self.facts.tree.commit}/{digests}")


def live_additions(tools: Mapping[str, str]) -> tuple[Addition, ...]:
    """Return what the live installer lays over a tree (installers/live): our program, the reader of
    kickstarts, and busybox of the machine that built it (`tools`: program -> what it says of its version).
    """
    found = [
        Addition(
            name=name,
            version=version(name),
            licence=licence,
            purl=str(PackageURL("pypi", None, name, version(name)).to_string()),
        )
        for name, licence in (("imagebuild", "GPL-2.0-or-later"), ("pykickstart", "GPL-2.0-only"))
    ]
    match = BUSYBOX.search(tools.get("busybox", ""))
    if match is not None:
        packaged = PackageURL("deb", "debian", "busybox", match[2]) if match[2] is not None else None
        purl = packaged or PackageURL("generic", None, "busybox", match[1])
        found.append(
            Addition(
                name="busybox",
                version=match[2] or match[1],
                licence="GPL-2.0-only",
                purl=str(purl.to_string()),
            )
        )
    return tuple(found)


def is_installer(download: DownloadFacts) -> bool:
    """Whether a download is an installer's ISO."""
    return download.format == ISO


# --- the check ----------------------------------------------------------------------------------------------


def problems(spdx: bytes, cyclonedx: bytes, facts: Facts) -> list[str]:
    """Return what is wrong with the bills of a release: their kind, the release that they say they are of,
    its downloads and its tree, and whether both name the same packages.
    """
    try:
        first, second = json_text.parse(spdx or b"null"), json_text.parse(cyclonedx or b"null")
    except ValueError as error:
        return [f"a bill of materials is not JSON: {error}"]
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return ["a bill of materials is not an object"]
    found = []
    if first.get("spdxVersion") != SPDX_VERSION:
        found.append(f"{SPDX} is not {SPDX_VERSION}")
    if (second.get("bomFormat"), second.get("specVersion")) != ("CycloneDX", CYCLONEDX_VERSION):
        found.append(f"{CYCLONEDX} is not CycloneDX {CYCLONEDX_VERSION}")
    of_spdx, of_cyclonedx = _of_spdx(first), _of_cyclonedx(second)
    for name, known in ((SPDX, of_spdx), (CYCLONEDX, of_cyclonedx)):
        found += [
            f"{name}: {download.path} is not in it with the SHA-256 that was released"
            for download in facts.downloads
            if known.get(download.path) != download.sha256
        ]
        if known.get(facts.ref) != facts.tree.commit:
            found.append(f"{name} is not of the commit {facts.tree.commit}")
    if _purls(of_spdx) != _purls(of_cyclonedx):
        found.append(f"{SPDX} and {CYCLONEDX} do not name the same packages")
    return found


def _purls(known: Mapping[str, str]) -> set[str]:
    return {name for name in known if name.startswith("pkg:")}


def _of_spdx(document: Mapping[str, Any]) -> dict[str, str]:
    """Return purl -> "", name of each download and of the tree -> SHA-256."""
    found = {}
    for package in json_text.objects(document.get("packages")):
        digests = [
            str(each.get("checksumValue"))
            for each in json_text.objects(package.get("checksums"))
            if each.get("algorithm") == "SHA256"
        ]
        if digests:
            found[str(package.get("name"))] = digests[0]
        for each in json_text.objects(package.get("externalRefs")):
            if each.get("referenceType") == "purl":
                found[str(each.get("referenceLocator"))] = ""
    return found


def _of_cyclonedx(document: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for component in json_text.objects(document.get("components")):
        digests = [
            str(each.get("content"))
            for each in json_text.objects(component.get("hashes"))
            if each.get("alg") == "SHA-256"
        ]
        if digests:
            found[str(component.get("name"))] = digests[0]
        if "purl" in component:
            found[str(component["purl"])] = ""
    return found
