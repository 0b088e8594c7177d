"""Releases for tests: a real repository with signed commits, small files as downloads, cells as smoke tests
leave them.
"""

import gzip
import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from imagebuild.formats.registry import FILE_KINDS, FORMATS
from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell, Image, IsoImage, Tree
from imagebuild.publish.assemble import assemble
from imagebuild.publish.material import Material
from imagebuild.publish.numbers import take_names
from imagebuild.release_line import reading as config
from imagebuild.release_line.model import Config
from imagebuild.session.releases import signer_of
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.stages.tree import Pin, describe_tree
from imagebuild.tools import gpg
from imagebuild.tools.ostree.repository import Repo
from tests.data import ROOT
from tests.tools.ostree.commits import ELF, FILES

REF = "debian/12/x86_64/atomic-host"
USER = "imagebuild demo <imagebuild-demo@example.org>"
STATUS = (
    "Package: {0}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {1}\nDescription: x\n more\n"
)
FIRST = {"bash": "5.2-1", "curl": "7.88-1", "gone": "1.0", "kernel": "6.1.1-1"}
SECOND = {"bash": "5.2-2", "curl": "7.88-1", "fresh": "1:2.0-1", "kernel": "6.1.0-9"}
CREATED = 1_790_000_000
# e_machine of an ELF header (elf.h: EM_X86_64, EM_AARCH64)
ELF_X86_64 = b"\x3e\x00"
ELF_OF = {"x86_64": ELF_X86_64, "aarch64": b"\xb7\x00"}


@dataclass
class Line:
    """A release line: its store, its configuration, where its releases go; downloads of all kinds, or of
    `kinds`, looked at under `firmware`.
    """

    place: Path
    homedir: Path
    changes: dict[str, Any] = field(default_factory=dict)
    ref: str = REF
    arch: str = "x86_64"
    kinds: tuple[str, ...] = ()
    firmware: tuple[Firmware, ...] = tuple(Firmware)
    trees: list[Tree] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.output = self.place / "releases"
        self.work = self.place / "work"
        self.work.mkdir(parents=True)
        self.repo = Repo.ensure(self.place / "repo")

    @property
    def config(self) -> Config:
        """The demo's configuration, with a key that was made once."""
        data = yaml.safe_load((ROOT / "configs" / "debian-12.yaml").read_text())
        data["publish"] |= {
            "signing": {"user": USER, "homedir": str(self.homedir), "generate": True}
        } | self.changes.get("publish", {})
        data |= {"refs": [self.ref]} | {key: value for key, value in self.changes.items() if key != "publish"}
        if self.kinds:
            _keep(data, self.kinds, self.firmware)
        file = self.work / "config.yaml"
        file.write_text(json.dumps(data, default=str))
        return config.load(file, self.place).model_copy(update={"arch": self.arch})

    @property
    def key(self) -> Path:
        """The public key."""
        file = self.work / "key.asc"
        with gpg.keyring(self.homedir) as home:
            gpg.export_key(home, gpg.ensure_key(home, USER), file)
        return file

    def commit(self, version: str, packages: dict[str, str], extra: dict[str, bytes] | None = None) -> Tree:
        """Commit a tree with these packages, signed, and describe it."""
        changelog = gzip.compress(
            b"bash (5.2-2) stable; urgency=low\n\n  * A hole is closed.\n\n"
            b" -- A <a@b>  Thu, 12 Nov 2026 00:00:00 +0000\n\n"
            b"bash (5.2-1) stable; urgency=low\n\n  * Old.\n"
        )
        files = (
            FILES
            | {
                "usr/bin/ostree": ELF.replace(ELF_X86_64, ELF_OF[self.arch]),
                "usr/lib/sysimage/dpkg/status": (
                    "\n".join(STATUS.format(*pair) for pair in packages.items()).encode()
                ),
                "usr/share/doc/bash/changelog.Debian.gz": changelog,
            }
            | (extra or {})
        )
        archive = self.work / "tree.tar"
        with tarfile.open(archive, "w") as tar:
            for name, data in files.items():
                (self.work / "file").write_bytes(data)
                info = tar.gettarinfo(str(self.work / "file"), name)
                info.uid = info.gid = 0
                with (self.work / "file").open("rb") as stream:
                    tar.addfile(info, stream)
        staged = self.repo.commit_tree(archive, [])
        stamp = 1_700_000_000 + 1000 * len(self.trees)
        commit = self.repo.commit(
            staged,
            self.ref,
            parent=self.repo.refs().get(self.ref),
            metadata={"version": version},
            subject="test",
            timestamp=stamp,
        )
        with gpg.keyring(self.homedir) as home:
            self.repo.sign(commit, gpg.ensure_key(home, USER), home)
        tree = describe_tree(self.repo, Pin(ref=self.ref, commit=commit))
        self.trees.append(tree)
        return tree

    def material(
        self,
        tree: Tree,
        *,
        grown: int = 0,
        boot: float = 60.0,
        states: Sequence[State] = (),
        slowness: float = 4.0,
        atomic: bool = False,
    ) -> Material:
        """Make downloads and cells for a tree; `grown` bytes are added to each download, `atomic`: held
        against the criteria by it, too.
        """
        loaded, store = self.config, self.work / f"store-{tree.version}-{grown}"
        store.mkdir(exist_ok=True)
        downloads: list[Image | IsoImage] = [_iso(store, loaded, tree, grown)]
        for image in loaded.images.values():
            for kind in image.formats:
                if FILE_KINDS[kind].arches and self.arch not in FILE_KINDS[kind].arches:
                    continue
                file = store / f"{image.name}-{tree.version}.{tree.arch}.{FORMATS[kind].suffix}"
                file.write_bytes(f"{kind} of {tree.commit}".encode() * 1000 + bytes(grown))
                downloads.append(
                    Image(
                        file=file,
                        name=file.name,
                        format=kind,
                        disk_size=6 << 30,
                        size=file.stat().st_size,
                        sha256=digest(file),
                    )
                )
        cells: list[tuple[Cell, Path]] = []
        for download in downloads:
            for firmware in self.firmware:
                cells += _cells(store, download.name, firmware, boot, states, atomic=atomic)
        kickstart = store / "cloud.ks"
        kickstart.write_text("text\n")
        before = self.trees[self.trees.index(tree) - 1] if self.trees.index(tree) else None
        return Material(
            config=loaded,
            gate=hashlib.sha256(f"{tree.commit} {grown} {boot}".encode()).hexdigest()[:32],
            tree=tree,
            previous=before,
            why_no_previous=None if before else "the first release",
            downloads=tuple(downloads),
            cells=tuple(cells),
            kickstarts={"cloud": kickstart},
            tools={"qemu": "7.2"},
            accelerator="tcg",
            slowness=slowness,
            today=date(2026, 11, 26),
            created=CREATED + 1000 * self.trees.index(tree),
        )

    def release(
        self, material: Material, *, day: str = "20261126", nightly: bool = False, respin: int | None = None
    ) -> Path:
        """Release it."""
        with signer_of(material.config) as signer:
            names = take_names(
                self.output, material, day=day, nightly=nightly, signer=signer.fingerprint, respin=respin
            )
            return assemble(self.output, material, names, signer)


