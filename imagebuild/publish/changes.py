"""What changed between two commits: packages, in the classic form of `rpm-ostree db diff`, and everything
else that hosts notice.
"""

from dataclasses import dataclass

from imagebuild.publish.changelogs import Changelogs, changelogs
from imagebuild.publish.facts import TreeFacts, megabytes
from imagebuild.publish.packages import InstalledPackage, Packages, packages_of
from imagebuild.publish.versions import COMPARE
from imagebuild.tools.ostree.repository import Repo


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """One package in two versions, with what its changelog says of the way."""

    name: str
    old: InstalledPackage
    new: InstalledPackage
    changelog: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return NAME OLD_EVR.ARCH -> NEW_EVR.ARCH."""
        return f"{self.name} {self.old.version}.{self.old.arch} -> {self.new.version}.{self.new.arch}"


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a host gets with an upgrade; `other` has what is not a package, a sentence each."""

    old: str
    new: str
    upgraded: tuple[Upgrade, ...] = ()
    downgraded: tuple[Upgrade, ...] = ()
    removed: tuple[InstalledPackage, ...] = ()
    added: tuple[InstalledPackage, ...] = ()
    other: tuple[str, ...] = ()

    def sections(self) -> list[tuple[str, list[str]]]:
        """Return heading -> lines, without empty ones, in the classic order."""
        sections = {
            "Upgraded": self.upgraded,
            "Downgraded": self.downgraded,
            "Removed": self.removed,
            "Added": self.added,
        }
        return [(heading, list(map(str, packages))) for heading, packages in sections.items() if packages]

    def text(self) -> str:
        """Return the diff as announcements had it."""
        lines = [f"ostree diff commit old: {self.old}", f"ostree diff commit new: {self.new}"]
        for heading, entries in self.sections():
            lines += [f"{heading}:", *(f"  {entry}" for entry in entries)]
        if not self.sections():
            lines.append("No packages changed.")
        return "\n".join(lines) + "\n"


def difference(repo: Repo, old: TreeFacts, new: TreeFacts) -> Changes:
    """Compare two commits of one repository. Raises BuildError when a commit or its package database cannot
    be read.
    """
    before, after = packages_of(repo, old.commit), packages_of(repo, new.commit)
    with changelogs(repo, new.commit, after.kind) as said:
        return _compared(old, new, before, after, said)


def _compared(old: TreeFacts, new: TreeFacts, before: Packages, after: Packages, said: Changelogs) -> Changes:
    upgraded: list[Upgrade] = []
    downgraded: list[Upgrade] = []
    removed: list[InstalledPackage] = []
    added: list[InstalledPackage] = []
    for mine, theirs in _pairs(before, after):
        if mine is None and theirs is not None:
            added.append(theirs)
        elif theirs is None and mine is not None:
            removed.append(mine)
        elif mine is not None and theirs is not None:
            if _is_upgrade(mine, theirs, after.kind):
                changelog = said(mine, theirs)
                upgraded.append(Upgrade(name=theirs.name, old=mine, new=theirs, changelog=changelog))
            else:
                downgraded.append(Upgrade(name=theirs.name, old=mine, new=theirs))
    return Changes(
        old=old.commit,
        new=new.commit,
        upgraded=tuple(upgraded),
        downgraded=tuple(downgraded),
        removed=tuple(removed),
        added=tuple(added),
        other=_other(old, new),
    )


def _pairs(
    before: Packages, after: Packages
) -> list[tuple[InstalledPackage | None, InstalledPackage | None]]:
    """Return what differs, sorted by name: (old, new), None where there is none. A package that is there for
    one architecture only may change that too (noarch).
    """
    pairs: list[tuple[InstalledPackage | None, InstalledPackage | None]] = []
    for key in sorted(set(before.installed) | set(after.installed)):
        mine, theirs = before.installed.get(key), after.installed.get(key)
        if mine is None and theirs is not None:
            pairs.append((_only(before, theirs.name, but=after), theirs))
        elif theirs is None and mine is not None:
            # else it stands beside the new one already
            if _only(after, mine.name, but=before) is None:
                pairs.append((mine, None))
        elif mine is not None and theirs is not None and mine.version != theirs.version:
            pairs.append((mine, theirs))
    return pairs


def _is_upgrade(old: InstalledPackage, new: InstalledPackage, kind: str) -> bool:
    """Return whether the new package is not older; one of another architecture always counts as newer."""
    return old.arch != new.arch or COMPARE[kind](old.version, new.version) <= 0


def _only(packages: Packages, name: str, *, but: Packages) -> InstalledPackage | None:
    """Return the one package of that name whose architecture is not in `but`: it went from one architecture
    to another.
    """
    candidates = [
        package
        for package in packages.installed.values()
        if package.name == name and (name, package.arch) not in but.installed
    ]
    return candidates[0] if len(candidates) == 1 else None


def _other(old: TreeFacts, new: TreeFacts) -> tuple[str, ...]:
    sentences = []
    if old.kernel != new.kernel:
        sentences.append(f"kernel: {old.kernel} -> {new.kernel}")
    if old.initramfs_sha256 and old.initramfs_sha256 != new.initramfs_sha256:
        sentences.append(
            f"initramfs: rebuilt, {megabytes(old.initramfs_size)} -> {megabytes(new.initramfs_size)}"
        )
    if old.size != new.size:
        sentences.append(
            f"tree: {megabytes(old.size)} -> {megabytes(new.size)} ({new.size - old.size:+d} bytes),"
            f" {new.files - old.files:+d} paths"
        )
    if old.kernel_arguments and new.kernel_arguments and old.kernel_arguments != new.kernel_arguments:
        sentences.append(f"kernel arguments: {old.kernel_arguments} -> {new.kernel_arguments}")
    return tuple(sentences)
