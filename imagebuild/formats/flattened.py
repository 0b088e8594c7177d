"""The layers of a container image become one tree: a tar archive as OSTree wants a host to be.

What a layer does to those below it is in the OCI Image Format Specification 1.0.2, layer.md: "Whiteouts",
"Opaque Whiteout", "Hardlinks", "Change Types". A name below a symbolic link is a name below what the link
leads to, inside the tree, as umoci 0.4.7 has it (oci/layer/tar_extract.go, UnpackEntry), whose own extraction
the tests compare with. What a host's tree has where: ostree's documentation,
"Adapting existing mainstream distributions"; bootc's, "Filesystem".

Nothing of a layer is ever a file here: contents go from archive to archive.
"""

import contextlib
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.formats import bounded

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
# tops of a tree that belong to the running host: empty in every commit (ostree, "Adapting"; bootc,
# "Filesystem": /var is filled at a host's first boot)
HOSTS_OWN = ("boot", "dev", "proc", "run", "sys", "sysroot", "tmp", "var")
# a link in every commit, and what builders leave behind (moby v24, daemon/initlayer; buildah v1.28)
LINKS = {"ostree": "sysroot/ostree"}
LEFT_BEHIND = (".dockerenv", ".containerenv")
# pax(1) records of bsdtar and GNU tar: attributes that a tree keeps
ATTRIBUTE = "SCHILY.xattr."
KEPT = ("security.capability", "security.ima", "security.selinux", "user.")
MOST_MEMBERS, MOST_LINKS, DEEPEST = 2_000_000, 40, 128
HINT = "where did you get that image?"


@dataclass(eq=False)
class Node:
    """A file, directory or link: what made it (`layer`, and its `number` there; -1: nothing but what is below
    it), and what is in it.
    """

    member: tarfile.TarInfo
    layer: int = -1
    number: int = -1
    entries: dict[str, "Node"] | None = None


def _directory() -> Node:
    made = tarfile.TarInfo()
    made.type, made.mode = tarfile.DIRTYPE, 0o755
    return Node(made, entries={})


@dataclass
class Flattened:
    """A tree, layer over layer."""

    root: Node = field(default_factory=_directory)
    count: int = 0

    def add(self, layer: int, tar: tarfile.TarFile) -> None:
        """Lay one more over it. Raises BuildError for names that lead out, devices, and too much."""
        added: list[tuple[list[str], Node]] = []
        for number, member in enumerate(tar):
            self.count += 1
            if self.count > MOST_MEMBERS:
                raise BuildError(f"the image has more than {MOST_MEMBERS} members", hint=HINT)
            parts = _parts(member.name)
            if parts and parts[-1].startswith(WHITEOUT):
                # they are about lower layers only, wherever in the archive they stand
                self._take_away(parts)
            else:
                entries: dict[str, Node] | None = {} if member.isdir() else None
                added.append((parts, Node(member, layer, number, entries)))
        for parts, node in added:
            self._put(parts, node)

    def _take_away(self, parts: list[str]) -> None:
        directory = self.find(parts[:-1])
        if directory is None or directory.entries is None:
            return
        if parts[-1] == OPAQUE:
            directory.entries.clear()
        else:
            directory.entries.pop(parts[-1].removeprefix(WHITEOUT), None)

    def _put(self, parts: list[str], node: Node) -> None:
        member = node.member
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()) or member.issparse():
            raise BuildError(f"a layer has {member.name!r}, a device, a pipe or a sparse file", hint=HINT)
        if not parts:
            if node.entries is None:
                raise BuildError("a layer has a root that is not a directory", hint=HINT)
            self.root.member = member
            return
        directory = self._made(parts[:-1])
        assert directory.entries is not None
        there = directory.entries.get(parts[-1])
        if member.islnk():
            target = self.find(_parts(member.linkname))
            if target is None or target.entries is not None:
                raise BuildError(
                    f"a layer has {member.name!r}, a link to {member.linkname!r}, which is no file", hint=HINT
                )
            node = target
        elif node.entries is not None and there is not None and there.entries is not None:
            node.entries = there.entries
        directory.entries[parts[-1]] = node

    def _made(self, parts: Sequence[str]) -> Node:
        """Return a directory, made with those above it where it is not there."""
        found = self._walk(parts, make=True)
        if found is None or found.entries is None:
            raise BuildError(f"a layer has files below {'/'.join(parts)!r}, which is a file", hint=HINT)
        return found

    def find(self, parts: Sequence[str]) -> Node | None:
        """Return what a name leads to, whose last part is not followed; None when there is nothing."""
        if not parts:
            return self.root
        directory = self._walk(parts[:-1], make=False)
        return directory.entries.get(parts[-1]) if directory is not None and directory.entries else None

    def _walk(self, parts: Sequence[str], *, make: bool) -> Node | None:
        todo, way, links = list(reversed(parts)), [self.root], 0
        while todo:
            part = todo.pop()
            entries = way[-1].entries
            if part == "..":
                way = way[:-1] or way
                continue
            if entries is None:
                return None
            node = entries.get(part)
            if node is None and make:
                node = entries[part] = _directory()
            if node is None:
                return None
            if node.member.issym():
                links += 1
                if links > MOST_LINKS:
                    raise BuildError(f"links lead in circles: {'/'.join(parts)!r}", hint=HINT)
                target = node.member.linkname
                way = [self.root] if target.startswith("/") else way
                todo += [name for name in reversed(target.split("/")) if name not in ("", ".")]
                continue
            way.append(node)
            if len(way) > DEEPEST:
                raise BuildError(f"directories are nested more than {DEEPEST} deep", hint=HINT)
        return way[-1]


