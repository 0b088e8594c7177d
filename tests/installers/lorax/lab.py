"""A lorax of any generation, and what is asked of it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagebuild import steplog
from imagebuild.config.installer import InstallerConfig, LoraxConfig
from imagebuild.config.tree import TreeConfig
from imagebuild.errors import EvidenceError
from imagebuild.installers import Request
from imagebuild.installers.lorax import backend as lorax
from imagebuild.installers.lorax import sources as lorax_sources
from imagebuild.model import Kickstart, Toolbox, Tree
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
    return InstallerConfig.model_validate(
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


REPOMD = """<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>{revision}</revision>
  <data type="primary"><checksum type="sha256">{primary}</checksum><timestamp>{revision}</timestamp></data>
  <data type="filelists"><checksum type="sha256">aa</checksum></data>
  <data type="updateinfo"><checksum type="sha256">{updateinfo}</checksum></data>
</repomd>
"""


def repository(place: Path, primary: str = "11", revision: int = 1, updateinfo: str = "22") -> str:
    (place / "repodata").mkdir(parents=True, exist_ok=True)
    (place / "repodata" / "repomd.xml").write_text(
        REPOMD.format(primary=primary, revision=revision, updateinfo=updateinfo)
    )
    return f"file://{place}"


def contents(**options: Any) -> dict[str, str]:
    return lorax_sources.contents(LoraxConfig.model_validate(options), release="26", arch="x86_64")


def failure(tmp_path: Path, tree: Tree, generation: str, behaviour: str, **options: object) -> EvidenceError:
    place = fake(tmp_path, generation, behaviour)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(EvidenceError) as caught, steplog.writing_to(tmp_path / "log"):
        lorax.build(out, request(tmp_path, tree, installer(place, **options)))
    # nothing of what it made is left but its own logs, which are where they are said to be
    assert caught.value.evidence == out / "work" / "logs"
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_dir()) == [
        "work",
        "work/logs",
    ]
    for name in re.findall(r"\w+\.log", caught.value.hint):
        assert (caught.value.evidence / name).is_file(), name
    assert not list((place / "tmp").rglob("lorax-*"))
    return caught.value
