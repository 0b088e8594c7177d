"""A directory, by another name."""

from pathlib import Path
from urllib.parse import urlsplit

from imagebuild.destinations.destination import Scheme
from imagebuild.destinations.local import Directory

RECORD = Scheme(
    name="nowhere",
    form="nowhere:///PATH",
    accepts=lambda parts: not parts.netloc,
    open=lambda url: Directory(Path(urlsplit(url).path)),
)
