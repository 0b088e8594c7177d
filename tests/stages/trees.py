"""A tree that stages read."""

from pathlib import Path

from imagebuild.model import Tree

TREE = Tree(
    repo=Path("/repo"),
    ref="a/b",
    commit="ab" * 32,
    version="1.1",
    arch="x86_64",
    kernel="6.1",
    host_kind="ostree",
    pretty_name="A",
    os_id="a",
    files=1,
    size=1,
    timestamp=0,
)
