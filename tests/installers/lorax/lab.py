"""A lorax of any generation, and what is asked of it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagebuild.config.installer import InstallerConfig
from imagebuild.config.tree import TreeConfig
from imagebuild.installers.installer import Request
from imagebuild.model import Kickstart, Toolbox, Tree
from imagebuild.release_line.installer import InstallerLine
from tests import fake_lorax

REF = "fedora/29/x86_64/atomic-host"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="lorax needs root")


def installer(place: Path, **more: Any) -> InstallerConfig:
    options = {
        "sources": ["https://example.org/os"],
        "python": sys.executable,
        "python_path": [str(place)],
        "path": [str(place / "bin")],
        "sharedir": str(place / "share"),
        "tmp": str(place / "tmp"),
        **more,
    }
    return InstallerLine.model_validate(
        {
            "backend": "lorax",
            "name": "Fedora-Atomic-ostree",
            "volume_id": "Fedora-27",
            "defaults": "d",
            "unattended": "u",
            "lorax": options,
        }
    )


SOURCE = TreeConfig.model_validate(
    {
        "url": "https://example.org/",
        "allow_unsigned": True,
        "osname": "fedora-atomic",
        "remote": "fedora-atomic",
        "update_url": "https://ostree.example.org/",
        "update_gpg_key": "/etc/key",
    }
)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A small commit in an archive repository."""
    repo, content = tmp_path / "repo", tmp_path / "content"
    (content / "usr").mkdir(parents=True)
    (content / "usr" / "file").write_text("content")
    for argv in (
        ["init", "--mode=archive"],
        ["commit", "-b", REF, f"--tree=dir={content}", "--owner-uid=0", "--owner-gid=0"],
    ):
        subprocess.run(["ostree", f"--repo={repo}", *argv], check=True, capture_output=True)
    commit = subprocess.run(
        ["ostree", f"--repo={repo}", "rev-parse", REF], check=True, capture_output=True, text=True
    ).stdout.strip()
    return Tree(
        repo=repo,
        ref=REF,
        commit=commit,
        version="29.20190101.0",
        arch="x86_64",
        kernel="4.19",
        host_kind="rpm-ostree",
        pretty_name="Fedora Atomic Host 29",
        os_id="fedora",
        files=1,
        size=700 << 20,
        timestamp=1546300800,
    )


def kickstarts(tmp_path: Path) -> tuple[Kickstart, Kickstart]:
    (tmp_path / "defaults.ks").write_text("text\n# größe\n")
    (tmp_path / "unattended.ks").write_text("text\nrootpw --lock\nautopart\nclearpart --all\n")
    return Kickstart(file=tmp_path / "defaults.ks", syntax="F28"), Kickstart(
        file=tmp_path / "unattended.ks", syntax="F28"
    )


def request(tmp_path: Path, tree: Tree, config: InstallerConfig) -> Request:
    defaults, unattended = kickstarts(tmp_path)
    return Request(
        name="name",
        title="Fedora",
        product="Fedora",
        release="29",
        tree=tree,
        toolbox=Toolbox(image=tmp_path / "none", size=0),
        source=SOURCE,
        config=config,
        defaults=defaults,
        unattended=unattended,
        keys=(),
        ways=("native",),
        epoch=1,
        treeinfo=tmp_path / "treeinfo",
    )


def fake(tmp_path: Path, generation: str = "46.0", behaviour: str = "") -> Path:
    place = tmp_path / "lorax"
    fake_lorax.write(place, generation, behaviour)
    (place / "tmp").mkdir()
    return place
