"""How a release line names things: compose id, directories, files. The rules are those of Fedora's two-week
releases.

Source: tests/data/fedora/naming-rules.yaml (seen to hold for 200 published paths). The version of the commit
(26.91) and the compose id (Fedora-Atomic-26-20170723.0) are different numbers.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from string import Template

from imagebuild.architectures.registry import ARCHITECTURES
from imagebuild.config import naming
from imagebuild.errors import UsageError
from imagebuild.formats.registry import FILE_KINDS
from imagebuild.publish.layout import Layout, manifest_of
from imagebuild.release_line.model import Config

ISO, IMAGES, OS = "iso", "images", "os"


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file of a release: its path below the release directory, what made it, its format (a key of
    FILE_KINDS), its variant.
    """

    path: str
    image: str
    format: str
    variant: str


@dataclass(frozen=True, kw_only=True)
class Names:
    """Every name of one compose of one architecture. `date` is YYYYMMDD; `joint`: the compose may have
    others, too.
    """

    compose_id: str
    date: str
    respin: int
    nightly: bool
    arch: str
    downloads: tuple[Download, ...]
    checksums: tuple[str, ...]
    product: str
    release: str
    joint: bool = False

    @property
    def layout(self) -> Layout:
        """Where the files of this architecture lie."""
        return Layout(arch=self.arch, joint=self.joint)

    @property
    def label(self) -> str:
        """The number in file names: DATE.RESPIN, or DATE.n.RESPIN of a nightly."""
        return _label(self.date, self.respin, nightly=self.nightly)

    @property
    def manifest(self) -> str:
        """The signed list of everything that is in no CHECKSUM of a variant's directory: page, metadata,
        evidence.
        """
        return manifest_of(self.compose_id, self.arch)

    @property
    def os_tree(self) -> str:
        """The directory of the installation tree, VARIANT/ARCH/os (pungi, paths.compose.os_tree); empty when
        there is no ISO.
        """
        variants = (download.variant for download in self.downloads if download.format == ISO)
        return next((f"{variant}/{self.arch}/{OS}" for variant in variants), "")

    def paths(self) -> tuple[str, ...]:
        """Return every path of downloads and their CHECKSUM files, sorted."""
        return tuple(sorted([*(download.path for download in self.downloads), *self.checksums]))

    def checksum_of(self, path: str) -> str:
        """Return the CHECKSUM file that has a path."""
        directory = path.rpartition("/")[0]
        lists = (file for file in self.checksums if file.rpartition("/")[0] == directory)
        return next(lists, self.manifest)


def names_of(
    config: Config, day: str, respin: int, *, arch: str | None = None, nightly: bool = False
) -> Names:
    """Return all names of one compose. Raises UsageError for what is not a day, or a name that would leave
    its directory.
    """
    check_day(day)
    if respin < 0:
        raise UsageError(f"{respin} is not a respin number", hint="they are 0, 1, 2, …")
    chosen = arch or config.arch
    if not naming.is_arch(chosen):
        raise UsageError(f"{chosen!r} is not an architecture", hint=f"there are: {', '.join(ARCHITECTURES)}")
    label = _label(day, respin, nightly=nightly)
    downloads = [*_installer(config, chosen, label), *_images(config, chosen, label)]
    return Names(
        compose_id=compose_id(config, day, respin, nightly=nightly),
        date=day,
        respin=respin,
        nightly=nightly,
        arch=chosen,
        downloads=tuple(downloads),
        checksums=tuple(_checksums(config, chosen, label, downloads)),
        product=config.product,
        release=config.release,
        joint=len(config.publish.arches) > 1,
    )


def _installer(config: Config, arch: str, label: str) -> Iterator[Download]:
    """Yield the ISO: VARIANT/ARCH/iso/NAME-ARCH-RELEASE-DATE.RESPIN.iso."""
    if config.installer is not None:
        variant = config.publish.variants.iso
        file = f"{config.installer.name}-{arch}-{config.release}-{label}.{FILE_KINDS[ISO].suffix}"
        yield Download(path=f"{variant}/{arch}/{ISO}/{file}", image="installer", format=ISO, variant=variant)


def _images(config: Config, arch: str, label: str) -> Iterator[Download]:
    """Yield what is made of disks: VARIANT/ARCH/images/NAME-RELEASE-DATE.RESPIN.ARCH.SUFFIX."""
    variant = config.publish.variants.images
    for name, image in config.images.items():
        for kind in (FILE_KINDS[key] for key in image.formats):
            if not kind.arches or arch in kind.arches:
                file = f"{image.name}-{config.release}-{label}.{arch}.{kind.suffix}"
                path = f"{variant}/{arch}/{IMAGES}/{file}"
                yield Download(path=path, image=name, format=kind.name, variant=variant)


def _checksums(config: Config, arch: str, label: str, downloads: Iterable[Download]) -> list[str]:
    """Return the list of each directory: PRODUCT-VARIANT-RELEASE-DATE.RESPIN-ARCH-CHECKSUM; with iso and
    images in one variant two directories have the same name in them.
    """
    directories = dict.fromkeys(
        (download.variant, download.path.rpartition("/")[0]) for download in downloads
    )
    return [
        f"{directory}/{naming.short(config.product)}-{variant}-{config.release}-{label}-{arch}-CHECKSUM"
        for variant, directory in directories
    ]


def compose_id(config: Config, day: str, respin: int, *, nightly: bool) -> str:
    """Return the name of a compose, which is that of its directory."""
    template = config.publish.nightly if nightly else config.publish.compose
    return Template(template).substitute(
        product=config.product, release=config.release, date=day, respin=respin
    )


def pattern_of(config: Config, *, nightly: bool) -> re.Pattern[str]:
    """Return what the names of all composes of a line match; groups `date` and `respin`."""
    template = (
        re.escape(config.publish.nightly if nightly else config.publish.compose)
        .replace(r"\$\{", "${")
        .replace(r"\}", "}")
    )
    values = {"product": re.escape(config.product), "release": re.escape(config.release)}
    return re.compile(
        Template(template).substitute(values, date=r"(?P<date>[0-9]{8})", respin=r"(?P<respin>[0-9]+)")
    )


def day_of(text: str | None) -> str:
    """Return a day as compose ids have it: the given one, or today's (UTC). Raises UsageError."""
    day = text or datetime.now(UTC).strftime("%Y%m%d")
    check_day(day)
    return day


def check_day(day: str) -> None:
    """Raise UsageError when text is not a day as compose ids have it."""
    try:
        valid = (
            bool(re.fullmatch(r"[0-9]{8}", day))
            and date(int(day[:4]), int(day[4:6]), int(day[6:])) is not None
        )
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"{day!r} is not a day", hint="give it as YYYYMMDD, such as 20170707")


def in_order(downloads: Iterable[Download]) -> list[Download]:
    """Return downloads as a page shows them: the ISO, then disks, then boxes."""
    order = list(FILE_KINDS)
    return sorted(downloads, key=lambda download: (order.index(download.format), download.path))


def _label(day: str, respin: int, *, nightly: bool) -> str:
    return f"{day}.n.{respin}" if nightly else f"{day}.{respin}"
