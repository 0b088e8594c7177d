"""Every artifact type: what a stage returns and the next one reads.

All are frozen dataclasses. Paths inside an artifact's own directory are stored relative to it
(`ArtifactPath`), so that a finished artifact can be renamed into place; others in the store relative to its
root (`StorePath`), so that it can be used in another machine's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, SerializationInfo, ValidationInfo

from imagebuild.kinds import Firmware, State


def _base(info: ValidationInfo | SerializationInfo) -> Path | None:
    context = info.context
    return context["base"] if isinstance(context, dict) else None


def _resolve(value: object, info: ValidationInfo) -> object:
    base = _base(info)
    if base is None or not isinstance(value, str | Path):
        return value
    return base / _inside(value, "an artifact")


def _inside(path: str | Path, what: str) -> str | Path:
    """Return a path that leads nowhere else: what a store says may come from another machine."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(f"is not a path in {what}")
    return path


def _relative(value: Path, info: SerializationInfo) -> str:
    base = _base(info)
    return str(value.relative_to(base)) if base is not None and value.is_relative_to(base) else str(value)


ArtifactPath = Annotated[Path, BeforeValidator(_resolve), PlainSerializer(_relative)]


def _root(info: ValidationInfo | SerializationInfo) -> Path | None:
    """Return the root of the store in which an artifact lies, or is being made (engine/directory.py)."""
    base = _base(info)
    if base is None or len(base.parents) < 3:
        return None
    return base.parents[1] if base.parent.name == "scratch" else base.parents[2]


def _resolve_in_store(value: object, info: ValidationInfo) -> object:
    root = _root(info)
    if root is None or not isinstance(value, dict | str | Path):
        return value
    if not isinstance(value, dict):
        # as it was written once, and nowhere else
        return root / _inside(Path(value).relative_to(root), "the store")
    path = value.get("store")
    if not isinstance(path, str):
        raise ValueError("is not a path in a store")
    return root / _inside(path, "a store")


def _relative_to_store(value: Path, info: SerializationInfo) -> object:
    root = _root(info)
    if root is None or not value.is_relative_to(root):
        return str(value)
    return {"store": str(value.relative_to(root))}


# what lies elsewhere in the same store, which may be another machine's the next time: {"store": PATH}
StorePath = Annotated[Path, BeforeValidator(_resolve_in_store), PlainSerializer(_relative_to_store)]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One commit, pulled and checked, in the pipeline's own archive repo; `timestamp` (seconds since 1970) is
    the commit's.

    `host_kind` is the name of a record in smoke/hosts. `kernel` is the release string of its kernel, whose
    modules are in /usr/lib/modules; `isa` the x86-64 level its programs need (1 … 4; 0: not known);
    `update_ref` the ref of upgrades when it is not `ref` (`follows`).
    """

    repo: StorePath
    ref: str
    commit: str
    version: str
    arch: str
    kernel: str
    host_kind: str
    pretty_name: str
    os_id: str
    files: int
    size: int
    timestamp: int
    isa: int = 0
    update_ref: str = ""

    @property
    def follows(self) -> str:
        """The ref that installed hosts follow."""
        return self.update_ref or self.ref


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A static delta by which hosts come from the commit `base` to `commit`: `place` is what lies below
    `deltas` of a repository, `size` its bytes, and `digest` a sha256 of it.
    """

    base: str
    commit: str
    place: ArtifactPath
    size: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """A read-only squashfs of the tree: its root file system under /root and a bare repo of the commit,
    hard-linked, under /repo.

    The tree's own programs run from it when a disk is made, and the repo in it is what the disk is populated
    from.
    """

    image: ArtifactPath
    size: int


