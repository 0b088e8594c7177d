"""What heads the columns of a matrix: a short name for each artifact."""

import re
from collections import Counter
from collections.abc import Collection

from imagebuild.formats.registry import FILE_KINDS

# how a file's name ends -> what people call it
ENDINGS = {f".{kind.suffix}": kind.column or kind.suffix for kind in FILE_KINDS.values()}
DISK = "disk "


def short_names(artifacts: Collection[str]) -> dict[str, str]:
    """Return artifact -> a name of a word or two; two of one kind are told apart by the image they are of."""
    names: dict[str, str] = {}
    for make in (_kind_of, lambda artifact: f"{_image_of(artifact)} {_kind_of(artifact)}", str):
        count = Counter(names.values())
        names |= {artifact: make(artifact) for artifact in artifacts if count[names.get(artifact, "")] != 1}
    return names


def _kind_of(artifact: str) -> str:
    """Return what kind of file an artifact is; an installed disk is called by its image."""
    if artifact.startswith(DISK):
        return f"{artifact.removeprefix(DISK)} disk"
    return next((kind for ending, kind in ENDINGS.items() if artifact.endswith(ending)), artifact)


def _image_of(artifact: str) -> str:
    """Return the part of a file's name that stands before its version."""
    return re.split(r"-\d", artifact, maxsplit=1)[0]
