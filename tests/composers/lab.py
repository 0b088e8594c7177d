"""A build machine with a fake rpm-ostree of any version."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imagebuild.composers import rpm_ostree
from imagebuild.composers.composer import Composed
from imagebuild.composers.rpm_ostree import RpmOstreeConfig
from imagebuild.tools import gpg
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from tests import fake_rpm_ostree
from tests.composers.jobs import job
from tests.data import ROOT
from tests.fake_rpm_ostree import VERSIONS

REF = "fedora/26/x86_64/atomic-host"
USER = "test key <test@example.org>"
# a process of its own, which the fake can kill: the composer's parent dies with its child's work half done
CHILD = """import sys
from pathlib import Path
from imagebuild.composers import rpm_ostree
from imagebuild.composers.rpm_ostree import RpmOstreeConfig
from tests.composers.jobs import job
rpm_ostree.compose(job(Path(sys.argv[1]), sys.argv[2]), RpmOstreeConfig.model_validate_json(sys.argv[3]))
"""


@dataclass
class Lab:
    """A build host with a fake rpm-ostree of some version, a treefile, and the compose directory."""

    place: Path
    state: Path
    settings: dict[str, Any]

    @property
    def directory(self) -> Path:
        return self.place / "store/compose"

    def treefile(self, **changes: Any) -> None:
        described = {
            "ref": "fedora/26/${basearch}/atomic-host",
            "packages": ["bash"],
            "automatic_version_prefix": "26",
        } | changes
        (self.place / "host.json").write_text(json.dumps(described))

    def spec(self) -> RpmOstreeConfig:
        given = {
            "composer": "rpm-ostree",
            "treefile": str(self.place / "host.json"),
            "signing_user": USER,
        } | self.settings
        return RpmOstreeConfig.model_validate(given)

    def compose(self) -> Composed:
        return rpm_ostree.compose(job(self.directory, REF), self.spec())

    def killed(self) -> None:
        """Compose in a process that is killed once rpm-ostree has committed, before anything is signed."""
        (self.state / "kills").touch()
        argv = [sys.executable, "-c", CHILD, str(self.directory), REF, self.spec().model_dump_json()]
        ended = subprocess.run(
            argv,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL, ended
        (self.state / "kills").unlink()

    def calls(self) -> list[list[str]]:
        """The command lines that composed."""
        lines = [json.loads(line) for line in (self.state / "calls").read_text().splitlines()]
        return [line for line in lines if "--help" not in line and "--print-only" not in line]

    @property
    def repo(self) -> Repo:
        return Repo(self.directory / "repo")


@pytest.fixture(scope="module")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GnuPG home directory with the key of USER: to make one takes a second or two."""
    home = tmp_path_factory.mktemp("keys") / "gnupg"
    with gpg.keyring(home) as homedir:
        gpg.ensure_key(homedir, USER)
    return home


@pytest.fixture(params=VERSIONS)
def lab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _keys: Path) -> Lab:
    shutil.copytree(_keys, tmp_path / "store/compose/gnupg", ignore=shutil.ignore_patterns("S.*"))
    state = fake_rpm_ostree.install(tmp_path, request.param)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    made = Lab(place=tmp_path, state=state, settings={})
    made.treefile()
    return made


def only(*versions: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("lab", versions, indirect=True)


def verified(lab: Lab, commit: str) -> Repo:
    """Pull a commit as whoever trusts the compose's key does. Raises BuildError when it is not signed by
    it.
    """
    target = Repo.ensure(lab.place / f"pulled-{time.monotonic_ns()}")
    target.pull(
        Remote(url=f"file://{lab.repo.path}", keys=(lab.directory / "signing-key.asc",), verify=True), commit
    )
    return target
