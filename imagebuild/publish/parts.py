"""What a commit is made of, as a bill of materials names it: each package with its source, its licence and
what its database knows of its content. Nothing of a tree is executed.

Sources: deb-src-control(5) and deb822(5) for `Source` (its version stands in brackets where it differs), the
package-url specification's types deb and rpm.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from debian.deb822 import Deb822
from packageurl import PackageURL

from imagebuild.errors import BuildError
from imagebuild.publish import licences
from imagebuild.publish.packages import DPKG, NO_PACKAGES, RPM, extracted, packages_of
from imagebuild.tools import command, os_release
from imagebuild.tools.ostree.repository import Repo

FIELDS = ("Package", "Version", "Architecture", "Status", "Source", "Maintainer")
ASKED = [spelt for field in FIELDS for spelt in (field, field.lower())]
SOURCE = re.compile(r"(\S+)(?:\s+\((\S+)\))?")
# rpm(8), --queryformat; a header's own SHA-256 is there since rpm 4.14
QUERY = (
    r"%{NAME}\t%|EPOCH?{%{EPOCH}}:{0}|\t%{VERSION}\t%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\t%{LICENSE}\t%{VENDOR}"
    r"\t%|SHA256HEADER?{%{SHA256HEADER}}:{}|\n"
)
COLUMNS = 9
SOURCE_RPM = re.compile(r"(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm")
NONE = "(none)"
OS_RELEASE = ("usr/lib/os-release", "usr/etc/os-release")
MOST = 64 << 10


@dataclass(frozen=True, order=True, kw_only=True)
class Part:
    """One package: `version` is that of its database ([EPOCH:]VERSION-RELEASE), `licence` an SPDX expression
    (empty: nobody knows), `header` the SHA-256 of an rpm's header (empty: of none).
    """

    name: str
    version: str
    arch: str
    source: str = ""
    source_version: str = ""
    licence: str = ""
    supplier: str = ""
    header: str = ""
    purl: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Whose packages they are: `kind` of the database, os-release's ID, VERSION_ID and VERSION_CODENAME."""

    kind: str
    vendor: str
    version: str
    codename: str = ""

    @property
    def distro(self) -> str:
        """What a package URL calls the distribution."""
        return f"{self.vendor}-{self.version}" if self.version else self.vendor

    def purl(self, name: str, version: str, arch: str) -> str:
        """Return the package URL of a package."""
        qualifiers = {"arch": arch, "distro": self.distro}
        if self.kind == "dpkg":
            return str(PackageURL("deb", self.vendor, name, version, qualifiers).to_string())
        epoch, colon, rest = version.partition(":")
        if colon:
            qualifiers["epoch"] = epoch
        return str(PackageURL("rpm", self.vendor, name, rest if colon else version, qualifiers).to_string())


def origin_of(repo: Repo, commit: str, kind: str) -> Origin:
    """Return whose packages a commit has."""
    for path in OS_RELEASE:
        known = os_release.parse(repo.read(commit, path, most=MOST) or b"")
        vendor = known.get("ID", "").lower()
        if re.fullmatch(r"[a-z0-9._-]+", vendor):
            version, codename = (
                word if re.fullmatch(r"[A-Za-z0-9._-]*", word) else ""
                for word in (known.get("VERSION_ID", ""), known.get("VERSION_CODENAME", ""))
            )
            return Origin(kind=kind, vendor=vendor, version=version, codename=codename)
    return Origin(kind=kind, vendor="linux", version="")


def parts_of(repo: Repo, commit: str) -> tuple[Part, ...]:
    """Return every package of a commit, sorted; also those that are there in several versions. Raises
    BuildError when it has no database that is known here.
    """
    for path in DPKG:
        status = repo.read(commit, path)
        if status is not None:
            text = status.decode("utf-8-sig", "replace").replace("\r\n", "\n")
            return _once(_dpkg(repo, commit, text, origin_of(repo, commit, "dpkg")))
    origin = origin_of(repo, commit, "rpm")
    for path in RPM:
        names = repo.listing(commit, path)
        if names and (found := _once(_rpm(repo, commit, path, names, origin))):
            return found
    # of the list in a commit's metadata names and versions are known
    return _once(
        Part(
            name=each.name,
            version=each.version,
            arch=each.arch,
            purl=origin.purl(each.name, each.version, each.arch),
        )
        for each in packages_of(repo, commit).installed.values()
    )


def _once(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(sorted({(part.name, part.version, part.arch): part for part in parts}.values()))


def _dpkg(repo: Repo, commit: str, text: str, origin: Origin) -> Iterable[Part]:
    for paragraph in Deb822.iter_paragraphs(text.splitlines(keepends=True), fields=ASKED, use_apt_pkg=False):
        name, version, arch, status, source, maintainer = (
            paragraph.get(field, "").strip() for field in FIELDS
        )
        if not (status.split()[-1:] == ["installed"] and name and version and arch):
            continue
        match = SOURCE.fullmatch(source)
        copyright_file = repo.read(commit, f"usr/share/doc/{name}/copyright", most=licences.LARGEST)
        yield Part(
            name=name,
            version=version,
            arch=arch,
            source=match[1] if match is not None else name,
            source_version=(match[2] if match is not None else None) or version,
            licence=licences.of_copyright(copyright_file) if copyright_file is not None else "",
            supplier=maintainer,
            purl=origin.purl(name, version, arch),
        )


def _rpm(repo: Repo, commit: str, path: str, names: Sequence[str], origin: Origin) -> Iterable[Part]:
    with extracted(repo, commit, path, names) as place:
        try:
            listing = command.run(
                ["rpm", "--dbpath", place, "--query", "--all", "--queryformat", QUERY],
                shown=["rpm", "--query", "--all"],
                quiet=True,
            )
        except BuildError:
            # one that this machine's rpm does not read; the commit's own list may be there
            return
    for row in (line.split("\t") for line in listing.splitlines()):
        if len(row) != COLUMNS or row[0] in NO_PACKAGES:
            continue
        name, epoch, version, release, arch, source, licence, vendor, header = row
        evr = f"{version}-{release}" if epoch in ("", "0") else f"{epoch}:{version}-{release}"
        match = SOURCE_RPM.fullmatch(source)
        yield Part(
            name=name,
            version=evr,
            arch=arch,
            source=match[1] if match is not None else "",
            source_version=match[2] if match is not None else "",
            licence=licences.of_tag(licence),
            supplier="" if vendor == NONE else vendor,
            header=header if re.fullmatch(r"[0-9a-f]{64}", header) else "",
            purl=origin.purl(name, evr, arch),
        )
