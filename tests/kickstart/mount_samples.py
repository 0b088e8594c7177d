"""Kickstarts with mount points, and trees whose links lead somewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagebuild.deploy import host_var
from imagebuild.kickstart.mount_points import GENERATOR
from imagebuild.kickstart.plan import Plan
from tests.kickstart.samples import SMALL

# what rpm-ostree and the demo's compose make of a tree
LINKS = {
    "home": "var/home",
    "root": "var/roothome",
    "opt": "var/opt",
    "srv": "var/srv",
    "mnt": "var/mnt",
    "media": "run/media",
    "tmp": "sysroot/tmp",
    "ostree": "sysroot/ostree",
    "usr/local": "../var/usrlocal",
    "bin": "usr/bin",
    "lib": "usr/lib",
    "absolute": "/var/absolute",
    "twice": "home/ada",
    "round": "round2",
    "round2": "./round",
    "nowhere": "/",
    "stores": "sysroot/ostree/deploy",
    "system": "usr/lib",
    "odd": "var/a b",
}
FILES = {GENERATOR.lstrip("/"): b"", "exports/keep": b"", "var/file": b"", "usr/share/x": b""}
DIRECTORIES = ("exports", "var", "usr", "boot", "sysroot")


@dataclass
class Listed:
    """A tree that is a table."""

    links: Mapping[str, str] = field(default_factory=lambda: LINKS)
    files: Mapping[str, bytes] = field(default_factory=lambda: FILES)

    def link(self, path: str) -> str | None:
        return self.links.get(path.lstrip("/"))

    def is_directory(self, path: str) -> bool:
        return path.lstrip("/") in DIRECTORIES

    def has(self, path: str) -> bool:
        return path.lstrip("/") in self.files

    def content(self, path: str) -> bytes | None:
        return self.files.get(path.lstrip("/"))


def asked(*mounts: str, fstype: str = "ext4") -> str:
    """A kickstart with partitions at these mount points, from line 5 on."""
    lines = "".join(f"part {mount} --size=64 --fstype={fstype}\n" for mount in mounts)
    return SMALL.replace("part pv.01", lines + "part pv.01").replace(
        "clearpart --all\n", "clearpart --all --disklabel=gpt\npart biosboot --size=1\n"
    )


def places(plan: Plan) -> list[str]:
    return host_var.mounts(plan)
