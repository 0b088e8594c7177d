"""What guests find at the test's server: releases made of the candidate, a registry, packages; real
repositories, real TLS, real RPMs.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from imagebuild.config.tree import TreeConfig
from imagebuild.errors import BuildError
from imagebuild.publish import stable as stable_repository
from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.releases import Releases, make_packages, offering
from imagebuild.smoke.served import PACKAGE, Earlier, ServedRelease
from imagebuild.stages.tree import Pin, pull_commit, release_before
from imagebuild.tools import gpg, oci, web
from imagebuild.tools.ostree import deltas, history, succession
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.rpm import Package
from tests.tools.ostree.commits import FILES, QUICK, REF, make_commit


@pytest.fixture
def candidate(tmp_path: Path) -> tuple[Path, str]:
    """A repository with one commit, whose os-release is a link, as in Fedora's atomic trees."""
    repo = Repo.ensure(tmp_path / "source")
    work = tmp_path / "tar"
    work.mkdir()
    commit = make_commit(repo, work, FILES)
    archive = work / "linked.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("usr/lib/os.release.d/os-release-atomichost", "usr/share/data"):
            (work / "file").write_bytes(b"ID=test\n")
            tar.add(work / "file", name)
        link = tarfile.TarInfo("usr/lib/os-release")
        link.type, link.linkname, link.mode = tarfile.SYMTYPE, "os.release.d/os-release-atomichost", 0o777
        tar.addfile(link)
    staged = repo.commit_tree(archive, [])
    metadata = {"version": "1.2", "rpmostree.inputhash": "x", "ostree.composefs.digest.v0": "stale"}
    second = repo.commit(
        staged, REF, parent=commit, metadata=metadata, subject="linked", timestamp=1_700_000_100
    )
    return tmp_path / "source", second


def make(tmp_path: Path, candidate: tuple[Path, str]) -> Releases:
    work = tmp_path / "work"
    work.mkdir()
    return Releases(work, candidate[0], REF, ServedRelease(commit=candidate[1], version="1.2"), None)


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