@dataclass(frozen=True, kw_only=True)
class Kickstart:
    """A kickstart (no %include left but of what a %pre writes), proved against pykickstart's version
    `syntax`.

    `signed`: what it installs is. `origin`: the template's file and line that each of its lines comes from.
    """

    file: ArtifactPath
    syntax: str
    signed: bool = False
    origin: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class SecureBoot:
    """Whether a disk or an ISO boots on a machine with Secure Boot: `reason` says why not (None: it does).
    `authorities` are the names of the certificates with which its shim is signed: firmware starts it that
    knows one of them.
    """

    reason: str | None
    authorities: tuple[str, ...] = ()

    def in_words(self) -> str:
        """Return it as people read it, without a full stop."""
        if self.reason is not None:
            return f"not for Secure Boot: {self.reason}"
        return f"for Secure Boot: shim is signed by {' and by '.join(self.authorities)}"


NOT_LOOKED_AT = SecureBoot(reason="nobody looked")


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk (sparse, of `size` bytes), installed, never booted. `populated` names the way it was made,
    `firmware` under which it boots: uefi-secure is among them when nothing of `secure_boot` is against it.

    Its QEMU format is raw, or qcow2 for one that is an overlay of another disk in the store (`derived`, from
    the one at `base`).
    `sector_size`: the logical block that it is laid out for, in bytes.
    """

    file: ArtifactPath
    format: str
    size: int
    firmware: frozenset[Firmware]
    populated: str
    derived: bool = False
    base: StorePath | None = None
    secure_boot: SecureBoot = NOT_LOOKED_AT
    sector_size: int = 512


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a user downloads: `name` is its file name, `disk_size` that of the virtual disk in bytes, of which
    `content` are not empty.
    """

    file: ArtifactPath
    name: str
    format: str
    disk_size: int
    size: int
    sha256: str
    firmware: frozenset[Firmware] = frozenset()
    secure_boot: SecureBoot = NOT_LOOKED_AT
    content: int = 0


@dataclass(frozen=True, kw_only=True)
class IsoImage:
    """An installer ISO that has been looked into: `backend` made it, `commit` is the one embedded, `md5` the
    implanted media checksum.

    `unattended` says whether a kickstart is on it; `treeinfo` describes it for other tools (productmd).
    """

    file: ArtifactPath
    name: str
    backend: str
    volume_id: str
    commit: str
    md5: str
    unattended: bool
    treeinfo: ArtifactPath
    size: int
    sha256: str
    firmware: frozenset[Firmware] = frozenset()
    secure_boot: SecureBoot = NOT_LOOKED_AT


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A disk (qcow2) that an installer ISO has installed in a guest; `phases` maps each phase reached to
    seconds since power-on.
    """

    disk: ArtifactPath
    iso: str
    firmware: Firmware
    phases: dict[str, float]
    evidence: ArtifactPath


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found in a finished artifact that was opened read-only: `facts` as they were read, nothing
    wrong with them.
    """

    artifact: str
    facts: ArtifactPath


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the verdict matrix; `evidence` is a path below the verdict's evidence directory; `found` is
    the state below a waiver.

    `carried`: tested on another artifact, which holds the same disk; the reason has the proof. `same_as`:
    that artifact, when it is the same disk on the same machine, which is booted once for both.
    """

    criterion: str
    artifact: str
    firmware: Firmware
    state: State
    reason: str
    evidence: str
    seconds: float
    found: State | None = None
    carried: bool = False
    same_as: str = ""


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """Somebody's word for a criterion that does not pass: `artifact` is a pattern, `until` a day (ISO 8601),
    after which it is `expired`.
    """

    criterion: str
    artifact: str
    firmware: Firmware | None
    who: str
    why: str
    until: str
    expired: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the criteria said of one artifact under one firmware; `evidence` is for whoever doubts it."""

    cells: tuple[Cell, ...]
    evidence: ArtifactPath


@dataclass(frozen=True, kw_only=True)
class Release:
    """What may be released: `manifest` (JSON) lists every download that was tested and looked into, with size
    and SHA-256.
    """

    manifest: ArtifactPath