def _parts(name: str) -> list[str]:
    """Return the parts of a member's name. Raises BuildError for one that leads out, or is not UTF-8."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or len(parts) > DEEPEST or (not name.isprintable() and _is_odd(name)):
        raise BuildError(
            f"a layer has the name {name[:80]!r}, which leads out of it or is not text", hint=HINT
        )
    return parts


def _is_odd(name: str) -> bool:
    return any(ord(letter) < 32 or 0xDC80 <= ord(letter) <= 0xDCFF for letter in name)


def flatten(layers: Sequence[tuple[Path, tuple[str, ...]]], out: Path) -> Flattened:
    """Write the tree that layers (files, and how each is compressed; the lowest first) make as an archive in
    a host's shape: /etc is usr/etc, and what is the running host's own is empty. Return the tree as it was.

    Raises BuildError for a layer that is hostile or damaged, and for an image with both /etc and /usr/etc.
    """
    tree = Flattened()
    for number, (file, packed) in enumerate(layers):
        with _opened(file, packed) as tar:
            tree.add(number, tar)
    top = tree.root.entries or {}
    if "etc" in top and tree.find(["usr", "etc"]) is not None:
        raise BuildError("the image has both /etc and /usr/etc", hint="leave /usr/etc to OSTree")
    places = dict[tuple[int, int], list[str]]()
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as written:
        for path, node in _hosts(tree):
            if node.member.isreg():
                places.setdefault((node.layer, node.number), []).append(path)
            else:
                written.addfile(_as(node.member, path))
        for number, (file, packed) in enumerate(layers):
            wanted = {each for layer, each in places if layer == number}
            if wanted:
                _copy(file, packed, number, places, written)
    return tree


@contextlib.contextmanager
def _opened(file: Path, packed: tuple[str, ...]) -> Iterator[tarfile.TarFile]:
    """Open a layer, and read it to its end. Raises BuildError for whatever is wrong with it."""
    with bounded.stream_of(file, packed) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=bounded.CheckedInfo) as tar:
                yield tar
            # whoever unpacks it ends badly when nobody reads the rest
            while stream.read(bounded.CHUNK):
                pass
        except (tarfile.TarError, EOFError, OverflowError, ValueError) as error:
            raise BuildError(f"the layer {file.name} cannot be read: {error}", hint=HINT) from error


def _copy(
    file: Path, packed: tuple[str, ...], layer: int, places: dict[tuple[int, int], list[str]],
    written: tarfile.TarFile,
) -> None:  # fmt: skip
    with _opened(file, packed) as tar:
        for number, member in enumerate(tar):
            paths = places.get((layer, number), ())
            for path in paths:
                made = _as(member, path)
                if path == paths[0]:
                    bounded.refuse_full(Path(str(written.name)).parent, made.size, file.name)
                    written.addfile(made, tar.extractfile(member))
                else:
                    made.type, made.linkname, made.size = tarfile.LNKTYPE, paths[0], 0
                    written.addfile(made)


def _as(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """Return what OSTree keeps of a member, under another name."""
    made = tarfile.TarInfo(path)
    made.type = tarfile.REGTYPE if member.isreg() else member.type
    made.mode, made.uid, made.gid = member.mode & 0o7777, member.uid, member.gid
    made.linkname, made.size = (member.linkname, 0) if not member.isreg() else ("", member.size)
    made.pax_headers = {
        name: value
        for name, value in member.pax_headers.items()
        if name.startswith(ATTRIBUTE) and name.removeprefix(ATTRIBUTE).startswith(KEPT)
    }
    return made


def _hosts(tree: Flattened) -> Iterator[tuple[str, Node]]:
    """Yield path -> node of what a host's commit has, directories before what is in them."""
    for name, node in sorted((tree.root.entries or {}).items()):
        if name in LEFT_BEHIND or name in LINKS:
            continue
        if name in HOSTS_OWN and node.entries is not None:
            yield name, Node(node.member)
        elif name == "etc":
            continue
        else:
            yield from _below(name, node)
    for name in sorted({*HOSTS_OWN} - {*(tree.root.entries or {})}):
        yield name, _directory()
    for name, target in LINKS.items():
        link = tarfile.TarInfo()
        link.type, link.mode, link.linkname = tarfile.SYMTYPE, 0o777, target
        yield name, Node(link)
    etc = (tree.root.entries or {}).get("etc")
    if etc is not None:
        yield from _below("usr/etc", etc)


def _below(path: str, node: Node) -> Iterator[tuple[str, Node]]:
    todo = [(path, node)]
    while todo:
        path, node = todo.pop()
        yield path, node
        below = sorted((node.entries or {}).items(), reverse=True)
        todo += [(posixpath.join(path, name), each) for name, each in below]


def kernels(tree: Flattened) -> tuple[list[str], list[str]]:
    """Return the versions of the kernels in /usr/lib/modules, and of those the ones with an initramfs beside
    them (bootc, "Filesystem", "/usr/lib/modules").
    """
    place = ["usr", "lib", "modules"]
    modules = tree.find(place)
    versions = sorted((modules.entries if modules is not None else None) or {})
    found: list[str] = [name for name in versions if tree.find([*place, name, "vmlinuz"])]
    return found, [name for name in found if tree.find([*place, name, "initramfs.img"])]