def test_a_registry_answers_as_its_specification_says(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    certificate, authority = web.make_certificate(tmp_path / "tls", "127.0.0.1")
    (tmp_path / "ca.pem").write_text(authority)
    with web.serving(oci.registry(oci.own_busybox()).get, certificate) as port:
        base = f"https://127.0.0.1:{port}/v2/"
        trust = str(tmp_path / "ca.pem")
        assert requests.get(base, verify=trust, timeout=5).status_code == 200
        answer = requests.get(f"{base}{oci.REPOSITORY}/manifests/{oci.TAG}", verify=trust, timeout=5)
        assert answer.headers["Content-Type"] == oci.MANIFEST
        assert (
            answer.headers["Docker-Content-Digest"] == f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        )
        manifest = answer.json()
        for part in (manifest["config"], *manifest["layers"]):
            blob = requests.get(
                f"{base}{oci.REPOSITORY}/blobs/{part['digest']}", verify=trust, timeout=5
            ).content
            assert (len(blob), f"sha256:{hashlib.sha256(blob).hexdigest()}") == (part["size"], part["digest"])
        assert (
            requests.head(f"{base}{oci.REPOSITORY}/manifests/2", verify=trust, timeout=5).status_code == 404
        )
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(base, timeout=5)


@pytest.mark.parametrize(
    "path", ["/repo/../secret", "/repo/%2e%2e/secret", "/repo/link", "/repo/", "/secret", "/repo//../secret"]
)
def test_nothing_outside_of_its_directories_is_served(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "repo" / "file").write_text("open")
    with web.serving(web.directories({"/repo/": [tmp_path / "repo"]})) as port:
        session = requests.Session()
        request = requests.Request("GET", f"http://127.0.0.1:{port}/").prepare()
        request.url = f"http://127.0.0.1:{port}{path}"
        assert session.send(request, timeout=5).status_code == 404
        assert requests.get(f"http://127.0.0.1:{port}/repo/file", timeout=5).text == "open"


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


def test_a_system_container_says_how_it_is_started() -> None:
    with tarfile.open(fileobj=io.BytesIO(oci.system_container_archive())) as archive:
        layer = archive.extractfile(next(name for name in archive.getnames() if name.endswith("/layer.tar")))
        assert layer is not None
        with tarfile.open(fileobj=layer) as inside:
            template = inside.extractfile("exports/config.json.template")
            assert template is not None
            assert "trap exit TERM" in json.loads(template.read())["process"]["args"][-1]


# --- the history that hosts walk ----------------------------------------------------------------------------


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


def test_hosts_walk_the_history_of_the_candidate_itself(tmp_path: Path, candidate: tuple[Path, str]) -> None:
    repo, commit = candidate
    parent = Repo(repo).parent(commit)
    assert parent is not None
    releases = with_previous(tmp_path, repo, commit, parent)
    assert (releases.lost, releases.after_older, releases.older.commit) == ("", releases.candidate, parent)
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


def test_commits_between_two_releases_are_walked_and_missed(
    tmp_path: Path, candidate: tuple[Path, str]
) -> None:
    repo, commit = candidate
    previous = Repo(repo).parent(commit)
    assert previous is not None
    latest, _ = succession.relative(Repo(repo), commit, version="1.3", parent=commit, timestamp=1_700_000_300)
    assert history.lost(Repo(repo), latest, previous) == ""
    assert history.between(Repo(repo).parent, latest, previous) == ([commit], "")
    Repo(repo).object_path(4, commit).unlink()
    assert history.lost(Repo(repo), latest, previous).endswith(f"{commit} is not in the repository")
    assert history.lost(Repo(repo), latest, "ab" * 32)


def test_a_history_is_not_walked_for_ever() -> None:
    asked: list[str] = []

    def parent(commit: str) -> str:
        asked.append(commit)
        return f"{int(commit, 16) + 1:064x}"

    walked, end = history.between(parent, "0" * 64, "f" * 64)
    assert (len(asked), end) == (history.DEPTH, f"{history.DEPTH:064x}")
    assert history.ending("0" * 64, "f" * 64, walked, there=True).endswith(
        "the release before: it is not among the last 400"
    )
    # damaged ones may go in a circle
    assert history.between(lambda commit: commit, "0" * 64, "f" * 64) == ([], "0" * 64)


def test_without_a_release_before_nothing_is_lost(tmp_path: Path, candidate: tuple[Path, str]) -> None:
    releases = make(tmp_path, candidate)
    assert (releases.lost, releases.older.version, releases.after_older.version) == (
        "",
        "1.2.older",
        "1.2.later",
    )


# --- the release before -------------------------------------------------------------------------------------


def config_of(repo: Path) -> TreeConfig:
    return TreeConfig(
        url=f"file://{repo}",
        allow_unsigned=True,
        osname="o",
        remote="r",
        update_url="https://example.org/x",
        update_gpg_key="/usr/x",
    )


def test_the_release_before_is_given_or_released_or_the_parent(candidate: tuple[Path, str]) -> None:
    repo, commit = candidate
    parent = Repo(repo).parent(commit)
    pinned = Pin(ref=REF, commit=commit)
    found = release_before(config_of(repo), pinned)
    assert found.pin is not None
    assert found.pin.commit == parent
    assert parent is not None
    for given, released in ((parent, None), (None, parent), (commit, parent)):
        again = release_before(config_of(repo), pinned, given=given, released=released)
        assert again.pin == found.pin
    first = release_before(config_of(repo), Pin(ref=REF, commit=parent))
    assert (first.pin, first.first) == (None, True)
    assert "has no parent" in first.why_not


def test_a_release_that_is_not_there_any_more_is_no_first_release(candidate: tuple[Path, str]) -> None:
    repo, commit = candidate
    parent = Repo(repo).parent(commit)
    assert parent is not None
    Repo(repo).object_path(4, parent).unlink()
    found = release_before(config_of(repo), Pin(ref=REF, commit=commit))
    assert (found.pin, found.first) == (None, False)
    assert f"has no commit {parent}" in found.why_not
    with pytest.raises(BuildError, match="no usable commit object"):
        release_before(config_of(repo), Pin(ref=REF, commit=parent))


def test_the_commits_between_two_releases_come_along(tmp_path: Path, candidate: tuple[Path, str]) -> None:
    """Nightlies between two releases: nothing of their trees is pulled, but hosts of the test, and of the
    release, walk over them.
    """
    repo, middle = candidate
    previous = Repo(repo).parent(middle)
    latest, _ = succession.relative(Repo(repo), middle, version="1.3", parent=middle, timestamp=1_700_000_300)
    assert previous is not None
    found = release_before(config_of(repo), Pin(ref=REF, commit=latest), given=previous)
    assert (found.pin, found.between, found.lost) == (Pin(ref=REF, commit=previous), (middle,), "")
    store = Repo.ensure(tmp_path / "store")
    source = Remote(url=f"file://{repo}", keys=(), verify=False)
    store.pull(source, latest)
    pull_commit(tmp_path, Pin(ref=REF, commit=previous), config_of(repo), store.path, found.between)
    assert store.has(previous)
    assert (store.has_commit_object(middle), store.has(middle)) == (True, False)
    assert history.lost(store, latest, previous) == ""
    # and the stable repository, from there
    stable = Repo.ensure(tmp_path / "stable")
    stable.pull(source, latest)
    stable.pull(source, previous)
    assert history.lost(stable, latest, previous).endswith(f"{middle} is not in the repository")
    wanted: Any = SimpleNamespace(source=store.path)
    for _ in range(2):
        stable_repository._bring_history(stable, wanted, latest, previous)
        assert history.lost(stable, latest, previous) == ""
    subprocess.run(["ostree", f"--repo={stable.path}", "fsck", "--quiet"], check=True)
    # what was only passed over can be had whole later
    store.pull(source, middle)
    assert store.has(middle)


def test_a_release_that_is_not_in_the_history_is_said_at_the_plan(
    tmp_path: Path, candidate: tuple[Path, str]
) -> None:
    repo, commit = candidate
    orphan, _ = succession.relative(Repo(repo), commit, version="1.3", parent=None, timestamp=1_700_000_300)
    found = release_before(config_of(repo), Pin(ref=REF, commit=orphan), given=commit)
    assert found.pin == Pin(ref=REF, commit=commit)
    assert (found.between, found.lost) == (
        (),
        f"the history of {orphan} does not lead to {commit}, the release before: {orphan} has no parent",
    )
    previous = Repo(repo).parent(commit)
    assert previous is not None
    latest, _ = succession.relative(Repo(repo), commit, version="1.4", parent=commit, timestamp=1_700_000_400)
    Repo(repo).object_path(4, commit).unlink()
    gone = release_before(config_of(repo), Pin(ref=REF, commit=latest), given=previous)
    assert gone.lost.endswith(f"{commit} is not in the repository")


def test_a_commit_between_that_nobody_signed_holds_nothing_up(
    tmp_path: Path, candidate: tuple[Path, str]
) -> None:
    """Hosts that check signatures cannot walk over it: a criterion says so, and everything else is tested."""
    repo, middle = candidate
    previous = Repo(repo).parent(middle)
    latest, _ = succession.relative(Repo(repo), middle, version="1.3", parent=middle, timestamp=1_700_000_300)
    assert previous is not None
    with gpg.keyring(tmp_path / "gnupg") as homedir:
        key = gpg.ensure_key(homedir, "release <release@localhost>")
        gpg.export_key(homedir, key, tmp_path / "key.asc")
        for commit in (previous, latest):
            Repo(repo).sign(commit, key, homedir)
    checked = config_of(repo).model_copy(
        update={"allow_unsigned": False, "gpg_keys": [str(tmp_path / "key.asc")]}
    )
    store = Repo.ensure(tmp_path / "store")
    store.pull(Remote(url=f"file://{repo}", keys=(tmp_path / "key.asc",), verify=True), latest)
    pull_commit(tmp_path, Pin(ref=REF, commit=previous), checked, store.path, (middle,))
    assert store.has(previous)
    assert history.lost(store, latest, previous).endswith(f"{middle} is not in the repository")


# --- static deltas ------------------------------------------------------------------------------------------


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
