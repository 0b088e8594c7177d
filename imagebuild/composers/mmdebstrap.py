"""Compose a Debian-based OSTree host: mmdebstrap installs the packages, `debian_tree.sh` gives the result
OSTree's shape.

Works as root, and as an ordinary user through mmdebstrap's user namespace (needs uidmap and an entry in
/etc/subuid). The installed root file system is cached as a tar archive, keyed by packages and recipe; the
commit is made from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from imagebuild import steplog
from imagebuild.architectures.registry import ARCHITECTURES, DEFAULT, builder_architecture
from imagebuild.composers.composer import Composed, Composer, ComposerConfig, Job, sign_history
from imagebuild.config.beside import Pattern, SharedPatterns
from imagebuild.config.fields import Model, TreePath, Word
from imagebuild.config.places import template
from imagebuild.config.root import RootConfig
from imagebuild.config.tree import TreeConfig
from imagebuild.errors import BuildError
from imagebuild.tools import command, emulation, environment, gpg, temporary

if TYPE_CHECKING:
    from imagebuild.tools.ostree.commit_writer import Staged
    from imagebuild.tools.ostree.repository import Repo

SCRIPTS = ("debian_tree.sh", "grub_menu.sh", "storage_setup.sh")
# where debian_tree.sh puts dpkg's database
INFO, STATUS = "usr/lib/sysimage/dpkg/info", "usr/lib/sysimage/dpkg/status"
CACHE_SECONDS = 24 * 3600
# mmdebstrap sets file times to this; OSTree drops them anyway
EPOCH = "1700000000"

UNREACHED = "the log has apt's own words; a mirror that cannot be reached is the usual reason"
EXPIRED = (
    "the mirror's package lists are older than they may be: use one that is kept up to date; where it is"
    " frozen on purpose, compose.check_valid_until: false"
)
PackageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")]


class FirstConfig(Model):
    """What the very first commit of a ref is made without; the whole tree follows it at once, so that there
    is a release to upgrade from.
    """

    packages: tuple[PackageName, ...] = Field(min_length=1)
    files: tuple[TreePath, ...] = Field(default=(), description="of `files`")


class MmdebstrapConfig(ComposerConfig):
    """Compose a Debian tree with mmdebstrap."""

    composer: Literal["mmdebstrap"]
    suite: Word
    version: Word = Field(description="prefix of the commit version: 12 gives 12.1, 12.2, …")
    packages: tuple[PackageName, ...] = Field(min_length=1)
    exclude: tuple[Pattern, ...] = Field(default=(), description="dpkg path-exclude patterns")
    exclude_from: tuple[SharedPatterns, ...] = Field(
        default=(),
        description=(
            "files with more of them, below the configuration's directory or the product's own `configs`: a"
            " pattern a line, `#` begins a remark"
        ),
    )
    initramfs: tuple[Literal["btrfs", "crypt", "tpm2-tss"], ...] = Field(
        default=(),
        description=(
            "dracut modules besides those of every host: a root on btrfs, on LUKS, unlocked by a TPM 2 (their"
            " programs are packages: btrfs-progs, cryptsetup, tpm2-tools)"
        ),
    )
    check_valid_until: bool = Field(
        default=True,
        description=(
            "refuse package lists that have expired: an attacker could hold back updates; a mirror that is"
            " frozen on purpose (snapshot.debian.org) needs `false`"
        ),
    )
    files: dict[TreePath, str] = Field(
        default={}, description="files laid over the tree; ${version} and ${commit_time} may be used in them"
    )
    root: RootConfig = Field(
        default=RootConfig(), description="what ostree makes of the root file system at boot"
    )
    first_without: FirstConfig | None = Field(
        default=None,
        description=(
            "for demonstrations: a new ref begins with a commit that lacks this, followed by the whole tree"
        ),
    )
    signing_user: Annotated[str, Field(pattern=r"^[A-Za-z0-9 .,_-]+ <[^<>\s]+@[^<>\s]+>$")]

    @property
    def excluded(self) -> tuple[str, ...]:
        """All patterns of what is left out."""
        return (*(pattern for shared in self.exclude_from for pattern in shared.patterns), *self.exclude)

    @model_validator(mode="after")
    def _lacks_what_it_has(self) -> MmdebstrapConfig:
        lacking = self.first_without
        for name in lacking.packages if lacking is not None else ():
            if name not in self.packages:
                raise ValueError(f"first_without.packages: {name!r} is not one of `packages`")
        for path in lacking.files if lacking is not None else ():
            if path not in self.files:
                raise ValueError(f"first_without.files: {path!r} is not one of `files`")
        return self


def compose(job: Job, spec: MmdebstrapConfig) -> Composed:
    """Make the next commit of the ref in `directory/repo` if anything changed, signed with the key in
    `directory/gnupg`.

    The public key is left in `directory/signing-key.asc`. `refresh` asks the mirror again even if the cache
    is younger than a day.
    """
    # a configuration is read where libostree is not there
    from imagebuild.tools.ostree.repository import Repo  # noqa: PLC0415

    directory = job.directory
    directory.mkdir(parents=True, exist_ok=True)
    archive = _root_file_system(spec, job.cache, job.arch, refresh=job.refresh)
    repo = Repo.ensure(directory / "repo")
    with gpg.keyring(directory / "gnupg") as homedir:
        key = gpg.ensure_key(homedir, spec.signing_user)
        gpg.export_key(homedir, key, directory / "signing-key.asc")
        composed = _commit(repo, job.ref, spec, job.tree, archive, directory / "signing-key.asc")
        # also when nothing is new: a run that was killed after its commit left it unsigned; the very first is
        # made beside it
        sign_history(repo, composed.commit, key, homedir)
        repo.update_summary()
    return composed


def _commit(
    repo: Repo, ref: str, spec: MmdebstrapConfig, tree: TreeConfig, archive: Path, public_key: Path
) -> Composed:
    parent = repo.refs().get(ref)
    before = str(repo.metadata(parent)["version"]) if parent else None
    inputs = _digest(
        archive.parent.name,
        str(archive.stat().st_mtime_ns),
        Path(__file__).read_text(),
        spec.model_dump_json(),
        tree.update_gpg_key,
        public_key.read_text(),
    )
    if parent and before and repo.metadata(parent).get("imagebuild.inputs") == inputs:
        return Composed(repo=repo.path, ref=ref, commit=parent, version=before, new=False)
    with temporary.directory("compose") as work:
        staged = repo.commit_tree(
            archive, [_overlay(work / "now", spec, tree, before or f"{spec.version}.0", public_key)]
        )
        if parent and before and staged.contents == repo.contents(parent):
            return Composed(repo=repo.path, ref=ref, commit=parent, version=before, new=False)
        version = _next(before, spec.version)
        if parent is None and spec.first_without is not None:
            parent, version = _first(
                repo, ref, spec, staged, _overlay(work / "first", spec, tree, version, public_key)
            )
        staged = repo.overlay(staged, [_overlay(work / "next", spec, tree, version, public_key)])
    commit = _write(repo, ref, staged, parent, version, inputs)
    return Composed(repo=repo.path, ref=ref, commit=commit, version=version, new=True)


def _first(repo: Repo, ref: str, spec: MmdebstrapConfig, staged: Staged, overlay: Path) -> tuple[str, str]:
    """Commit the tree without `first_without`; return that commit, and the version of the whole tree, which
    follows.
    """
    assert spec.first_without is not None
    whole = repo.overlay(staged, [overlay])
    gone = [path for package in spec.first_without.packages for path in _files_of(repo, whole, package)]
    status = repo.staged_file(whole, STATUS) or b""
    kept = [
        paragraph
        for paragraph in status.split(b"\n\n")
        if _name(paragraph) not in spec.first_without.packages
    ]
    lacking = repo.without(whole, [*gone, *spec.first_without.files], {STATUS: b"\n\n".join(kept)})
    version = _next(None, spec.version)
    return _write(repo, ref, lacking, None, version, ""), _next(version, spec.version)


def _files_of(repo: Repo, staged: Staged, package: str) -> list[str]:
    """Return the paths of a package's files in the tree, dpkg's own about it among them (dpkg(1),
    /var/lib/dpkg/info/PACKAGE.list).
    """
    own = [
        name
        for name in repo.staged_names(staged, INFO)
        if name.partition(".")[0].partition(":")[0] == package
    ]
    listed = b"".join(
        repo.staged_file(staged, f"{INFO}/{name}") or b"" for name in own if name.endswith(".list")
    )
    paths = [line.lstrip("/") for line in listed.decode().splitlines()]
    # /bin and its kin are links into /usr (merged-usr), and /etc is kept as /usr/etc
    moved = [
        f"usr/{path}" for path in paths if path.partition("/")[0] in ("bin", "sbin", "lib", "lib64", "etc")
    ]
    return [*paths, *moved, *(f"{INFO}/{name}" for name in own)]


def _name(paragraph: bytes) -> str:
    """Return which package a paragraph of dpkg's status file is about (deb822(5))."""
    return paragraph.lstrip().partition(b"\n")[0].removeprefix(b"Package: ").decode("utf-8", "replace")


