"""Licences of packages, as SPDX expressions: those that SPDX does not list become references, with
the words that the package has for them.

Sources: Debian's machine-readable copyright files (copyright-format 1.0, "License field": short names),
RPM's License tag (SPDX in Fedora since 38, Fedora's own short names before), SPDX 2.3, annex D.
"""

import functools
import io
import logging
import re
from collections.abc import Iterable

from debian.copyright import Copyright, NotMachineReadableError
from license_expression import ExpressionError, Licensing, ParseError, get_spdx_licensing

# copyright-format 1.0, "Short name": what is called otherwise than in SPDX's list, `+` aside
DEBIAN = {
    "Apache-2": "Apache-2.0",
    "Artistic": "Artistic-1.0-Perl",
    "BSD-2-clause": "BSD-2-Clause",
    "BSD-3-clause": "BSD-3-Clause",
    "BSD-4-clause": "BSD-4-Clause",
    "CC0": "CC0-1.0",
    "Expat": "MIT",
    "GFDL-1.2": "GFDL-1.2-only",
    "GFDL-1.3": "GFDL-1.3-only",
    "X11": "X11",
    "zlib": "Zlib",
}
# fedora-license-data, legacy-abbreviation: those that a host's base has
FEDORA = {
    "ASL 2.0": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "GPLv2": "GPL-2.0-only",
    "GPLv2+": "GPL-2.0-or-later",
    "GPLv3": "GPL-3.0-only",
    "GPLv3+": "GPL-3.0-or-later",
    "ISC": "ISC",
    "LGPLv2": "LGPL-2.0-only",
    "LGPLv2+": "LGPL-2.1-or-later",
    "LGPLv3+": "LGPL-3.0-or-later",
    "MIT": "MIT",
    "MPLv2.0": "MPL-2.0",
    "zlib": "Zlib",
}
GNU = re.compile(r"(A?GPL|LGPL|GFDL)-(\d)(?:\.(\d))?(\+)?")
REFERENCE = "LicenseRef-"
# a copyright file that is longer holds texts of licences beyond all measure
LARGEST = 1 << 20


@functools.cache
def _spdx() -> Licensing:
    return get_spdx_licensing()


def of_copyright(data: bytes) -> str:
    """Return the SPDX expression of a package's copyright file; empty when no program can read it."""
    if len(data) > LARGEST:
        return ""
    # python-debian tells of each oddity
    logging.getLogger("debian.copyright").setLevel(logging.ERROR)
    try:
        found = Copyright(io.StringIO(data.decode("utf-8", "replace")), strict=False)
        said = [str(getattr(each.license, "synopsis", "")) for each in found.all_files_paragraphs()]
    except (NotMachineReadableError, ValueError, TypeError):
        return ""
    return _all_of(dict.fromkeys(name.strip() for name in said if name.strip()))


def of_tag(tag: str) -> str:
    """Return the SPDX expression of an RPM's License tag; empty for none."""
    tag = " ".join(tag.split())
    if not tag or tag == "(none)":
        return ""
    return _all_of([tag])


def references(expression: str) -> list[str]:
    """Return the references in an expression, each once."""
    return list(dict.fromkeys(re.findall(rf"{REFERENCE}[A-Za-z0-9.-]+", expression)))


def _all_of(names: Iterable[str]) -> str:
    found = [_expression(name) for name in names]
    joined = " AND ".join(f"({each})" if " " in each and len(found) > 1 else each for each in found)
    # the same licence is named once; `simplify` sorts, so that the same licences give the same words
    return str(_spdx().parse(joined).simplify()) if joined else ""


def _expression(name: str) -> str:
    if _is_spdx(name):
        return name
    words = re.split(r"(\s+(?:and|or|AND|OR)\s+|[()])", name)
    translated = "".join(
        f" {word.strip().upper()} " if re.fullmatch(r"\s+(?:and|or|AND|OR)\s+", word)
        else word if word in ("", "(", ")") or not word.strip() else _one(word.strip())
        for word in words
    )  # fmt: skip
    return translated if "," not in name and _can_be_read(translated) else reference(name)


def _one(name: str) -> str:
    known = DEBIAN.get(name) or FEDORA.get(name)
    if known is not None:
        return known
    gnu = GNU.fullmatch(name)
    if gnu is not None:
        spelt = f"{gnu[1]}-{gnu[2]}.{gnu[3] or 0}-{'or-later' if gnu[4] else 'only'}"
        return spelt if _is_spdx(spelt) else reference(name)
    return name if _is_spdx(name) else reference(name)


def reference(name: str) -> str:
    """Return a reference for words that SPDX's list does not have."""
    return REFERENCE + (re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")[:80] or "unknown")


def _is_spdx(expression: str) -> bool:
    try:
        return _spdx().parse(expression, validate=True, strict=True) is not None
    except (ExpressionError, ParseError):
        return False


def _can_be_read(expression: str) -> bool:
    bare = re.sub(rf"{REFERENCE}[A-Za-z0-9.-]+", "MIT", expression)
    return _is_spdx(bare)
