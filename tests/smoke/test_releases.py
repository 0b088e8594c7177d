"""What guests find at the test's server: releases made of the candidate, packages; real repositories, real
RPMs.
"""

import subprocess
from pathlib import Path

import pytest
import requests

from imagebuild.errors import BuildError
from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.releases import Releases, make_packages, offering
from imagebuild.smoke.served import PACKAGE, Earlier, ServedRelease
from imagebuild.tools.ostree import deltas, succession
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.rpm import Package
from tests.tools.ostree.commits import QUICK, REF


def make(tmp_path: Path, candidate: tuple[Path, str]) -> Releases:
    work = tmp_path / "work"
    work.mkdir()
    return Releases(work, candidate[0], REF, ServedRelease(commit=candidate[1], version="1.2"), None)


def with_previous(tmp_path: Path, repo: Path, commit: str, previous: str) -> Releases:
    work = tmp_path / "work"
    work.mkdir()
    return Releases(
        work,
        repo,
        REF,
        ServedRelease(commit=commit, version="1.2"),
        ServedRelease(commit=previous, version="1.1"),
    )


def test_releases_are_made_of_the_candidate(tmp_path: Path, candidate: tuple[Path, str]) -> None:
    releases = make(tmp_path, candidate)
    own = Repo(tmp_path / "work" / "repo")
    following = releases.next
    assert (following.version, own.parent(following.commit)) == ("1.2.next", candidate[1])
    assert own.read(following.commit, "usr/lib/os-release") == b"ID=test\nIMAGEBUILD_TEST=1.2.next\n"
    assert own.read(following.commit, "usr/share/data") == b"ID=test\n"
    assert own.metadata(following.commit) == {"version": "1.2.next", "rpmostree.inputhash": "x"}
    assert (
        own.timestamp(releases.older.commit) < own.timestamp(candidate[1]) < own.timestamp(following.commit)
    )
    assert own.parent(releases.after_older.commit) == releases.older.commit
    # nothing was copied
    assert len(list((tmp_path / "work" / "repo" / "objects").rglob("*.filez"))) <= 4
    assert not [file for file in candidate[0].rglob("*.commit") if file.stem == following.commit[2:]]


def test_only_the_unsigned_release_is_unsigned(tmp_path: Path, candidate: tuple[Path, str]) -> None:
    releases = make(tmp_path, candidate)
    (tmp_path / "key.asc").write_text(releases.key)
    with offering(tmp_path / "work", lambda _: releases) as offers:
        url = f"http://127.0.0.1:{offers.ports[80]}/repo"
        host = Repo.ensure(tmp_path / "host")
        trusted = Remote(url=url, keys=(tmp_path / "key.asc",), verify=True)
        releases.publish(releases.next)
        assert requests.get(f"{url}/refs/heads/{REF}", timeout=5).text.strip() == releases.next.commit
        host.pull(trusted, releases.next.commit, patience=QUICK)
        releases.publish(releases.unsigned)
        with pytest.raises(BuildError, match="not signed"):
            host.pull(trusted, releases.unsigned.commit, patience=QUICK)


def test_a_summary_of_the_real_repository_is_not_served(tmp_path: Path, candidate: tuple[Path, str]) -> None:
    Repo(candidate[0]).update_summary()
    with offering(tmp_path, lambda _: make(tmp_path, candidate)) as offers:
        assert requests.get(f"http://127.0.0.1:{offers.ports[80]}/repo/summary", timeout=5).status_code == 404


def test_a_commit_that_nobody_has_makes_no_releases(tmp_path: Path, candidate: tuple[Path, str]) -> None:
    with pytest.raises(NotTestedError, match="no repository has the commit"):
        make(tmp_path, (candidate[0], "ab" * 32))
    bare = Repo.ensure(tmp_path / "bare", "bare-user")
    (tmp_path / "work" / "x").mkdir()
    with pytest.raises(NotTestedError, match="not an archive repository"):
        Releases(
            tmp_path / "work" / "x", bare.path, REF, ServedRelease(commit=candidate[1], version="1"), None
        )


