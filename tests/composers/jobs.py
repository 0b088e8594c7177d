"""What a composer is asked for, in a directory."""

from pathlib import Path

from imagebuild.composers.composer import Job
from imagebuild.config.tree import TreeConfig

TREE = TreeConfig.model_validate(
    {
        "url": "https://example.org/",
        "allow_unsigned": True,
        "osname": "atomic",
        "remote": "atomic",
        "update_url": "https://ostree.example.org/",
        "update_gpg_key": "/etc/key",
    }
)


def job(directory: Path, ref: str, tree: TreeConfig = TREE) -> Job:
    return Job(directory=directory, ref=ref, tree=tree, cache=directory / "cache")
