"""What a key of a configuration may hold: sizes, names, addresses, paths; each type refuses what is not one,
in a sentence.
"""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from imagebuild import files

MIB = 1024 * 1024
UNITS = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}


def mebibytes(value: object) -> object:
    """Return MiB of a number, or of text such as `6 GiB`. Raises ValueError."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)\s*(MiB|GiB|TiB)", value.strip())
        if match is None:
            raise ValueError("give a size as a number of MiB or as text such as '6 GiB'")
        return int(match.group(1)) * UNITS[match.group(2)]
    return value


def plain(value: str) -> str:
    """Return plain text as it is. Raises ValueError for what a path, a shell or a page would take
    otherwise.
    """
    if re.search(r"[\x00-\x1f\x7f/<>&\"'`$\\]", value) or value.startswith("-") or not value.strip():
        raise ValueError(
            "must be plain text: no path separator, quotes, control or markup characters, and no '-' in front"
        )
    return value


def file_url(value: object) -> object:
    """Quote what a person wrote as it is: in a file:// address nothing but a path can be meant."""
    local = (
        isinstance(value, str)
        and value.startswith(f"{files.FILE_URL}/")
        and "${" not in value
        and not re.search(r"[\x00-\x1f\x7f]", value)
    )
    return files.url(files.path_of(str(value))) if local else value


def parsed(value: str) -> str:
    """Refuse what every library that is asked for it would: half an IPv6 address, a port that is none,
    nobody's name.
    """
    parts = urlsplit(value)
    if parts.scheme != "file" and (not parts.hostname or (parts.port is not None and parts.port < 1)):
        raise ValueError("names no host")
    return value


Mebibytes = Annotated[int, BeforeValidator(mebibytes), Field(gt=0)]
Name = Annotated[str, BeforeValidator(lambda value: plain(value) if isinstance(value, str) else value)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Url = Annotated[
    str,
    BeforeValidator(file_url),
    Field(pattern=r"^(https?://|file:///|file://\$\{store\}/)[^\s'\"\\`$]*(\$\{store\}[^\s'\"\\`$]*)?$"),
    AfterValidator(parsed),
]
# OSTREE_REF_REGEXP (ostree 2022.7, src/libostree/ostree-core-private.h) takes dots, too, but the name is a
# path below refs/
Ref = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")]
# an id of a .repo file's section (libdnf, Repo::verifyId), or a pattern of them, as lorax takes them
# (src/pylorax/dnfbase.py: get_matching, GLOB)
RepoPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:*?\[][A-Za-z0-9_.:*?\[\]!-]*$")]
AbsolutePath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*$")]
TreePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._@+-]+)*$")]


class Model(BaseModel):
    """Frozen, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Percent = Annotated[float, Field(ge=0, le=1000)]
