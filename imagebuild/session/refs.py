"""Which refs there are: those that the configurations build, and which of them are meant."""

import fnmatch
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.config.places import shared_directory
from imagebuild.errors import UsageError
from imagebuild.files import FILE_URL, path_of
from imagebuild.release_line import reading
from imagebuild.release_line.model import Config
from imagebuild.smoke.hosts.registry import recognise
from imagebuild.tools.ostree.repository import Repo

EVERYTHING = "*"


@dataclass(frozen=True, kw_only=True)
class KnownRef:
    """A ref and the configuration that builds it. `host_kind` is None as long as no commit of it is on this
    machine: a tree says itself of which kind it is.
    """

    ref: str
    config: Path
    product: str
    release: str
    arch: str
    host_kind: str | None = None


def known_refs(store: Path, lines: Sequence[Path] = (), *, look: bool = False) -> list[KnownRef]:
    """Return the refs of configurations, or of all those in configs/ when none is given, sorted.

    A pattern stands for the refs that repositories of this machine have of it. `look`: also into the trees.
    Raises UsageError for a configuration with errors.
    """
    files = lines or sorted(shared_directory("configs").glob("*.yaml"))
    return sorted(
        (known for line in dict.fromkeys(files) for known in _refs_of(line, store, look=look)),
        key=lambda known: (known.ref, known.config),
    )


def _refs_of(file: Path, store: Path, *, look: bool) -> Iterator[KnownRef]:
    config = reading.load(file, store)
    repos = _repositories(config, store)
    there = {ref: repo for repo in repos for ref in repo.refs()}
    plain = [ref for ref in config.refs if EVERYTHING not in ref]
    for ref in dict.fromkeys([*plain, *(ref for ref in there if config.builds(ref))]):
        yield KnownRef(
            ref=ref,
            config=file,
            product=config.product,
            release=config.release,
            arch=config.arch,
            host_kind=_host_kind(there.get(ref), ref) if look else None,
        )


def _repositories(config: Config, store: Path) -> list[Repo]:
    """Return the repositories of this machine that may have a line's refs: where they are pulled to, from."""
    places = [store.absolute() / "repo"]
    if config.tree.url.startswith(FILE_URL):
        places.append(path_of(config.tree.url))
    return [Repo(place) for place in places if (place / "config").is_file()]


def _host_kind(repo: Repo | None, ref: str) -> str | None:
    if repo is None:
        return None
    commit = repo.refs()[ref]
    return recognise(lambda path: repo.has_file(commit, path)).name


def choose(
    refs: Sequence[str], patterns: Collection[str], lines: Sequence[Path], store: Path
) -> list[KnownRef]:
    """Return the refs that are named or match a pattern, each once, in that order.

    In a pattern * stands for what is between two slashes, as in configurations; a * alone for all refs.
    Raises UsageError: a pattern that matches none, a ref that no or more than one configuration builds.
    """
    chosen: dict[str, KnownRef] = {}
    for ref in refs:
        chosen.setdefault(ref, _named(ref, lines, store))
    known = known_refs(store, lines) if patterns else []
    for pattern in patterns:
        found = [each for each in known if matches(each.ref, pattern)]
        if not found:
            raise UsageError(
                f"--refs {pattern}: there is no such ref",
                hint=f"imagebuild refs lists them: {', '.join(dict.fromkeys(each.ref for each in known))}",
            )
        for each in found:
            before = chosen.setdefault(each.ref, each)
            if before.config != each.config:
                raise _several(each.ref, before.config, each.config)
    return list(chosen.values())


def _named(ref: str, lines: Sequence[Path], store: Path) -> KnownRef:
    line, config = _line_of(ref, lines, store) if lines else reading.find(ref, store)
    return KnownRef(ref=ref, config=line, product=config.product, release=config.release, arch=config.arch)


def _line_of(ref: str, lines: Sequence[Path], store: Path) -> tuple[Path, Config]:
    loaded = [(file, reading.load(file, store)) for file in dict.fromkeys(lines)]
    found = [(file, config) for file, config in loaded if config.builds(ref)]
    if len(found) == 1:
        return found[0]
    if found:
        raise _several(ref, *(file for file, _ in found))
    patterns = ", ".join(pattern for _, config in loaded for pattern in config.refs)
    raise UsageError(
        f"{', '.join(map(str, lines))} does not build the ref {ref}", hint=f"the patterns are: {patterns}"
    )


def _several(ref: str, *files: Path) -> UsageError:
    return UsageError(
        f"several configurations build {ref}: {', '.join(map(str, files))}", hint="give --config FILE"
    )


def matches(ref: str, pattern: str) -> bool:
    """Whether a ref matches a pattern, word by word."""
    words, patterns = ref.split("/"), pattern.split("/")
    return pattern == EVERYTHING or (
        len(words) == len(patterns) and all(map(fnmatch.fnmatchcase, words, patterns))
    )