def _write(repo: Repo, ref: str, staged: Staged, parent: str | None, version: str, inputs: str) -> str:
    # upgrades refuse a commit that is older than its parent (ostree-sysroot-upgrader.c), also when the clock
    # went back
    timestamp = max(int(time.time()), repo.timestamp(parent) + 1 if parent else 0)
    metadata = {"version": version, "imagebuild.inputs": inputs}
    return repo.commit(
        staged, ref, parent=parent, metadata=metadata, subject=f"{ref} {version}", timestamp=timestamp
    )


def _next(before: str | None, prefix: str) -> str:
    """Count up: 12.1, 12.2, …; a new prefix starts again at 1."""
    number = int(before.rpartition(".")[2]) + 1 if before and before.rpartition(".")[0] == prefix else 1
    return f"{prefix}.{number}"


def _overlay(
    directory: Path, spec: MmdebstrapConfig, tree: TreeConfig, version: str, public_key: Path
) -> Path:
    files = {path: Template(text).safe_substitute(version=version) for path, text in spec.files.items()}
    key_path = tree.update_gpg_key.lstrip("/")
    files[key_path.replace("etc/", "usr/etc/", 1) if key_path.startswith("etc/") else key_path] = (
        public_key.read_text()
    )
    # the archive has no /dev (device nodes cannot be committed), but a host needs the directory
    (directory / "dev").mkdir(parents=True)
    for path, text in files.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)
    return directory


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


