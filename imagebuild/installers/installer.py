"""What others know of an installer backend, and what one is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild.config.fields import Model
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


@dataclass(frozen=True, kw_only=True)
class Installer:
    """A backend.

    `options` is its section of a configuration (a model that no other backend has); `passed_over` says why
    `auto` does not even ask for it, `unavailable` why it cannot be used for a product and release, `advice`
    what to do about such a reason; `when` why it was chosen. `build` makes an ISO in a directory with the
    programs `tools`.

    `reads` are the files of templates/ that it opens, `inputs` are what else decides what it makes
    (configuration, release, architecture -> name -> digest), `toolbox` whether it needs the tree's own
    programs, `discinfo` whether it puts /.discinfo on the medium.
    """

    name: str
    options: type[Model]
    build: Callable[[Path, Request], Path]
    tools: tuple[str, ...]
    when: str
    unavailable: Callable[[InstallerConfig, str, str], str | None] = lambda *_: None
    passed_over: Callable[[InstallerConfig], str | None] = lambda _: None
    advice: Callable[[str], str] = lambda _: ""
    inputs: Callable[[InstallerConfig, str, str], Mapping[str, str]] = lambda *_: {}
    discinfo: Callable[[InstallerConfig, str], bool] = lambda *_: True
    toolbox: bool = False
    reads: tuple[str, ...] = ()


def discinfo(epoch: int, release: str, arch: str) -> str:
    """Return .discinfo: time, release, architecture, a line each (pylorax.discinfo; what mkksiso and old
    Anacondas read).
    """
    return f"{epoch}.000000\n{release}\n{arch}\n"
