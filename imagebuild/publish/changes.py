"""What changed between two commits: packages, in the classic form of `rpm-ostree db diff`, and everything
else that hosts notice.

Packages come from the trees' own databases: the list in the commit's metadata or the rpm database (rpm-ostree
hosts), dpkg's status file (Debian trees). Nothing of a tree is executed.
"""

import contextlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from debian.debian_support import version_compare
from rpm_vercmp import vercmp

from imagebuild.errors import BuildError
from imagebuild.publish.facts import TreeFacts, megabytes
from imagebuild.tools import command, temporary
from imagebuild.tools.ostree.repository import Repo

# where composers put dpkg's database: our own tree, others
DPKG = ("usr/lib/sysimage/dpkg/status", "var/lib/dpkg/status", "usr/share/dpkg/status")
RPM = ("usr/lib/sysimage/rpm", "usr/share/rpm")
# rpm-ostree writes the list into the commit (since 2018): name, epoch, version, release, architecture
PKGLIST = "rpmostree.rpmdb.pkglist"
QUERY = r"%{NAME}\t%|EPOCH?{%{EPOCH}}:{0}|\t%{VERSION}\t%{RELEASE}\t%{ARCH}\n"
# rpm's own database: gpg-pubkey packages are keys that were imported
NO_PACKAGES = ("gpg-pubkey",)
CHANGELOG = "usr/share/doc/{name}/changelog.Debian.gz"
CHANGELOG_LINES = 12
CHANGELOG_SIZE = 1 << 20
# zlib.h, inflateInit2: 16 is added for a gzip header
GZIP = 16
FIELDS = 5


@dataclass(frozen=True, order=True, kw_only=True)
class Package:
    """One installed package; `version` is [EPOCH:]VERSION-RELEASE without an epoch of 0."""

    name: str
    version: str
    arch: str

    def __str__(self) -> str:
        """Return NAME-EVR.ARCH."""
        return f"{self.name}-{self.version}.{self.arch}"


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """One package in two versions, with what its changelog says of the way."""

    name: str
    old: Package
    new: Package
    changelog: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return NAME OLD_EVR.ARCH -> NEW_EVR.ARCH."""
        return f"{self.name} {self.old.version}.{self.old.arch} -> {self.new.version}.{self.new.arch}"


# (old package, new one) -> lines
Changelogs = Callable[[Package, Package], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Packages:
    """All packages of a commit, and how their versions are compared."""

    kind: str
    installed: Mapping[tuple[str, str], Package]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What a host gets with an upgrade; `other` has what is not a package, a sentence each."""

    old: str
    new: str
    upgraded: tuple[Upgrade, ...] = ()
    downgraded: tuple[Upgrade, ...] = ()
    removed: tuple[Package, ...] = ()
    added: tuple[Package, ...] = ()
    other: tuple[str, ...] = ()

    def sections(self) -> list[tuple[str, list[str]]]:
        """Return heading -> lines, without empty ones, in the classic order."""
        found = [
            ("Upgraded", [str(each) for each in self.upgraded]),
            ("Downgraded", [str(each) for each in self.downgraded]),
            ("Removed", [str(each) for each in self.removed]),
            ("Added", [str(each) for each in self.added]),
        ]
        return [(heading, lines) for heading, lines in found if lines]

    def text(self) -> str:
        """Return the diff as announcements had it."""
        lines = [f"ostree diff commit old: {self.old}", f"ostree diff commit new: {self.new}"]
        for heading, each in self.sections():
            lines += [f"{heading}:", *(f"  {line}" for line in each)]
        if not self.sections():
            lines.append("No packages changed.")
        return "\n".join(lines) + "\n"


def packages_of(repo: Repo, commit: str) -> Packages:
    """Read the packages of a commit. Raises BuildError when it has no database that is known here."""
    listed = _pkglist(repo.metadata(commit).get(PKGLIST))
    if listed:
        return _collected("rpm", listed)
    for path in DPKG:
        status = repo.read(commit, path)
        if status is not None:
            return _collected("dpkg", _dpkg(status.decode("utf-8-sig", "replace").replace("\r\n", "\n")))
    for path in RPM:
        names = repo.listing(commit, path)
        if names:
            return _collected("rpm", _rpmdb(repo, commit, path, names))
    raise BuildError(
        f"commit {commit} has no package database that is known here",
        hint=f"looked for {PKGLIST} in its metadata, {', '.join((*DPKG, *RPM))}",
    )


