"""What the changelog of a package says of the way from one version to another: rpm's database, or
/usr/share/doc of a Debian tree.
"""

import contextlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from debian.changelog import Changelog, ChangelogParseError

from imagebuild.publish.packages import RPM, InstalledPackage, extracted
from imagebuild.tools import command
from imagebuild.tools.ostree.repository import Repo

CHANGELOG = "usr/share/doc/{name}/changelog.Debian.gz"
CHANGELOG_LINES = 12
CHANGELOG_SIZE = 1 << 20
# zlib.h, inflateInit2: 16 is added for a gzip header
GZIP = 16

# (old package, new one) -> lines
Changelogs = Callable[[InstalledPackage, InstalledPackage], tuple[str, ...]]


@contextlib.contextmanager
def changelogs(repo: Repo, commit: str, kind: str) -> Iterator[Changelogs]:
    """Yield what says what changed in a package, where the tree has changelogs: rpm's database, or
    /usr/share/doc of a Debian tree.
    """
    if kind == "dpkg":
        yield lambda old, new: _debian_changelog(repo, commit, old, new)
        return
    for path in RPM:
        names = repo.listing(commit, path)
        if names and command.find("rpm") is not None:
            with extracted(repo, commit, path, names) as place:
                yield lambda old, new: _rpm_changelog(place, old, new)
            return
    yield lambda _old, _new: ()


def _rpm_changelog(place: Path, old: InstalledPackage, new: InstalledPackage) -> tuple[str, ...]:
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


def _debian_changelog(
    repo: Repo, commit: str, old: InstalledPackage, new: InstalledPackage
) -> tuple[str, ...]:
    """Return what a Debian changelog says of the versions after the old one (deb-changelog(5))."""
    data = repo.read(commit, CHANGELOG.format(name=new.name), most=CHANGELOG_SIZE)
    if data is None:
        return ()
    changelog = Changelog()
    # what stands before the damage counts
    with contextlib.suppress(ChangelogParseError):
        changelog.parse_changelog(_gunzipped(data), max_blocks=CHANGELOG_LINES, strict=True)
    lines: list[str] = []
    for block in changelog:
        if str(block.version) == old.version:
            break
        lines += [line.strip() for line in block.changes() if line.strip()]
    return tuple(lines[:CHANGELOG_LINES])


def _gunzipped(data: bytes) -> str:
    """Return the beginning of a compressed text, as much as is read; nothing when it is not compressed."""
    try:
        return (
            zlib.decompressobj(zlib.MAX_WBITS | GZIP)
            .decompress(data, CHANGELOG_SIZE)
            .decode("utf-8", "replace")
        )
    except zlib.error:
        return ""
