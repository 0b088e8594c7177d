"""`product.img` of the live installer: what is laid over the tree when it runs from the medium — our program,
its units, its defaults.

The name is Anaconda's for what a product lays over the installer. The program is compiled by the tree's own
Python, which is also the proof, at build time, that it can run it.
"""

import ast
import functools
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pykickstart

import imagebuild
from imagebuild.config.places import template
from imagebuild.deploy.target import File, Sandbox
from imagebuild.errors import BuildError

PLACE = PurePosixPath("usr/lib/imagebuild-live")
ENTRY = "imagebuild.live.__main__"
WORK = PurePosixPath("/run/product")
OLDEST_PYTHON = (3, 11)
UNITS = ("imagebuild-live.target", "imagebuild-installer.service", "imagebuild-network.service")
# networkd's own generator reads ip= into files that sort before this one; NetworkManager's is asked for it
LINKS = "99-installer.network"
# pykickstart imports requests for %include of a URL, which we refuse before it comes to that
REQUESTS = ("__init__.py", "exceptions.py")
DATA = (*(f"live/{name}" for name in (*UNITS, LINKS)), *(f"live/requests/{name}" for name in REQUESTS))


@dataclass(frozen=True, kw_only=True)
class ProductFacts:
    """What the installer is told about what it installs; `syntax` is pykickstart's version for kickstarts of
    this release.

    `signed`: the commit is, and an installer without the keys must refuse.
    """

    product: str
    version: str
    ref: str
    commit: str
    kernel: str
    syntax: str
    signed: bool


def files(facts: ProductFacts, defaults: str, keys: Sequence[bytes]) -> dict[PurePosixPath, bytes]:
    """Return everything but the compiled program, by path below the root."""
    units, etc = PurePosixPath("usr/lib/systemd/system"), PLACE / "etc"
    found = {
        PLACE / "release.json": (json.dumps(vars(facts), indent=1, sort_keys=True) + "\n").encode(),
        PLACE / "defaults.ks": defaults.encode(),
        **{units / name: template(f"live/{name}").read_bytes() for name in UNITS},
        etc / "systemd/network" / LINKS: template(f"live/{LINKS}").read_bytes(),
        etc / "hostname": b"installer\n",
        # not a first boot that somebody is asked about
        etc / "machine-id": b"",
        # nothing here carries labels, and the policy of the tree would not let us write foreign ones
        etc / "selinux/config": b"SELINUX=disabled\nSELINUXTYPE=targeted\n",
    }
    return found | {PLACE / "keys" / f"{number:02}.asc": data for number, data in enumerate(keys)}


def links() -> dict[PurePosixPath, str]:
    """Return symbolic links: what boots, and what must not take hold of disks that are about to be erased
    (udev(7)).
    """
    rules = (
        "64-md-raid-assembly.rules",
        "65-md-incremental.rules",
        "69-lvm.rules",
        "69-dm-lvm.rules",
        "69-dm-lvm-metad.rules",
        "64-btrfs.rules",
    )
    etc = PLACE / "etc"
    return {
        etc / "systemd/system/default.target": "/usr/lib/systemd/system/imagebuild-live.target",
        **{etc / "udev/rules.d" / name: "/dev/null" for name in rules},
    }


def program_files() -> dict[PurePosixPath, bytes]:
    """Return the installer's Python source: our modules that it imports, pykickstart, and what that wants of
    requests.
    """
    package = Path(imagebuild.__file__).parent
    found = {
        PurePosixPath(path.relative_to(package.parent)): path.read_bytes() for path in closure(ENTRY, package)
    }
    library = Path(pykickstart.__file__).parent
    for path in sorted(library.rglob("*.py")):
        found[PurePosixPath("pykickstart") / path.relative_to(library).as_posix()] = path.read_bytes()
    for name in REQUESTS:
        found[PurePosixPath("requests") / name] = template(f"live/requests/{name}").read_bytes()
    return found


def closure(entry: str, package: Path) -> list[Path]:
    """Return the source files of a module and of everything in the package that it imports, directly or
    not.
    """
    todo, found = [entry], set[Path]()
    while todo:
        name = todo.pop()
        place = package.parent.joinpath(*name.split("."))
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if not path.is_file() or path in found:
            continue
        found.add(path)
        todo += [name.rpartition(".")[0]] if "." in name else []
        todo += _imports(path.read_bytes(), package.name)
    return sorted(found)


@functools.cache
def _imports(text: bytes, package: str) -> tuple[str, ...]:
    """Return what a module imports from its package; builds of many refs ask for each of them."""
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] == package]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package:
            found += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def compile_program(sandbox: Sandbox) -> bytes:
    """Return a tar archive of the program, compiled by the tree's own Python. Raises BuildError when that
    cannot run it.
    """
    said = sandbox.run(
        [
            "sh",
            "-c",
            (
                "command -v python3 >/dev/null && python3 -c 'import sys; print(*sys.version_info[:2])' ||"
                " echo none"
            ),
        ]
    )
    version = tuple(int(word) for word in said.split()) if said.strip() != "none" else ()
    if version < OLDEST_PYTHON:
        shown = ".".join(str(number) for number in version) or "none"
        wanted = ".".join(str(number) for number in OLDEST_PYTHON)
        raise BuildError(
            f"the live installer needs Python {wanted} in the tree, which has {shown}",
            hint="set installer.backend: lorax, or add python3 to the compose",
        )
    sandbox.write({WORK / "source.tar": File(data=_archive(program_files()))})
    place = WORK / "program"
    sandbox.run(
        ["mkdir", place],
        ["tar", "-C", place, "-xf", WORK / "source.tar"],
        # checked by its content: OSTree and squashfs know no useful times
        [
            "python3",
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "checked-hash",
            "-s",
            place,
            "-p",
            f"/{PLACE}",
            place,
        ],
        ["env", f"PYTHONPATH={place}", "python3", "-S", "-P", "-m", "imagebuild.live", "--check"],
        [
            "tar",
            "-C",
            place,
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--mtime=@0",
            "--format=gnu",
            "-cf",
            WORK / "program.tar",
            ".",
        ],
    )
    return sandbox.read(WORK / "program.tar")


def _archive(members: Mapping[PurePosixPath, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, data in members.items():
            info = tarfile.TarInfo(str(path))
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def write_tree(
    directory: Path, facts: ProductFacts, defaults: str, keys: Sequence[bytes], program: bytes
) -> None:
    """Lay product.img's content out in a directory."""
    for path, data in files(facts, defaults, keys).items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    for path, target in links().items():
        link = directory / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    with tarfile.open(fileobj=io.BytesIO(program)) as tar:
        for member in tar:
            # made by the tree's tar in a sandbox: not trusted with paths
            path = PurePosixPath(member.name)
            if not member.isfile() or path.is_absolute() or ".." in path.parts:
                continue
            file = directory / PLACE / path
            file.parent.mkdir(parents=True, exist_ok=True)
            stream = tar.extractfile(member)
            file.write_bytes(stream.read() if stream is not None else b"")


@functools.cache
def digest() -> str:
    """Return the sha256 of the program: the build of the ISO does not import it, but it is in the ISO."""
    found = hashlib.sha256()
    for path, data in sorted(program_files().items()):
        found.update(str(path).encode() + b"\0" + hashlib.sha256(data).digest())
    return found.hexdigest()
