"""What the test's server serves to a host: releases, and a package to layer."""

from dataclasses import dataclass

PACKAGE = "imagebuild-layered"


@dataclass(frozen=True, kw_only=True)
class ServedRelease:
    """A commit that the server can have the ref point at. `initramfs` is the mark that its initramfs leaves;
    empty for none.
    """

    commit: str
    version: str
    initramfs: str = ""
