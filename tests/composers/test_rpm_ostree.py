"""Composing with rpm-ostree: the options that each version knows, a key that the tree carries, and nothing
that stays unsigned.
"""

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
from pydantic import ValidationError

from imagebuild import steplog
from imagebuild.composers import Composed, rpm_ostree
from imagebuild.config.compose import RpmOstreeConfig
from imagebuild.errors import BuildError
from imagebuild.tools import gpg
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.signatures import signatures
from tests import fake_rpm_ostree
from tests.data import ROOT
from tests.fake_rpm_ostree import VERSIONS

REF = "fedora/26/x86_64/atomic-host"
USER = "test key <test@example.org>"
# a process of its own, which the fake can kill: the composer's parent dies with its child's work half done
CHILD = """import sys
from pathlib import Path
from imagebuild.composers import rpm_ostree
from imagebuild.config.compose import RpmOstreeConfig
rpm_ostree.compose(Path(sys.argv[1]), sys.argv[2], RpmOstreeConfig.model_validate_json(sys.argv[3]))
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
        return rpm_ostree.compose(self.directory, REF, self.spec())

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


# --- options ------------------------------------------------------------------------------------------------


def test_a_tree_is_composed_by_every_version(lab: Lab) -> None:
    lab.settings = {"cache": str(lab.place / "cache/new")}
    first = lab.compose()
    assert (first.version, first.new, first.ref) == ("26", True, REF)
    assert lab.repo.mode == "archive"
    assert verified(lab, first.commit).read(first.commit, "usr/share/bash/README") == b"bash"
    again = lab.compose()
    assert (again.commit, again.new) == (first.commit, False)
    lab.treefile(packages=["bash", "vim"])
    second = lab.compose()
    assert (second.version, second.new, lab.repo.parent(second.commit)) == ("26.1", True, first.commit)
    assert lab.repo.refs() == {REF: second.commit}
    verified(lab, second.commit)
    assert (lab.repo.path / "summary").exists()


@pytest.mark.parametrize(
    ("lab", "unified", "report"),
    [
        ("2016.13", None, False),
        ("2017.11", None, False),
        ("2018.7", "--unified-core", False),
        ("2022.19", "--unified-core", True),
        ("2026.2", "--unified-core", True),
    ],
    indirect=["lab"],
)
def test_only_what_the_installed_version_knows_is_asked_of_it(
    lab: Lab, unified: str | None, report: bool
) -> None:
    lab.compose()
    (call,) = lab.calls()
    assert [word for word in call if word.endswith("unified-core")] == ([unified] if unified else [])
    assert any(word.startswith("--write-composejson-to=") for word in call) == report
    assert (lab.directory / "compose.json").exists() == report
    assert (lab.directory / "build-repo").exists() == bool(unified)
    helps = [line for line in (lab.state / "calls").read_text().splitlines() if "--help" in line]
    assert len(helps) == 1


@pytest.mark.parametrize(
    ("lab", "wanted", "option"),
    [
        ("2017.11", True, "--ex-unified-core"),
        ("2018.7", True, "--unified-core"),
        ("2018.7", False, None),
        ("2026.2", False, None),
        ("2016.13", False, None),
    ],
    indirect=["lab"],
)
def test_the_unified_core_is_wanted_or_not(lab: Lab, wanted: bool, option: str | None) -> None:
    lab.settings = {"unified_core": wanted}
    composed = lab.compose()
    assert [word for word in lab.calls()[0] if word.endswith("unified-core")] == ([option] if option else [])
    verified(lab, composed.commit)


@only("2016.13")
def test_a_unified_core_that_is_not_there_is_said(lab: Lab) -> None:
    lab.settings = {"unified_core": True}
    with pytest.raises(
        BuildError, match=r"compose\.unified_core: the installed rpm-ostree knows no --unified-core"
    ) as caught:
        lab.compose()
    assert "2018.7" in caught.value.hint


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fake_refuses_what_the_real_one_refuses(version: str, tmp_path: Path) -> None:
    fake_rpm_ostree.install(tmp_path, version)
    (tmp_path / "host.json").write_text(json.dumps({"ref": REF, "packages": []}))
    repo = Repo.ensure(tmp_path / "archive").path

    def said(*argv: str) -> tuple[int, str]:
        words = [
            str(tmp_path / "bin/rpm-ostree"),
            "compose",
            "tree",
            f"--repo={repo}",
            *argv,
            str(tmp_path / "host.json"),
        ]
        ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        return ended.returncode, ended.stderr.splitlines()[-1] if ended.stderr else ""

    assert said("--no-such-option") == (1, "error: Unknown option --no-such-option")
    known = {"2016.13": 1, "2017.11": 1, "2018.7": 1, "2022.19": 0, "2026.2": 0}
    assert said(f"--write-composejson-to={tmp_path}/x")[0] == known[version]
    unified = "--ex-unified-core" if version != "2016.13" else "--unified-core"
    assert said(unified) == {
        "2016.13": (1, "error: Unknown option --unified-core"),
        "2017.11": (1, "error: --ex-unified-core requires a bare-user repository"),
        "2018.7": (1, "error: --ex-unified-core requires a bare-user repository"),
    }.get(version, (0, ""))


# --- version ------------------------------------------------------------------------------------------------


@only("2016.13", "2018.7")
def test_the_version_counts_up_within_a_day(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.settings = {"version": "26.${date}.${respin}"}
    versions = []
    for day, package in (("1499212800", "a"), ("1499212900", "b"), ("1499299200", "c")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", day)
        lab.treefile(packages=[package])
        versions.append(lab.compose().version)
    assert versions == ["26.20170705.0", "26.20170705.1", "26.20170706.0"]


@pytest.mark.parametrize(
    "version",
    [
        "26",
        "26.${date}",
        "${respin}.${respin}",
        "26.${day}.${respin}",
        "-${respin}",
        "26 ${respin}",
        "26.$respin",
    ],
)
def test_a_version_that_tells_no_commits_apart_is_refused(version: str) -> None:
    with pytest.raises(ValidationError, match="version"):
        RpmOstreeConfig(composer="rpm-ostree", treefile="/x.json", version=version)


# --- the key ------------------------------------------------------------------------------------------------


@only("2016.13", "2018.7")
def test_the_tree_carries_the_key_that_signs_it(lab: Lab) -> None:
    """The key is there before rpm-ostree starts: add-files takes it from beside the treefile, or by its
    absolute name.
    """
    lab.settings = {"public_key": str(lab.place / "KEY.asc")}
    handed_out = str(lab.directory / "signing-key.asc")
    lab.treefile(**{"add-files": [["KEY.asc", "/etc/pki/rpm-gpg/KEY"], [handed_out, "/usr/share/KEY"]]})
    composed = lab.compose()
    target = verified(lab, composed.commit)
    key = (lab.directory / "signing-key.asc").read_bytes()
    assert key.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")
    assert target.read(composed.commit, "usr/etc/pki/rpm-gpg/KEY") == key
    assert target.read(composed.commit, "usr/share/KEY") == key
    assert not lab.compose().new, "the same key, the same tree"


def test_a_public_key_needs_somebody_who_signs() -> None:
    with pytest.raises(ValidationError, match="public_key needs signing_user"):
        RpmOstreeConfig(composer="rpm-ostree", treefile="/x.json", public_key="/k")


# --- runs that ended too early ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lab", "package"),
    [
        pytest.param("2016.13", "bash", id="2016.13, nothing new"),
        pytest.param("2018.7", "bash", id="2018.7, nothing new"),
        pytest.param("2018.7", "vim", id="2018.7, something new"),
        pytest.param("2026.2", "vim", id="2026.2, something new"),
    ],
    indirect=["lab"],
)
def test_what_a_killed_run_left_unsigned_is_signed_by_the_next(lab: Lab, package: str) -> None:
    first = lab.compose()
    lab.treefile(packages=["bash", "lost"])
    lab.killed()
    if package == "vim":
        lab.treefile(packages=["bash", "vim"])
    composed = lab.compose()
    head = lab.repo.refs()[REF]
    assert composed.commit == head
    history = [head]
    while (parent := lab.repo.parent(history[-1])) is not None:
        history.append(parent)
    assert history[-1] == first.commit
    assert len(history) == (3 if package == "vim" else 2), "what was composed is not composed again"
    for commit in history:
        verified(lab, commit)
    assert head.encode() in _raw(lab.repo.path / "summary"), "the summary says so"


def _raw(summary: Path) -> bytes:
    """Return a summary with its checksums (32 bytes each) in hexadecimal."""
    return summary.read_bytes().hex().encode()


@only("2018.7")
def test_a_failing_run_leaves_nothing_that_the_next_does_not_sign(lab: Lab) -> None:
    (lab.state / "dies").write_text("SIGSEGV")
    with pytest.raises(BuildError, match=r"host\.json could not be composed: .*was killed by SIGSEGV"):
        lab.compose()
    (lab.state / "dies").unlink()
    composed = lab.compose()
    assert composed.version == "26"
    verified(lab, composed.commit)


@pytest.mark.parametrize(
    ("lab", "step"),
    [
        ("2016.13", "sign"),
        ("2018.7", "sign"),
        ("2018.7", "pull_local"),
        ("2018.7", "set_ref"),
        ("2018.7", "update_summary"),
    ],
    indirect=["lab"],
)
def test_wherever_a_run_ends_the_next_one_finishes_its_work(
    lab: Lab, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.compose()
    lab.treefile(packages=["vim"])

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Repo, step, dies)
        with pytest.raises(KeyboardInterrupt):
            lab.compose()
    composed = lab.compose()
    assert (composed.version, composed.commit) == ("26.1", lab.repo.refs()[REF])
    verified(lab, composed.commit)
    assert composed.commit.encode() in _raw(lab.repo.path / "summary")


@only("2016.13", "2018.7")
def test_a_repository_that_was_composed_unsigned_is_signed_once_there_is_a_key(lab: Lab) -> None:
    lab.settings = {"signing_user": None}
    first = lab.compose()
    assert not signatures(lab.repo.detached_metadata(first.commit) or b"")
    lab.settings = {}
    assert lab.compose().commit == first.commit
    verified(lab, first.commit)


@only("2018.7")
def test_a_new_key_signs_the_head_and_leaves_older_signatures_alone(lab: Lab) -> None:
    first = lab.compose()
    lab.treefile(packages=["vim"])
    second = lab.compose()
    lab.settings = {"signing_user": "another key <other@example.org>"}
    assert lab.compose().commit == second.commit
    verified(lab, second.commit)
    assert [
        len(signatures(lab.repo.detached_metadata(commit) or b"")) for commit in (first.commit, second.commit)
    ] == [1, 2]


# --- repositories -------------------------------------------------------------------------------------------


@only("2018.7", "2026.2")
def test_the_unified_core_goes_on_from_what_was_published_without_it(lab: Lab) -> None:
    lab.settings = {"unified_core": False}
    first = lab.compose()
    lab.settings = {}
    lab.treefile(packages=["vim"])
    second = lab.compose()
    assert (second.version, lab.repo.parent(second.commit)) == ("26.1", first.commit)
    assert Repo(lab.directory / "build-repo").mode == "bare-user"
    # and back, and the build repository learns of that
    lab.settings = {"unified_core": False}
    lab.treefile(packages=["nano"])
    third = lab.compose()
    lab.settings = {}
    lab.treefile(packages=["joe"])
    fourth = lab.compose()
    assert (lab.repo.parent(third.commit), lab.repo.parent(fourth.commit)) == (second.commit, third.commit)
    verified(lab, fourth.commit)


@only("2018.7")
def test_a_lost_build_repository_is_made_again(lab: Lab) -> None:
    first = lab.compose()
    (lab.directory / "build-repo").rename(lab.place / "gone")
    assert not lab.compose().new
    lab.treefile(packages=["vim"])
    second = lab.compose()
    assert (second.version, lab.repo.parent(second.commit)) == ("26.1", first.commit)


# --- what cannot be composed --------------------------------------------------------------------------------


@only("2018.7", "2026.2")
def test_another_ref_is_said_before_it_is_composed(lab: Lab) -> None:
    lab.treefile(ref="fedora/27/${basearch}/atomic-host")
    with pytest.raises(
        BuildError, match=rf"host\.json composes fedora/27/\S+/atomic-host, not {REF}"
    ) as caught:
        lab.compose()
    assert "`ref`" in caught.value.hint
    assert lab.calls() == []


@only("2018.7")
def test_the_ref_may_stand_in_an_include(lab: Lab) -> None:
    (lab.place / "base.json").write_text(
        json.dumps({"ref": "fedora/${releasever}/${basearch}/atomic-host".replace("${releasever}", "26")})
    )
    (lab.place / "host.json").write_text(json.dumps({"include": "base.json", "packages": ["bash"]}))
    assert lab.compose().ref == REF


@only("2016.13", "2018.7")
def test_another_ref_is_said_without_print_only_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpm_ostree, "PRINT", "--no-such-option")
    lab.compose()
    lab.treefile(ref="fedora/27/${basearch}/atomic-host")
    with pytest.raises(BuildError, match=f"host.json composes fedora/27/x86_64/atomic-host, not {REF}"):
        lab.compose()


@only("2018.7", "2026.2")
def test_a_host_without_a_policy_composes_without_the_unified_core_unless_it_was_asked_for(lab: Lab) -> None:
    (lab.state / "no-selinux").touch()
    composed = lab.compose()
    assert [[word for word in call if word.endswith("unified-core")] for call in lab.calls()] == [
        ["--unified-core"],
        [],
    ]
    verified(lab, composed.commit)
    lab.settings = {"unified_core": True}
    with pytest.raises(BuildError, match="error: Unable to load SELinux policy from /") as caught:
        lab.compose()
    assert "compose.unified_core: false" in caught.value.hint


@only("2016.13")
def test_what_rpm_ostree_lacks_is_said_with_what_to_do(lab: Lab) -> None:
    (lab.state / "no-bwrap").touch()
    with pytest.raises(BuildError, match="error: bwrap test failed") as caught:
        lab.compose()
    assert "bubblewrap" in caught.value.hint


@only("2018.7")
def test_a_treefile_that_is_not_there_is_said_at_once(lab: Lab) -> None:
    (lab.place / "host.json").unlink()
    with pytest.raises(BuildError, match=r"there is no treefile .*host\.json"):
        lab.compose()


@only("2018.7")
def test_what_was_signed_late_stands_in_the_log(lab: Lab) -> None:
    lab.killed()
    log = lab.place / "log"
    with steplog.writing_to(log):
        composed = lab.compose()
    assert f"signed {composed.commit}" in log.read_text()
    assert not composed.commit.startswith(gpg.fingerprint(lab.directory / "gnupg", USER) or "-")
