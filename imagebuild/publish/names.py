"""How a release line names things: compose id, directories, files. The rules are those of Fedora's two-week
releases.

Source: tests/data/fedora/naming-rules.yaml (seen to hold for 200 published paths). The version of the commit
(26.91) and the compose id (Fedora-Atomic-26-20170723.0) are different numbers.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from string import Template

from imagebuild.config import naming
from imagebuild.errors import UsageError
from imagebuild.formats.registry import FORMATS, wanted
from imagebuild.release_line.model import Config

# productmd/images.py: how a format is called there, (type, format); None: productmd has no word for it
PRODUCTMD: dict[str, tuple[str, str] | None] = {
    "qcow2": ("qcow2", "qcow2"),
    "raw.xz": ("raw-xz", "raw.xz"),
    "raw.zst": None,
    "vmdk": ("vmdk", "vmdk"),
    "vagrant-libvirt": ("vagrant-libvirt", "vagrant-libvirt.box"),
    "vagrant-virtualbox": ("vagrant-virtualbox", "vagrant-virtualbox.box"),
    "iso": ("dvd-ostree", "iso"),
}
# aarch64 and ppc64le had no boxes (naming-rules.yaml, vagrant_arches)
VAGRANT_ARCHES = ("x86_64",)
ISO, IMAGES, OS = "iso", "images", "os"


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file of a release: its path below the release directory, what made it, its format (a key of
    PRODUCTMD), its variant.
    """

    path: str
    image: str
    format: str
    variant: str


@dataclass(frozen=True, kw_only=True)
class Names:
    """Every name of one compose of one architecture. `date` is YYYYMMDD."""

    compose_id: str
    date: str
    respin: int
    nightly: bool
    arch: str
    downloads: tuple[Download, ...]
    checksums: tuple[str, ...]
    product: str
    release: str

    @property
    def label(self) -> str:
        """The number in file names: DATE.RESPIN, or DATE.n.RESPIN of a nightly."""
        return _label(self.date, self.respin, nightly=self.nightly)

    @property
    def manifest(self) -> str:
        """The signed list of everything that is in no CHECKSUM of a variant's directory: page, metadata,
        evidence.
        """
        return f"{self.compose_id}-{self.arch}-CHECKSUM"

    @property
    def os_tree(self) -> str:
        """The directory of the installation tree, VARIANT/ARCH/os (pungi, paths.compose.os_tree); empty when
        there is no ISO.
        """
        return next((f"{each.variant}/{self.arch}/{OS}" for each in self.downloads if each.format == ISO), "")

    def paths(self) -> tuple[str, ...]:
        """Return every path of downloads and their CHECKSUM files, sorted."""
        return tuple(sorted([*(each.path for each in self.downloads), *self.checksums]))

    def checksum_of(self, path: str) -> str:
        """Return the CHECKSUM file that has a path."""
        directory = path.rpartition("/")[0]
        return next((each for each in self.checksums if each.rpartition("/")[0] == directory), self.manifest)


def names_of(
    config: Config, day: str, respin: int, *, arch: str | None = None, nightly: bool = False
) -> Names:
    """Return all names of one compose. Raises UsageError for a day that is none, or a name that would leave
    its directory.
    """
    check_day(day)
    if respin < 0:
        raise UsageError(f"{respin} is no respin number", hint="they are 0, 1, 2, …")
    chosen = arch or config.arch
    if not naming.is_arch(chosen):
        raise UsageError(f"{chosen!r} is no architecture", hint="x86_64, aarch64, ppc64le")
    label, variants = _label(day, respin, nightly=nightly), config.publish.variants
    found: list[Download] = []
    if config.installer is not None:
        # VARIANT/ARCH/iso/NAME-ARCH-RELEASE-DATE.RESPIN.iso
        file = f"{config.installer.name}-{chosen}-{config.release}-{label}.iso"
        found.append(
            Download(
                path=f"{variants.iso}/{chosen}/{ISO}/{file}",
                image="installer",
                format="iso",
                variant=variants.iso,
            )
        )
    for name, image in config.images.items():
        for kind in wanted(image.formats):
            if kind.startswith("vagrant") and chosen not in VAGRANT_ARCHES:
                continue
            # VARIANT/ARCH/images/NAME-RELEASE-DATE.RESPIN.ARCH.SUFFIX
            file = f"{image.name}-{config.release}-{label}.{chosen}.{suffix(kind)}"
            found.append(
                Download(
                    path=f"{variants.images}/{chosen}/{IMAGES}/{file}",
                    image=name,
                    format=kind,
                    variant=variants.images,
                )
            )
    places = dict.fromkeys((each.variant, each.path.rpartition("/")[0]) for each in found)
    # PRODUCT-VARIANT-RELEASE-DATE.RESPIN-ARCH-CHECKSUM; with iso and images in one variant two directories
    # have the same name in them
    checksums = [
        f"{place}/{naming.short(config.product)}-{variant}-{config.release}-{label}-{chosen}-CHECKSUM"
        for variant, place in places
    ]
    return Names(
        compose_id=compose_id(config, day, respin, nightly=nightly),
        date=day,
        respin=respin,
        nightly=nightly,
        arch=chosen,
        downloads=tuple(found),
        checksums=tuple(checksums),
        product=config.product,
        release=config.release,
    )


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
    """Raise UsageError when text is no day as compose ids have it."""
    try:
        valid = (
            bool(re.fullmatch(r"[0-9]{8}", day))
            and date(int(day[:4]), int(day[4:6]), int(day[6:])) is not None
        )
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"{day!r} is no day", hint="give it as YYYYMMDD, such as 20170707")


def suffix(kind: str) -> str:
    """Return the suffix of a format's files."""
    assert kind in FORMATS or kind == "iso", kind
    return f"{kind}.box" if kind.startswith("vagrant") else kind


def in_order(downloads: Iterable[Download]) -> list[Download]:
    """Return downloads as a page shows them: the ISO, then disks, then boxes."""
    order = list(PRODUCTMD)
    return sorted(downloads, key=lambda each: (each.format != "iso", order.index(each.format), each.path))


def _label(day: str, respin: int, *, nightly: bool) -> str:
    return f"{day}.n.{respin}" if nightly else f"{day}.{respin}"
