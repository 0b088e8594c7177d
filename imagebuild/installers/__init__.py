"""Ways to make an installer ISO, each with `unavailable` (configuration -> why not) and `build` (directory,
request -> ISO).
"""

from dataclasses import dataclass
from pathlib import Path

from imagebuild.config.installer import InstallerConfig
from imagebuild.config.tree import TreeConfig
from imagebuild.model import Kickstart, Toolbox, Tree


@dataclass(frozen=True, kw_only=True)
class Request:
    """One installer ISO: `name` without suffix, `title` for people, `keys` that sign the commit, `ways` to
    run the tree's programs.

    `epoch` is the time of everything that is made, `treeinfo` a finished file. `toolbox` is there for a
    backend that needs it.
    """

    name: str
    title: str
    product: str
    release: str
    tree: Tree
    toolbox: Toolbox | None
    source: TreeConfig
    config: InstallerConfig
    defaults: Kickstart
    unattended: Kickstart | None
    keys: tuple[Path, ...]
    ways: tuple[str, ...]
    epoch: int
    treeinfo: Path


def discinfo(epoch: int, release: str, arch: str) -> str:
    """Return .discinfo: time, release, architecture, a line each (pylorax.discinfo; what mkksiso and old
    Anacondas read).
    """
    return f"{epoch}.000000\n{release}\n{arch}\n"