def _keep(data: dict[str, Any], kinds: Sequence[str], firmware: Sequence[Firmware]) -> None:
    for name, image in [*data["images"].items()]:
        image["formats"] = {kind: options for kind, options in image["formats"].items() if kind in kinds}
        if not image["formats"]:
            del data["images"][name]
    for owner in (data["installer"], *data["images"].values()):
        owner["firmware"] = list(firmware)
        owner.pop("installed", None)


def _iso(store: Path, loaded: Config, tree: Tree, grown: int) -> IsoImage:
    file = store / f"installer-{tree.version}.iso"
    file.write_bytes(b"iso of " + tree.commit.encode() * 500 + bytes(grown))
    assert loaded.installer is not None
    return IsoImage(
        file=file,
        name=file.name,
        backend="live",
        volume_id=loaded.installer.volume_id,
        commit=tree.commit,
        md5="ab" * 16,
        unattended=True,
        treeinfo=file,
        size=file.stat().st_size,
        sha256=digest(file),
    )


def _cells(
    store: Path, artifact: str, firmware: Firmware, boot: float, states: Sequence[State], *, atomic: bool
) -> list[tuple[Cell, Path]]:
    place = store / f"evidence-{artifact}-{firmware}"
    place.mkdir(exist_ok=True)
    (place / "boots.json").write_text(
        json.dumps([{"name": "first", "phases": {"firmware": 1.0, "ssh": boot}, "problem": ""}])
    )
    (place / "serial.log").write_text("boot\n")
    (place / "journal.txt").write_text(
        "kernel: Command line: BOOT_IMAGE=/x root=/dev/mapper/a ostree=/ostree/boot.1/x/y/0 console=ttyS0\n"
    )
    found = []
    for number, name in enumerate(criteria.required(atomic=atomic, installer=artifact.endswith(".iso"))):
        state = states[number] if number < len(states) else State.PASSED
        (place / f"{name}.log").write_text(f"$ true {name}\n")
        cell = Cell(
            criterion=name,
            artifact=artifact,
            firmware=firmware,
            state=state,
            reason="",
            evidence=f"{name}.log",
            seconds=1.0,
        )
        found.append((cell, place))
    return found


def digest(file: Path) -> str:
    """Return a file's SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
