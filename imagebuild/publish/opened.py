"""The commit inside of every image: each is opened as its users would open it, read-only and without root."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.formats.registry import FORMATS
from imagebuild.installers import check as iso_check
from imagebuild.publish.facts import DownloadFacts, Facts
from imagebuild.publish.findings import ProblemKind, Verification
from imagebuild.publish.names import ISO
from imagebuild.tools import accelerator, guestfs
from imagebuild.tools.qemu import disk_image

APPLIANCE_MEMORY = 768
STAGE2 = "root file system"
# path in the release -> its content here, None when it is not what was signed
Fetched = Mapping[str, Path | None]


@dataclass
class _Opener:
    """Opens images: `cache` of the appliance, whether it has to be emulated, and the disk that later ones are
    compared with: what is the same byte by byte needs no second look.
    """

    commit: str
    cache: Path
    emulate: bool
    reference: tuple[Path, str] | None = None

    def commits(self, file: Path, kind: str, work: Path) -> list[str]:
        """Return the commits in an image. Raises BuildError."""
        return commits_in(iso_check.look_into(file, work)) if kind == ISO else self._on_disk(file, kind, work)

    def _on_disk(self, file: Path, kind: str, work: Path) -> list[str]:
        unpacked = FORMATS[kind].unpack(file, work)
        disk_image.refuse_outside(unpacked.disk, unpacked.format, what=file.name)
        if (
            self.reference is not None
            and disk_image.compare(unpacked.disk, unpacked.format, *self.reference)[0]
        ):
            return [self.commit]
        commits = guestfs.deployed(
            unpacked.disk,
            unpacked.format,
            cache=self.cache,
            emulate=self.emulate,
            memory=APPLIANCE_MEMORY,
            sector_size=unpacked.sector_size,
        )
        if self.reference is None and commits == [self.commit]:
            self.reference = (unpacked.disk, unpacked.format)
        return commits

    def needs(self, work: Path) -> bool:
        """Return whether what was unpacked there is compared with later."""
        return self.reference is not None and self.reference[0].is_relative_to(work)


def check_images(known: Facts, fetched: Fetched, cache: Path, result: Verification, work: Path) -> None:
    """Open every image: each must hold exactly the released commit. `cache`: directory of the appliance, and
    of what is known of this machine.
    """
    if (reason := guestfs.missing()) is not None:
        result.not_opened = reason
        says = f"images could not be opened: {reason} ({guestfs.HINT}); --no-images leaves them out"
        result.add(ProblemKind.IMAGE, "", says)
        return
    check_stage2(known, fetched, result, work)
    emulate = accelerator.probe(cache).name == "tcg"
    opener = _Opener(commit=known.tree.commit, cache=cache / "guestfs", emulate=emulate)
    for number, download in enumerate(known.downloads):
        file = fetched.get(download.path)
        if file is not None:
            _check_image(download, file, opener, result, work / "unpacked" / str(number))


def _check_image(
    download: DownloadFacts, file: Path, opener: _Opener, result: Verification, work: Path
) -> None:
    if download.format != ISO and download.format not in FORMATS:
        says = f"is a {download.format}, which this version does not know"
        result.add(ProblemKind.IMAGE, download.path, says)
        return
    work.mkdir(parents=True)
    try:
        commits = opener.commits(file, download.format, work)
    except BuildError as error:
        result.add(ProblemKind.IMAGE, download.path, error.message)
        return
    _compare(download.path, commits, opener.commit, result)
    if not opener.needs(work):
        shutil.rmtree(work)


def check_stage2(known: Facts, fetched: Fetched, result: Verification, work: Path) -> None:
    """What is fetched over the network must install the released commit, too."""
    path = known.os_tree.get(STAGE2, "")
    file = fetched.get(path)
    if file is None:
        return
    unpacked = work / "unpacked" / "stage2"
    unpacked.mkdir(parents=True)
    try:
        commits = commits_in(iso_check.embedded(file, 0, unpacked))
    except BuildError as error:
        result.add(ProblemKind.IMAGE, path, error.message)
        return
    _compare(path, commits, known.tree.commit, result)


def commits_in(description: Mapping[str, object]) -> list[str]:
    """Return the commits that a look into an installer medium has found."""
    commits = description.get("commits")
    return list(map(str, commits)) if isinstance(commits, list) else []


def _compare(path: str, commits: list[str], released: str, result: Verification) -> None:
    result.images[path] = commits
    if commits != [released]:
        says = f"holds {', '.join(commits) or 'no commit'}, not {released}"
        result.add(ProblemKind.IMAGE, path, says)
