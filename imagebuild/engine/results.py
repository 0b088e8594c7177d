"""What a remote says of a finished artifact: `results/KIND/KEY.json`, written when everything that it names
is there. It comes from outside: nothing in it is believed before it is checked.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from imagebuild.engine.packs import Pack
from imagebuild.engine.store import Json, StoredArtifact
from imagebuild.errors import BuildError

DIRECTORY = "results/"
FORMAT = 1
DIGEST = re.compile(r"[0-9a-f]{64}")
# stage.function, and the digits of a key (steps.py)
KIND, KEY = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?"), re.compile(r"[0-9A-Za-z]{1,64}")


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished artifact, as a remote has it.

    `files` are the sizes of those below `out`, as in artifact.json; `links` are symbolic links and where they
    lead, `directories` empty ones. `carried` are the packs of what an artifact has outside its directory
    (shared.py, Carrier). `maker` is the machine that made it.
    """

    format: int
    kind: str
    key: str
    components: Mapping[str, str]
    value: Json
    seconds: float
    files: Mapping[str, int]
    packs: tuple[Pack, ...]
    carried: tuple[Pack, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    directories: tuple[str, ...] = ()
    maker: str = ""

    def at(self, directory: Path) -> StoredArtifact:
        """Return it as an artifact that lies, or will lie, in a directory."""
        return StoredArtifact(directory, self.value, self.components, self.seconds)

    def blobs(self) -> Iterator[str]:
        """Yield the names of all objects that it needs."""
        for pack in (*self.packs, *self.carried):
            yield blob_name(pack)

    def difference(self, other: "Result") -> str | None:
        """Return what another build of the same key has made otherwise, in words; None when nothing is."""
        mine, theirs = _contents(self), _contents(other)
        names = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            return ", ".join(names[:3]) + more
        return "what it says of itself" if self.value != other.value else None


_ADAPTER = TypeAdapter(Result)


def _contents(result: Result) -> dict[str, object]:
    """Return what counts of each file: logs tell of times."""
    found: dict[str, object] = {
        name: (file.size, file.mode, file.digest)
        for pack in result.packs
        for name, file in pack.files.items()
        if name != "log"
    }
    return found | dict(result.links)


def result_name(kind: str, key: str) -> str:
    """Return the name of a result's object."""
    return f"{DIRECTORY}{kind}/{key}.json"


def pair_of(name: str) -> tuple[str, str] | None:
    """Return kind and key of a result's object; None for an object that is none."""
    kind, _, file = name.removeprefix(DIRECTORY).partition("/")
    key = file.removesuffix(".json")
    return (kind, key) if KIND.fullmatch(kind) and KEY.fullmatch(key) and file.endswith(".json") else None


def blob_name(pack: Pack) -> str:
    """Return the name of a pack's object."""
    return f"blobs/{pack.sha256[:2]}/{pack.sha256}"


def dump(result: Result) -> bytes:
    """Return a result as it is stored: the same one is the same bytes."""
    return _ADAPTER.dump_json(result, indent=1) + b"\n"


def parse(data: bytes, kind: str, key: str, where: str) -> Result:
    """Return what a remote says of an artifact. Raises BuildError for what is not a result, that of another
    artifact, or one that would write where it must not.
    """
    try:
        result = _ADAPTER.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise _bad(kind, key, where, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if result.format != FORMAT:
        raise _bad(kind, key, where, f"its format is {result.format}, and this imagebuild knows {FORMAT}")
    if (result.kind, result.key) != (kind, key):
        raise _bad(kind, key, where, f"it is that of {result.kind[:80]}-{result.key[:80]}")
    for pack in (*result.packs, *result.carried):
        if not DIGEST.fullmatch(pack.sha256) or pack.size < 0:
            raise _bad(kind, key, where, f"{pack.sha256[:80]!r} is not a sha256")
    names = [name for pack in result.packs for name in pack.files]
    odd = next((name for name in (*names, *result.links, *result.directories) if not is_inside(name)), None)
    if odd is not None:
        raise _bad(kind, key, where, f"{odd[:200]!r} would lie elsewhere")
    for name, target in result.links.items():
        if not leads_inside(name, target, result.links):
            raise _bad(kind, key, where, f"the link {name[:200]!r} would lead elsewhere")
    packed = {name: file.size for pack in result.packs for name, file in pack.files.items()}
    if len(packed) != len(names) or any(packed.get(name) != size for name, size in result.files.items()):
        raise _bad(kind, key, where, "its packs do not hold its files")
    return result


def _bad(kind: str, key: str, where: str, why: str) -> BuildError:
    name = result_name(kind, key)
    return BuildError(f"{where}/{name} is not a result: {why}", hint=removal_hint(name))


def removal_hint(*names: str) -> str:
    """Return what to do about a result, and a pack of it, that cannot be used."""
    return f"find out who wrote it; then remove {' and '.join(names)} there, and it is built anew"


def is_inside(name: str) -> bool:
    """Whether a name of a file is one of an artifact: its log, or what is below `out`."""
    parts = PurePosixPath(name).parts
    plain = name == "/".join(parts) and "\0" not in name and ".." not in parts
    return plain and (name == "log" or (len(parts) > 1 and parts[0] == "out"))


def leads_inside(name: str, target: str, links: Collection[str] = ()) -> bool:
    """Whether a link of an artifact leads to something below `out`, and neither it nor the way there goes
    through another one of its `links`: what that would be is known on the disk only.
    """
    if target.startswith("/") or "\0" in target:
        return False
    place = list(PurePosixPath(name).parts[:-1])
    if any("/".join(place[:count]) in links for count in range(1, len(place) + 1)):
        return False
    parts = PurePosixPath(target).parts
    for number, part in enumerate(parts):
        if part != "..":
            place.append(part)
            if number < len(parts) - 1 and "/".join(place) in links:
                return False
        elif len(place) > 1:
            place.pop()
        else:
            return False
    return True


def beside(value: Json) -> list[tuple[str, str]]:
    """Return (kind, key) of the artifacts in the same store that an artifact's value names, which must be
    there for it to be read: {"store": "artifacts/KIND/KEY/…"} (model.StorePath).
    """
    found: list[tuple[str, str]] = []
    todo: list[Any] = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            path = one.get("store") if len(one) == 1 else None
            parts = PurePosixPath(path).parts if isinstance(path, str) else ()
            if (
                len(parts) > 3
                and parts[0] == "artifacts"
                and KIND.fullmatch(parts[1])
                and KEY.fullmatch(parts[2])
            ):
                found.append((parts[1], parts[2]))
            todo += one.values()
        elif isinstance(one, list):
            todo += one
    return found
