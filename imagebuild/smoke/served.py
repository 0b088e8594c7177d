"""What the test's server serves to a host: releases, and a package to layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "imagebuild-layered"


@dataclass(frozen=True, kw_only=True)
class ServedRelease:
    """A commit that the server can have a ref point at. `initramfs` is the mark that its initramfs leaves;
    empty for none. `ref` is that of another release line; empty for the candidate's.
    """

    commit: str
    version: str
    initramfs: str = ""
    ref: str = ""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Releases that hosts come from, besides the one before: `slept` by the names of their cells, the last of
    the release line before (`line`, None for none), and directories of static deltas to the candidate, by the
    commits they come from.
    """

    slept: Mapping[str, ServedRelease] = field(default_factory=dict)
    line: ServedRelease | None = None
    deltas: Mapping[str, Path] = field(default_factory=dict)
