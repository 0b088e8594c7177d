"""What is known of one release: written into it as `metadata/release.json`, read again for trends, promotion
and verification.
"""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from imagebuild.errors import BuildError
from imagebuild.model import SecureBoot
from imagebuild.publish.layout import FACTS, STATUS, Layout
from imagebuild.smoke.hosts.registry import HOSTS

FILE = f"metadata/{FACTS}"
# of one of several architectures
JOINT = f"metadata/*/{FACTS}"
Digest = Field(pattern=r"^[0-9a-f]{64}$")


class Frozen(BaseModel):
    """Frozen, strict about keys, read by other versions of this program."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class DownloadFacts(Frozen):
    """One download: `path` below the release; sizes in bytes, `content` that of what is in use on its disk;
    `boot` maps a firmware to seconds from power-on to ssh at its first boot. Older releases say nothing of
    Secure Boot.
    """

    path: str
    image: str
    format: str
    size: int = Field(ge=0)
    sha256: str = Digest
    disk_size: int | None = None
    content: int | None = None
    volume_id: str | None = None
    media_md5: str | None = None
    boot: dict[str, float] = {}
    secure_boot: SecureBoot | None = None


class TreeFacts(Frozen):
    """One commit; `size` in bytes of its files' content; `packages` are lines NAME-EVR.ARCH."""

    commit: str = Digest
    version: str
    kernel: str
    kernel_arguments: str = ""
    initramfs_size: int = 0
    initramfs_sha256: str = ""
    size: int
    files: int


class UpdateFacts(Frozen):
    """A release that hosts come from to this one. `size` is that of the static delta in bytes (None: none is
    made), `ref` that of another release line (empty: the same), `name` tells the cell of an older one apart.
    """

    commit: str = Digest
    version: str
    ref: str = ""
    name: str = ""
    size: int | None = Field(default=None, ge=0)


class Facts(Frozen):
    """One release of one architecture. `gate` is the key of the step that let it pass; `slowness` of the
    accelerator it was booted under. `joint`: the compose may have other architectures, too.
    """

    compose_id: str
    date: str = Field(pattern=r"^\d{8}$")
    respin: int = Field(ge=0)
    nightly: bool
    product: str
    release: str
    title: str
    ref: str
    remote: str
    arch: str
    host_kind: str
    created: int
    gate: str
    tree: TreeFacts
    previous: TreeFacts | None = None
    why_no_previous: str = ""
    updates: tuple[UpdateFacts, ...] = ()
    downloads: tuple[DownloadFacts, ...]
    # what a file of the installation tree is for -> its path (publish/os_tree.py); older releases have none
    os_tree: dict[str, str] = {}
    counts: dict[str, int] = {}
    accelerator: str = ""
    slowness: float = 1.0
    signer: str = ""
    joint: bool = False

    @property
    def layout(self) -> Layout:
        """Where the files of this architecture lie in the compose."""
        return Layout(arch=self.arch, joint=self.joint)

    @property
    def older(self) -> tuple[str, ...]:
        """The releases besides the one before that have a cell of their own, by its name."""
        return tuple(update.name for update in self.updates if update.name)

    @field_validator("host_kind")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in HOSTS:
            raise ValueError(f"is not one of {', '.join(HOSTS)}")
        return value


def read(directory: Path) -> Facts:
    """Read the facts of a release directory, of several architectures those of the first. Raises
    BuildError.
    """
    return read_all(directory)[0]


def read_all(directory: Path) -> list[Facts]:
    """Read the facts of each architecture of a release directory. Raises BuildError."""
    places = files_of(directory) or [directory / FILE]
    return [parse(file.read_bytes() if file.is_file() else b"", what=str(file)) for file in places]


def files_of(directory: Path) -> list[Path]:
    """Return the files of facts in a release directory, one for each architecture."""
    return sorted(file for pattern in (FILE, JOINT) for file in directory.glob(pattern))


def parse(data: bytes, *, what: str) -> Facts:
    """Read facts from outside. Raises BuildError naming the key."""
    try:
        return Facts.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BuildError(
            f"{what} is not the description of a release: {key or 'the file'}: {first['msg']}"
        ) from error


def history(output: Path, ref: str | None, *, but: str = "", parts: bool = False) -> list[Facts]:
    """Return the finished releases of a ref (None: of all refs) below a directory, oldest first; what is no
    release is passed over. `parts`: also what is whole of an architecture, in a compose of several that
    is not.
    """
    found: list[Facts] = []
    for directory in output.glob("*"):
        if directory.name.startswith("."):
            continue
        finished = (directory / STATUS).is_file()
        for file in files_of(directory):
            try:
                facts = parse(file.read_bytes(), what=str(file))
            except BuildError:
                continue
            if not finished and not (parts and facts.joint):
                continue
            if ref in (None, facts.ref) and facts.compose_id == directory.name != but:
                found.append(facts)
    return sorted(found, key=lambda each: (each.created, each.date, each.respin))


def megabytes(size: int) -> str:
    """Return a size as people read it."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def command_line(journal: str) -> str:
    """Return the kernel's arguments from a journal, without what differs on each machine or commit."""
    match = re.search(r"[Cc]ommand line: (.*)", journal)
    words = match.group(1).split() if match else []
    return " ".join(word for word in words if not re.match(r"BOOT_IMAGE=|ostree=", word))
