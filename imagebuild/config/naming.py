"""What a release line may be called: what `config` accepts here, the end of the job accepts (names, metadata,
signatures, promotion).

The rules of metadata are productmd's own, asked rather than repeated (productmd 1.51: composeinfo.py,
treeinfo.py, common.py); those of files are what CHECKSUM lists, addresses and file systems bear
(publish/checksum.py, publish/verify.py; NAME_MAX of limits.h).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from string import Template

from productmd.common import RPM_ARCHES
from productmd.composeinfo import Compose, ComposeInfo, Variant
from productmd.treeinfo import TreeInfo
from productmd.treeinfo import Variant as TreeVariant

# a name of a file or directory of a release: stands in a CHECKSUM list, in an address, in a shell, and is no
# option
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# a compose id besides that is asked for by `verify` before anything is believed
COMPOSE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST = 255
# what the longest name of a release has besides a compose id, or besides name and release: .partial, -ARCH-
# CHECKSUM, .vagrant-virtualbox.box.sig
ID_REST = len("-loongarch64-CHECKSUM.partial")
FILE_REST = len("--99991231.n.99999.loongarch64.vagrant-virtualbox.box.sig")
# directories of a release that are not a variant's
TAKEN = frozenset({"metadata", "evidence"})
# what productmd knows as an architecture, but no release is of
NO_MACHINES = frozenset({"src", "nosrc", "noarch"})
LETTERS = "letters, digits and . _ + -, a letter or digit in front"
DAY = "20261126"


@dataclass(frozen=True, kw_only=True)
class NameParts:
    """What names are made of. `variants` and `names` have the key of the configuration that says it;
    `formats` likewise, of each name.

    `compose` and `nightly` are templates of compose ids; `installer_variant` is None where no ISO is made.
    """

    product: str
    release: str
    arch: str
    arches: tuple[str, ...]
    compose: str
    nightly: str
    variants: Mapping[str, str]
    names: Mapping[str, str]
    formats: Mapping[str, frozenset[str]]
    installer_variant: str | None


def short(product: str) -> str:
    """Return a product's short name, which stands in metadata (release.short) and in the names of files
    (pungi, media_checksums).
    """
    return product.replace(" ", "")


def check(line: NameParts) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong with it) for everything that would be refused at the end of the job."""
    yield from _product(line)
    yield from _release(line)
    yield from _compose_ids(line)
    yield from _variants(line)
    yield from _files(line)
    yield from _arches(line)


def is_arch(name: str) -> bool:
    """Whether releases may be of an architecture: one that productmd knows, written as `verify` reads it."""
    return name in RPM_ARCHES and name not in NO_MACHINES


def _refused(validate: Callable[[], object]) -> str | None:
    """Return what productmd has against a value; None for nothing."""
    try:
        validate()
    except (ValueError, TypeError) as error:
        return f"productmd refuses it: {error}"
    return None


def _product(line: NameParts) -> Iterator[tuple[str, str]]:
    if not FILE.fullmatch(short(line.product)):
        yield "product", f"is in names of files, where only blanks are left out: {LETTERS}"
    if line.product != line.product.strip():
        # configparser, which .treeinfo is written with, strips values: `verify` would read another product
        yield "product", "has blanks at its ends, which metadata loses"


def _release(line: NameParts) -> Iterator[tuple[str, str]]:
    # .treeinfo asks for the same, and is made long before
    info = ComposeInfo().release
    info.name, info.short, info.version, info.type = line.product, short(line.product), line.release, "ga"
    says = _refused(info.validate)
    if says:
        yield "release", f"{says}; write a number (9, 9.1), or begin with a letter (stream9)"


def _compose_ids(line: NameParts) -> Iterator[tuple[str, str]]:
    for key, template, kind in (
        ("compose", line.compose, "production"),
        ("nightly", line.nightly, "nightly"),
    ):
        name = _compose_id(line, template)
        says = _wrong_id(name, kind)
        # the template is at fault when it would be wrong with any product
        if says and not _wrong_id(_compose_id(line, template, product="Product"), kind):
            yield "product", f"{says}: write publish.{key} without ${{product}}"
        elif says:
            yield f"publish.{key}", says
    release, nightly = _pattern(line, line.compose), _pattern(line, line.nightly)
    if release.fullmatch(_compose_id(line, line.nightly)) or nightly.fullmatch(
        _compose_id(line, line.compose)
    ):
        yield (
            "publish.nightly",
            "nightlies would have the names of releases: they must be told apart by their compose ids",
        )