def _pkglist(listed: object) -> list[Package]:
    """Return the packages of a list in a commit's metadata; what is no list of packages is none, and the
    tree's database is asked.
    """
    rows = listed if isinstance(listed, list) else []
    return [
        _rpm([str(field) for field in row]) for row in rows if isinstance(row, tuple) and len(row) >= FIELDS
    ]


def _collected(kind: str, packages: list[Package]) -> Packages:
    found: dict[tuple[str, str], Package] = {}
    for package in packages:
        # several versions of one package (kernels): the newest stands for it
        key = (package.name, package.arch)
        if key not in found or COMPARE[kind](package.version, found[key].version) > 0:
            found[key] = package
    return Packages(kind=kind, installed=found)


def _dpkg(status: str) -> list[Package]:
    found = []
    for paragraph in re.split(r"\n\s*\n", status):
        # deb822(5): names of fields are the same in upper and lower case
        lines = re.findall(r"^([A-Za-z-]+)[ \t]*:[ \t]*(.*)$", paragraph, re.MULTILINE)
        fields = {name.lower(): value.strip() for name, value in lines}
        if fields.get("status", "").split()[-1:] == ["installed"] and all(
            map(fields.get, ("package", "version", "architecture"))
        ):
            found.append(
                Package(name=fields["package"], version=fields["version"], arch=fields["architecture"])
            )
    return found


def _rpm(fields: list[str]) -> Package:
    name, epoch, version, release, arch = fields[:FIELDS]
    evr = f"{version}-{release}"
    return Package(name=name, version=evr if epoch in ("", "0") else f"{epoch}:{evr}", arch=arch)


def _rpmdb(repo: Repo, commit: str, path: str, names: list[str]) -> list[Package]:
    with _extracted(repo, commit, path, names) as place:
        listing = command.run(
            ["rpm", "--dbpath", place, "--query", "--all", "--queryformat", QUERY],
            shown=["rpm", "--query", "--all"],
        )
    rows = [line.split("\t") for line in listing.splitlines()]
    return [_rpm(row) for row in rows if len(row) == FIELDS and row[0] not in NO_PACKAGES]


@contextlib.contextmanager
def _extracted(repo: Repo, commit: str, path: str, names: Sequence[str]) -> Iterator[Path]:
    """Yield a directory with the files of a commit's rpm database."""
    with temporary.directory("rpmdb") as place:
        for name in names:
            content = repo.read(commit, f"{path}/{name}")
            if content is not None:
                (place / name).write_bytes(content)
        yield place


# --- comparing ----------------------------------------------------------------------------------------------


def compare_rpm(one: str, other: str) -> int:
    """Compare [EPOCH:]VERSION-RELEASE as rpm does: below 0 when `one` is older."""
    for mine, theirs in zip(_evr(one), _evr(other), strict=True):
        found = int(vercmp(mine, theirs))
        if found:
            return found
    return 0


def _evr(text: str) -> tuple[str, str, str]:
    epoch, colon, rest = text.partition(":")
    if not colon:
        epoch, rest = "0", text
    version, _, release = rest.rpartition("-")
    return epoch, version or rest, release if version else ""


def compare_dpkg(one: str, other: str) -> int:
    """Compare versions as dpkg does: below 0 when `one` is older. What deb-version(7) does not take for a
    version is compared as text.
    """
    try:
        return int(version_compare(one, other))
    except ValueError:
        return (one > other) - (one < other)


COMPARE: Mapping[str, Callable[[str, str], int]] = {"rpm": compare_rpm, "dpkg": compare_dpkg}


def difference(repo: Repo, old: TreeFacts, new: TreeFacts) -> Difference:
    """Compare two commits of one repository. Raises BuildError when a commit or its package database cannot
    be read.
    """
    before, after = packages_of(repo, old.commit), packages_of(repo, new.commit)
    with _changelogs(repo, new.commit, after.kind) as said:
        return _compared(old, new, before, after, said)


def _compared(
    old: TreeFacts, new: TreeFacts, before: Packages, after: Packages, said: Changelogs
) -> Difference:
    upgraded: list[Upgrade] = []
    downgraded: list[Upgrade] = []
    removed: list[Package] = []
    added: list[Package] = []
    # a package that is there for one architecture only may change that too (noarch)
    for key in sorted(set(before.installed) | set(after.installed)):
        mine, theirs = before.installed.get(key), after.installed.get(key)
        if mine is None and theirs is not None:
            other = _only(before, theirs.name, but=after)
            (upgraded.append(_upgrade(said, other, theirs)) if other else added.append(theirs))
        elif theirs is None and mine is not None:
            if not _only(after, mine.name, but=before):
                removed.append(mine)
        elif mine is not None and theirs is not None and mine.version != theirs.version:
            newer = COMPARE[after.kind](mine.version, theirs.version) <= 0
            (upgraded if newer else downgraded).append(
                _upgrade(said, mine, theirs) if newer else Upgrade(name=mine.name, old=mine, new=theirs)
            )
    return Difference(
        old=old.commit,
        new=new.commit,
        upgraded=tuple(upgraded),
        downgraded=tuple(downgraded),
        removed=tuple(removed),
        added=tuple(added),
        other=_other(old, new),
    )


