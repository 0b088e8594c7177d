"""What the files of a release are called, before there is one."""

from pathlib import Path

from imagebuild.publish.names import Names, day_of, names_of
from imagebuild.release_line import reading


def names(
    config: Path, store: Path, *, day: str | None, respin: int, arch: str | None = None, nightly: bool = False
) -> Names:
    """Return all names of one compose of a configuration; `day` is YYYYMMDD (None: today, UTC).

    Raises UsageError for what is not a day, or a configuration with errors.
    """
    return names_of(reading.load(config, store), day_of(day), respin, arch=arch, nightly=nightly)