def test_a_package_is_made_with_the_real_tools(tmp_path: Path) -> None:
    assert make_packages(tmp_path) == "http://10.0.2.100/rpms/"
    files = {file.name.rpartition("-1-1")[0]: file for file in (tmp_path / "rpms").rglob("*.noarch.rpm")}
    parts = Package(PACKAGE)

    def asked(name: str, *options: str) -> list[str]:
        said = subprocess.run(
            ["rpm", "-qp", *options, files[name]], capture_output=True, text=True, check=True
        ).stdout
        return said.splitlines()

    assert asked(PACKAGE, "-l") == [parts.etc, f"/usr/bin/{PACKAGE}"]
    assert asked(PACKAGE, "-c") == [parts.etc]
    assert asked(parts.data, "-l") == [parts.share, parts.needed]
    assert f"{parts.data} = 1-1" in asked(PACKAGE, "--requires")
    # rpm-ostree 2018.7 runs these two, each in a shell, and refuses lua and triggers
    scripts = asked(PACKAGE, "--scripts")
    assert [line for line in scripts if "scriptlet (" in line] == [
        "preinstall scriptlet (using /bin/sh):", "postinstall scriptlet (using /bin/sh):",
    ]  # fmt: skip
    assert any("useradd" in line for line in scripts)
    assert f"echo 'scriptlet ran' > {parts.mark}" in scripts
    assert not asked(PACKAGE, "--triggers", "--filetriggers")
    metadata = [file.name for file in (tmp_path / "rpms" / "repodata").iterdir()]
    assert any(name.endswith("primary.xml.gz") for name in metadata), metadata


def test_hosts_walk_the_history_of_the_candidate_itself(tmp_path: Path, candidate: tuple[Path, str]) -> None:
    repo, commit = candidate
    parent = Repo(repo).parent(commit)
    assert parent is not None
    releases = with_previous(tmp_path, repo, commit, parent)
    assert (releases.lost, releases.after_older, releases.older.commit) == (None, releases.candidate, parent)
    with offering(tmp_path / "work", lambda _: releases) as offers:
        releases.publish(releases.after_older)
        host = Repo.ensure(tmp_path / "host")
        url = f"http://127.0.0.1:{offers.ports[80]}/repo"
        for argv in (
            ("remote", "add", "--no-gpg-verify", "r", url),
            ("pull", "--commit-metadata-only", "--depth=1", "r", REF),
        ):
            subprocess.run(["ostree", f"--repo={host.path}", *argv], check=True)
        assert host.metadata(parent)["version"] == "1.1"


def test_a_candidate_that_was_composed_in_an_empty_repository_hides_the_release_before(
    tmp_path: Path, candidate: tuple[Path, str]
) -> None:
    repo, commit = candidate
    orphan, _ = succession.relative(Repo(repo), commit, version="1.3", parent=None, timestamp=1_700_000_300)
    releases = with_previous(tmp_path, repo, orphan, commit)
    assert (
        releases.lost
        == f"the history of {orphan} does not lead to {commit}, the release before: {orphan} has no parent"
    )
    # what else is to be tested needs a way back all the same
    assert Repo(tmp_path / "work" / "repo").parent(releases.after_older.commit) == commit


def test_without_a_release_before_nothing_is_lost(tmp_path: Path, candidate: tuple[Path, str]) -> None:
    releases = make(tmp_path, candidate)
    assert (releases.lost, releases.older.version, releases.after_older.version) == (
        None,
        "1.2.older",
        "1.2.later",
    )


def test_a_host_that_comes_from_there_reads_the_static_delta(
    tmp_path: Path, candidate: tuple[Path, str]
) -> None:
    """A real client: with the delta it asks for no object of the tree; to others none is offered."""
    repo, commit = candidate
    previous = Repo(repo).parent(commit)
    assert previous is not None
    deltas.make(Repo(repo), previous, commit, tmp_path / "deltas")
    work = tmp_path / "work"
    work.mkdir()
    last = ServedRelease(commit=previous, version="1.1", ref="debian/11/x86_64/atomic-host")
    releases = Releases(
        work,
        repo,
        REF,
        ServedRelease(commit=commit, version="1.2"),
        None,
        Earlier(line=last, deltas={previous: tmp_path / "deltas"}),
    )
    assert releases.line == last
    with offering(work, lambda _: releases) as offers:
        host = Repo.ensure(tmp_path / "host", "bare-user")
        ostree = ["ostree", f"--repo={host.path}"]
        url = f"http://127.0.0.1:{offers.ports[80]}/repo"
        subprocess.run([*ostree, "remote", "add", "--no-gpg-verify", "r", url], check=True)
        releases.publish(last)
        subprocess.run([*ostree, "pull", "r", last.ref], check=True)
        assert not releases.deltas_read
        releases.publish(releases.candidate, coming_from=last)
        assert requests.get(f"{url}/summary", timeout=5).status_code == 200
        subprocess.run([*ostree, "pull", "--require-static-deltas", "r", REF], check=True)
        assert host.refs()[f"r:{REF}"] == commit
        assert [path for path in releases.deltas_read if path.endswith("superblock")]
        releases.publish(releases.next)
        assert requests.get(f"{url}/summary", timeout=5).status_code == 404
        subprocess.run([*ostree, "pull", "r", REF], check=True)
        assert host.refs()[f"r:{REF}"] == releases.next.commit
        assert not releases.deltas_read