def _only(packages: Packages, name: str, *, but: Packages) -> Package | None:
    """Return the one package of that name whose architecture is not in `but`: it went from one architecture
    to another.
    """
    found = [
        package
        for (each, arch), package in packages.installed.items()
        if each == name and (name, arch) not in but.installed
    ]
    return found[0] if len(found) == 1 else None


def _upgrade(said: Changelogs, old: Package, new: Package) -> Upgrade:
    return Upgrade(name=new.name, old=old, new=new, changelog=said(old, new))


@contextlib.contextmanager
def _changelogs(repo: Repo, commit: str, kind: str) -> Iterator[Changelogs]:
    """Yield what says what changed in a package, where the tree has changelogs: rpm's database, or
    /usr/share/doc of a Debian tree.
    """
    if kind == "dpkg":
        yield lambda old, new: _debian_changelog(repo, commit, old, new)
        return
    for path in RPM:
        names = repo.listing(commit, path)
        if names and command.find("rpm") is not None:
            with _extracted(repo, commit, path, names) as place:
                yield lambda old, new: _rpm_changelog(place, old, new)
            return
    yield lambda _old, _new: ()


def _rpm_changelog(place: Path, old: Package, new: Package) -> tuple[str, ...]:
    """Return what rpm's changelog says of the versions after the old one: entries begin with `* DAY NAME
    <MAIL> - VERSION-RELEASE`.
    """
    # the name is the tree's word: rpm has options that run programs (--pipe, --eval)
    status, text = command.status(
        ["rpm", "--dbpath", place, "--query", "--changelog", "--", f"{new.name}.{new.arch}"]
    )
    last = old.version.rpartition(":")[2]
    lines: list[str] = []
    for line in text.splitlines() if status == 0 else ():
        word = line.rpartition(" ")[2].rpartition(":")[2]
        # releases have a suffix of the distribution (1.fc26) that changelogs leave out
        if line.startswith("* ") and "-" in word and (last == word or last.startswith(f"{word}.")):
            break
        if len(lines) >= CHANGELOG_LINES:
            break
        if line.strip() and not line.startswith("* "):
            lines.append(line.strip())
    return tuple(lines)


def _debian_changelog(repo: Repo, commit: str, old: Package, new: Package) -> tuple[str, ...]:
    """Return what a Debian changelog says of the versions after the old one (deb-changelog(5))."""
    data = repo.read(commit, CHANGELOG.format(name=new.name), most=CHANGELOG_SIZE)
    if data is None:
        return ()
    lines: list[str] = []
    for line in _gunzipped(data).splitlines():
        if re.match(rf"\S+ \({re.escape(old.version)}\)", line) or len(lines) >= CHANGELOG_LINES:
            break
        if line.startswith("  ") and line.strip():
            lines.append(line.strip())
    return tuple(lines)


def _gunzipped(data: bytes) -> str:
    """Return the beginning of a compressed text, as much as is looked at; nothing when it is none."""
    try:
        return (
            zlib.decompressobj(zlib.MAX_WBITS | GZIP)
            .decompress(data, CHANGELOG_SIZE)
            .decode("utf-8", "replace")
        )
    except zlib.error:
        return ""


def _other(old: TreeFacts, new: TreeFacts) -> tuple[str, ...]:
    found = []
    if old.kernel != new.kernel:
        found.append(f"kernel: {old.kernel} -> {new.kernel}")
    if old.initramfs_sha256 and old.initramfs_sha256 != new.initramfs_sha256:
        found.append(
            f"initramfs: rebuilt, {megabytes(old.initramfs_size)} -> {megabytes(new.initramfs_size)}"
        )
    if old.size != new.size:
        found.append(
            f"tree: {megabytes(old.size)} -> {megabytes(new.size)} ({new.size - old.size:+d} bytes),"
            f" {new.files - old.files:+d} paths"
        )
    if old.kernel_arguments and new.kernel_arguments and old.kernel_arguments != new.kernel_arguments:
        found.append(f"kernel arguments: {old.kernel_arguments} -> {new.kernel_arguments}")
    return tuple(found)