def _wrong_id(name: str, kind: str) -> str | None:
    if not COMPOSE_ID.fullmatch(name):
        return (
            f"the compose id would be {name!r}, but those have letters, digits and . _ - only, a letter or"
            " digit in front"
        )
    if len(name) + ID_REST > LONGEST:
        return f"the compose id would be {name!r}, which is too long for the files that are named after it"
    return _refused(_compose(name, kind).validate)


def _compose_id(line: NameParts, template: str, product: str | None = None) -> str:
    # a respin of many digits: what is long enough for it is never too short
    return Template(template).safe_substitute(
        product=product or line.product, release=line.release, date=DAY, respin="99999"
    )


def _pattern(line: NameParts, template: str) -> re.Pattern[str]:
    escaped = re.escape(template).replace(r"\$\{", "${").replace(r"\}", "}")
    values = {
        "product": re.escape(line.product),
        "release": re.escape(line.release),
        "date": r"\d{8}",
        "respin": r"\d+",
    }
    return re.compile(Template(escaped).safe_substitute(values), re.ASCII)


def _compose(name: str, kind: str) -> Compose:
    compose = ComposeInfo().compose
    compose.id, compose.date, compose.respin, compose.type = name, DAY, 0, kind
    return compose


def _variants(line: NameParts) -> Iterator[tuple[str, str]]:
    for key, name in line.variants.items():
        variant = Variant(ComposeInfo())
        variant.id = variant.uid = variant.name = name
        variant.type, variant.arches = "variant", {line.arch}
        says = _refused(variant.validate)
        if not says and name in TAKEN:
            says = f"a release has {', '.join(sorted(TAKEN))} of its own"
        if says:
            yield key, f"{says}; write it with letters and digits only, such as AtomicHost"
    if line.installer_variant is not None:
        # product and release have keys of their own
        says = _refused(lambda: treeinfo("Product", "1", line.installer_variant or "", line.arch, 1).dumps())
        if says:
            yield "installer.variant", f"{says} (.treeinfo has its letters and digits)"


def treeinfo(product: str, release: str, variant: str, arch: str, epoch: int) -> TreeInfo:
    """Return productmd's description of an installation tree without its files; `epoch` is its time.

    Raises ValueError: a variant without letters and digits.
    """
    info = TreeInfo()
    info.release.name, info.release.short, info.release.version = product, short(product), release
    # 0 passes for no time (common.py, _assert_not_blank)
    info.tree.arch, info.tree.build_timestamp = arch, epoch or 1
    info.tree.platforms.add(arch)
    inner = TreeVariant(info)
    inner.id = inner.uid = inner.name = re.sub(r"[^A-Za-z0-9]", "", variant)
    inner.type = "variant"
    if not inner.id:
        raise ValueError(f"a variant needs a letter or digit, not {variant!r}")
    info.variants.add(inner)
    return info


def _files(line: NameParts) -> Iterator[tuple[str, str]]:
    taken: dict[tuple[str, str], str] = {}
    for key, name in line.names.items():
        if not FILE.fullmatch(name):
            yield key, f"is the beginning of names of files: {LETTERS}"
        if len(name) + len(line.release) + FILE_REST > LONGEST:
            yield key, "is too long for the names of files that it begins"
        for kind in sorted(line.formats[key]):
            other = taken.setdefault((name, kind), key)
            if other != key:
                yield key, f"its {kind} would have the name of that of {other}"


def _arches(line: NameParts) -> Iterator[tuple[str, str]]:
    unknown = [arch for arch in line.arches if not is_arch(arch)]
    if unknown:
        yield "publish.arches", f"productmd does not know the architecture {', '.join(unknown)}"
    if line.arch not in line.arches:
        yield (
            "publish.arches",
            f"lacks {line.arch}, which this configuration builds: it could not be promoted",
        )
