"""Composing with rpm-ostree: the options that each version knows, a key that the tree carries, and nothing
that stays unsigned.
"""

import json
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from imagebuild import steplog
from imagebuild.composers import rpm_ostree
from imagebuild.composers.rpm_ostree import RpmOstreeConfig
from imagebuild.errors import BuildError
from imagebuild.tools import gpg
from imagebuild.tools.ostree.repository import Repo
from tests import fake_rpm_ostree
from tests.composers.lab import REF, USER, Lab, only, verified
from tests.fake_rpm_ostree import VERSIONS

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
        BuildError, match=r"compose\.unified_core: the installed rpm-ostree has no --unified-core"
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
