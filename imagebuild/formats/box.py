"""What Vagrant boxes have in common: an archive with metadata.json, written the same way every time, read
with care.
"""

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

from imagebuild.architectures.x86_64 import X86_64
from imagebuild.config.places import shared_directory
from imagebuild.errors import BuildError
from imagebuild.formats.bounded import CheckedInfo

MEMBERS = 16  # a box has a handful
METADATA, OVF = "metadata.json", ".ovf"
# aarch64 and ppc64le had no boxes (naming-rules.yaml, vagrant_arches)
ARCHES = frozenset({X86_64.name})


def describes_machine(members: Collection[str]) -> bool:
    """Whether an archive with these members describes a virtual machine at its top."""
    return any(path.endswith(OVF) and "/" not in path for path in members)


def render(template: str, values: Mapping[str, object]) -> bytes:
    """Return a file of templates/ with its values."""
    # what only reads a configuration does not need it
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    loader = FileSystemLoader(shared_directory("templates"))
    # neither XML nor Ruby of ours holds user input: config names are plain text, the rest are numbers and ids
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=template.endswith(".ovf"),
    )
    return environment.get_template(template).render(values).encode()


def write_archive(
    stream: IO[bytes] | gzip.GzipFile,
    members: Mapping[str, bytes | Path],
    epoch: int,
    form: int = tarfile.GNU_FORMAT,
) -> None:
    """Write a tar archive whose bytes follow from its members alone: their order, no owners, one time; `form`
    is tarfile's number of a format.
    """
    with tarfile.open(fileobj=stream, mode="w|", format=form) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = 0o644, epoch
            if isinstance(content, Path):
                info.size = content.stat().st_size
                with content.open("rb") as file:
                    tar.addfile(info, file)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def unpack(file: Path, out: Path, provider: str) -> dict[str, Any]:
    """Unpack a box as Vagrant does and return its metadata. Raises BuildError for one that is not for
    `provider`, or is hostile.
    """
    try:
        return _unpacked(file, out, provider)
    except (tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        raise BuildError(f"{file.name} is not a usable box: {error}") from error


def _unpacked(file: Path, out: Path, provider: str) -> dict[str, Any]:
    with tarfile.open(file, "r:*", tarinfo=CheckedInfo) as tar:
        members = tar.getmembers()
        for member in members:
            if not member.isfile() or "/" in member.name or member.name.startswith("."):
                raise BuildError(f"{file.name}: its member {member.name!r} is not a plain file of the box")
        if len(members) > MEMBERS or len({member.name for member in members}) < len(members):
            raise BuildError(f"{file.name} has {len(members)} members, or one twice")
        for member in members:
            tar.extract(member, out, set_attrs=False)
    file_of_metadata = out / METADATA
    if not file_of_metadata.exists():
        raise BuildError(f"{file.name} has no {METADATA}")
    metadata = json.loads(file_of_metadata.read_text())
    if not isinstance(metadata, dict):
        raise BuildError(f"{file.name}: its {METADATA} is not an object")
    if metadata.get("provider") != provider:
        raise BuildError(f"{file.name} is for the provider {metadata.get('provider')!r}, not {provider}")
    return metadata