# --- packages -> tar ----------------------------------------------------------------------------------------


def _root_file_system(spec: MmdebstrapConfig, cache: Path, arch: str, *, refresh: bool) -> Path:
    """Return a tar archive of the installed packages in OSTree's shape, from the cache when it is young
    enough.
    """
    recipe = [template(f"compose/{name}").read_text() for name in SCRIPTS]
    key = _digest(
        spec.suite,
        *spec.packages,
        "--",
        *spec.excluded,
        "--",
        *recipe,
        spec.root.text() or "",
        command.version("mmdebstrap"),
        *spec.initramfs,
        *(["architecture", arch] if arch != DEFAULT else []),
    )[:32]
    place = cache / "compose" / key
    archive = place / "rootfs.tar"
    if archive.exists() and not refresh and time.time() - archive.stat().st_mtime < CACHE_SECONDS:
        steplog.note(f"packages: {archive} is younger than a day")
        return archive
    place.mkdir(parents=True, exist_ok=True)
    partial = place / f"rootfs.{os.getpid()}.partial"
    try:
        _mmdebstrap(spec, partial, arch)
        partial.rename(archive)
    finally:
        partial.unlink(missing_ok=True)
    return archive


def _mmdebstrap(spec: MmdebstrapConfig, archive: Path, arch: str) -> None:
    foreign = arch != builder_architecture()
    emulation.check(arch, f"the packages' own scripts of {spec.suite}")
    mode = "root" if os.geteuid() == 0 else "unshare"
    if mode == "unshare":
        command.require("newuidmap")
    # the hook runs as root of a user namespace, which cannot look into a private directory
    with temporary.open_to_all("compose") as scripts:
        for name in SCRIPTS:
            shutil.copyfile(template(f"compose/{name}"), scripts / name)
            (scripts / name).chmod(0o755)
        # in the tree before its initramfs is made, which holds a copy
        (scripts / "prepare-root.conf").write_text(spec.root.text() or "")
        merged = Path("/usr/share/mmdebstrap/hooks/merged-usr")
        argv = [
            "mmdebstrap",
            f"--mode={mode}",
            "--variant=minbase",
            "--format=tar",
            # what is cleaned or made there expects a Debian layout, which the hook has left behind
            "--skip=cleanup,output/dev,output/mknod",
            # it would ask programs of two more packages what we have asked the kernel
            *([f"--architectures={ARCHITECTURES[arch].debian}", "--skip=check/qemu"] if foreign else []),
            '--aptopt=APT::Install-Recommends "false"',
            # apt.conf(5), Acquire::Check-Valid-Until
            *([] if spec.check_valid_until else ['--aptopt=Acquire::Check-Valid-Until "false"']),
            *[f"--dpkgopt=path-exclude={pattern}" for pattern in spec.excluded],
            f"--include={','.join(spec.packages)}",
            *([f"--hook-dir={merged}"] if merged.is_dir() else []),
            f"--customize-hook={scripts / SCRIPTS[0]}",
            spec.suite,
            str(archive),
        ]
        try:
            # it unpacks in TMPDIR, where apt's own user and root of a namespace must find the way
            command.run(
                argv,
                env={
                    **environment.outward(),
                    "SOURCE_DATE_EPOCH": EPOCH,
                    "TMPDIR": str(scripts),
                    "INITRAMFS": " ".join(spec.initramfs),
                    # no initramfs when kernel and dracut are installed (/etc/kernel/postinst.d/dracut): the
                    # tree's own is made by our hook, and emulated each takes many minutes
                    "INITRD": "No",
                },
            )
        except command.CommandError as error:
            raise BuildError(
                f"mmdebstrap could not install the packages of {spec.suite}: {error.message}",
                hint=EXPIRED if "is expired" in error.message else UNREACHED,
            ) from error


MMDEBSTRAP = Composer(
    name="mmdebstrap", options=MmdebstrapConfig, compose=compose, tools=("mmdebstrap", "gpg")
)
