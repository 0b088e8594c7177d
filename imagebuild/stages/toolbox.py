"""Make the toolbox of a commit: a squashfs with the tree's own programs and a bare repo to populate disks
from.

It is written from the archive repo as one tar stream, so it needs no root: owners, modes and extended
attributes exist in the stream only. Each file is stored once; the bare repo's objects are hard links to the
files of the tree.
"""

import base64
import io
import tarfile
import threading
from dataclasses import dataclass, field
from os import pipe
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.model import Toolbox, Tree
from imagebuild.tools import command, squashfs
from imagebuild.tools.ostree.commit_reader import CommitEntry
from imagebuild.tools.ostree.repository import Repo

# where the repo lies in the toolbox; the tree has no such directory of its own
REPO = "imagebuild/repo"
BARE_CONFIG = b"[core]\nrepo_version=1\nmode=bare\n"
CHUNK = 1 << 20


def make_toolbox(out: Path, tree: Tree) -> Toolbox:
    """Write `out/toolbox.squashfs` from the tree's commit. The result depends on nothing but the commit."""
    image = out / "toolbox.squashfs"
    read_end, write_end = pipe()
    with open(read_end, "rb") as source:  # noqa: PTH123  # a descriptor, not a path
        writer = _Writer(Repo(tree.repo), tree, write_end)
        thread = threading.Thread(target=writer.run, daemon=True)
        thread.start()
        # content uncompressed: the file never leaves the build host, and each disk (and each emulated
        # appliance) would pay for unpacking it again: 5.9 of 9.5 CPU seconds of a native installation
        options = ["-comp", "zstd", "-noD", "-noF", "-no-fragments"]
        command.run(squashfs.from_tar(image, options), stdin=source)
        thread.join()
    if writer.error is not None:
        raise BuildError(
            f"the toolbox of {tree.commit} could not be written: {writer.error}"
        ) from writer.error
    return Toolbox(image=image, size=image.stat().st_size)


@dataclass
class _Writer:
    repo: Repo
    tree: Tree
    descriptor: int
    error: BaseException | None = None
    first: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        try:
            with (
                open(self.descriptor, "wb") as stream,  # noqa: PTH123  # a descriptor, not a path
                tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK) as tar,
            ):
                self._tree(tar)
                self._repo(tar)
        except BrokenPipeError:
            pass  # mksquashfs died and says why itself
        except BaseException as error:  # handed to the thread that waits
            self.error = error

    def _tree(self, tar: tarfile.TarFile) -> None:
        for entry in self.repo.walk(self.tree.commit):
            name = str(entry.path).lstrip("/")
            if name:
                self._entry(tar, name, entry)
        # the tools are run from a checkout, where the defaults of /etc are in use
        tar.addfile(_link("etc", "usr/etc"))

    def _entry(self, tar: tarfile.TarFile, name: str, entry: CommitEntry) -> None:
        info = tarfile.TarInfo(name)
        info.mode, info.uid, info.gid = entry.mode & 0o7777, entry.uid, entry.gid
        if entry.is_directory:
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        elif entry.checksum in self.first:
            tar.addfile(_hard_link(info, self.first[entry.checksum]))
        elif entry.is_link:
            info.type, info.linkname = tarfile.SYMTYPE, entry.target
            tar.addfile(info)
            self._symlink_object(tar, entry)
        else:
            stream, xattrs = self.repo.open_file(entry.checksum)
            info.size = entry.size
            info.pax_headers = {
                f"LIBARCHIVE.xattr.{key}": base64.b64encode(value).decode() for key, value in xattrs.items()
            }
            # GNU format otherwise: mksquashfs 4.5 takes the first slash off a link target that stands in a
            # pax header
            tar.format = tarfile.PAX_FORMAT if xattrs else tarfile.GNU_FORMAT
            tar.addfile(info, io.BufferedReader(stream, CHUNK))
            tar.format = tarfile.GNU_FORMAT
            self.first[entry.checksum] = name

    def _symlink_object(self, tar: tarfile.TarFile, entry: CommitEntry) -> None:
        # a link is small: its object is a second link, not a hard link to the first, which not every tar
        # reader knows
        info = _link(_object(entry.checksum, "file"), entry.target)
        info.uid, info.gid = entry.uid, entry.gid
        if entry.checksum not in self.links:
            self.links.add(entry.checksum)
            tar.addfile(info)

    links: set[str] = field(default_factory=set)

    def _repo(self, tar: tarfile.TarFile) -> None:
        tar.addfile(_directory(str(Path(REPO).parent)))
        for directory in (
            "",
            "/extensions",
            "/state",
            "/tmp",
            "/tmp/cache",
            "/refs",
            "/refs/heads",
            "/refs/remotes",
            "/refs/mirrors",
        ):
            tar.addfile(_directory(REPO + directory))
        tar.addfile(*_file(f"{REPO}/config", BARE_CONFIG))
        tar.addfile(*_file(f"{REPO}/refs/heads/{self.tree.follows}", f"{self.tree.commit}\n".encode()))
        objects = self.repo.objects(self.tree.commit)
        for prefix in ["", *sorted({f"/{checksum[:2]}" for _, checksum in objects})]:
            tar.addfile(_directory(f"{REPO}/objects{prefix}"))
        for kind, checksum in objects:
            if kind == 1:
                if checksum in self.first:
                    tar.addfile(_hard_link(tarfile.TarInfo(_object(checksum, "file")), self.first[checksum]))
            else:
                suffix = {2: "dirtree", 3: "dirmeta", 4: "commit"}[kind]
                tar.addfile(*_file(_object(checksum, suffix), self.repo.metadata_object(kind, checksum)))
        signatures = self.repo.detached_metadata(self.tree.commit)
        if signatures is not None:
            tar.addfile(*_file(_object(self.tree.commit, "commitmeta"), signatures))


def _object(checksum: str, suffix: str) -> str:
    return f"{REPO}/objects/{checksum[:2]}/{checksum[2:]}.{suffix}"


def _link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
    return info


def _hard_link(info: tarfile.TarInfo, target: str) -> tarfile.TarInfo:
    info.type, info.linkname = tarfile.LNKTYPE, target
    return info


def _directory(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info


def _file(name: str, data: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    return info, io.BytesIO(data)
