"""Directories of the product and its user, and the time that reproducible builds are given."""

import os
import re
from pathlib import Path

from imagebuild.errors import UsageError


def shared_directory(name: str) -> Path:
    """Return one of the product's data directories (configs, kickstarts, templates), in a checkout or
    installed.
    """
    package = Path(__file__).parent.parent
    installed = package / "share" / name
    return installed if installed.is_dir() else package.parent / name


def template(name: str) -> Path:
    """Return a file below templates/, as `live/init.sh`. A step that reads one names it in `reads`."""
    return shared_directory("templates") / name


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH (reproducible-builds.org): the time that everything made is given. None: the
    commit's.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not re.fullmatch(r"\d{1,12}", text):
        raise UsageError(
            f"SOURCE_DATE_EPOCH={text!r} is not a number of seconds",
            hint="unset it: the commit's own time is used then",
        )
    return int(text) if text else None


def cache_directory() -> Path:
    """Return where expensive inputs are kept between checkouts: the XDG cache directory of the user."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "imagebuild"
