"""Which variables lorax gives to templates, by its version, and which nobody else may set.

Read in lorax 24.0 … 46.0: src/pylorax/treebuilder.py (RuntimeBuilder.vars, TreeBuilder.vars),
src/pylorax/ltmpl.py (the runner's builtins). A variable of the configuration with the name of one of these
would win (ltmpl.py, `variables.setdefault`): lorax' own templates and ours would work in another root, or on
another product.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

Version = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class VersionSpan:
    """From which version on a variable is given, and from which on it is not any more; branches (a version's
    beginning) have their own.
    """

    since: Version = ()
    until: Version = ()
    branches: Mapping[Version, Version] | None = None

    def covers(self, version: Version) -> bool:
        """Whether a version of lorax gives it."""
        first = next(
            (since for branch, since in (self.branches or {}).items() if version[: len(branch)] == branch),
            self.since,
        )
        return version >= first and not (self.until and version >= self.until)


ALWAYS = VersionSpan()
# RHEL's branches: 28.14.x (8), 34.9.x (9)
RUNTIME = {
    **dict.fromkeys(("arch", "product", "dbo", "root", "basearch", "exists", "glob"), ALWAYS),
    "libdir": VersionSpan(until=(43, 5)),
    "branding": VersionSpan(since=(34, 11), branches={(28, 14): (28, 14, 69), (34, 9): (34, 9, 1)}),
}
ARCH = {
    **dict.fromkeys(
        (
            "arch",
            "product",
            "runtime_img",
            "runtime_base",
            "inroot",
            "outroot",
            "basearch",
            "isolabel",
            "udev",
            "exists",
        ),
        ALWAYS,
    ),
    **dict.fromkeys(("domacboot", "doupgrade", "workdir", "lower", "glob"), ALWAYS),
    "libdir": VersionSpan(until=(43, 5)),
    "extra_boot_args": VersionSpan(since=(29, 28), branches={(28, 14): (28, 14, 25)}),
}
# Mako's own (codegen.py, RESERVED_NAMES; runtime.py), and arguments of LoraxTemplateRunner.run and
# Template.render
TAKEN = frozenset(
    {
        "context",
        "loop",
        "caller",
        "self",
        "parent",
        "local",
        "next",
        "UNDEFINED",
        "STOP_RENDERING",
        "capture",
        "pageargs",
        "runtime",
        "templatefile",
    }
)
RESERVED = frozenset(RUNTIME) | frozenset(ARCH) | TAKEN


def given(version: Version | None, *, arch: bool = False) -> frozenset[str]:
    """Return what a lorax gives to templates that run in the installer's root, or (`arch`) before the
    architecture's own.

    Of a version that is not known (None): whatever any gives.
    """
    table = ARCH if arch else RUNTIME
    return frozenset(name for name, span in table.items() if version is None or span.covers(version))


def version_of(text: str) -> Version | None:
    """Return the version in pylorax/version.py (`num = '26.9-1'`; Makefile of 26.9); None when there is
    none.
    """
    match = re.search(r"(\d+(?:\.\d+)*)", text)
    return tuple(int(number) for number in match[1].split(".")) if match else None
