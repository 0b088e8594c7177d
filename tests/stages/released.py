"""Trees that were released."""

from pathlib import Path

from imagebuild.kinds import HostKind
from imagebuild.model import Tree

TREE = Tree(
    repo=Path("/repo"),
    ref="a/b",
    commit="ab" * 32,
    version="1.1",
    arch="x86_64",
    kernel="6.1",
    host_kind=HostKind.OSTREE,
    pretty_name="A",
    os_id="a",
    files=1,
    size=1,
    timestamp=0,
)
