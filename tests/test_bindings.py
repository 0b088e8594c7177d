"""Commits that are bound to refs: refused where hosts would refuse them, before work is done; real `ostree
commit`, real hosts' pulls.
"""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gi.repository import GLib

from imagebuild.config.images import KickstartConfig
from imagebuild.errors import BuildError
from imagebuild.installers.lorax.backend import template_variables
from imagebuild.publish import binding
from imagebuild.smoke.releases import Releases, offering
from imagebuild.smoke.served import ServedRelease
from imagebuild.stages import smoke
from imagebuild.stages.kickstart import write_kickstart
from imagebuild.stages.toolbox import make_toolbox
from imagebuild.stages.tree import Pin, describe_tree, release_before
from imagebuild.tools.ostree.binding import binding_of
from imagebuild.tools.ostree.commit_writer import Staged
from imagebuild.tools.ostree.repository import Repo
from tests import release_lab
from tests.cli.running import CONFIG, run
from tests.installers.lorax.lab import installer, request
from tests.publish.releasing import go, line_in
from tests.release_lab import FIRST, Line
from tests.smoke.trials import TERMS
from tests.tools.ostree.commits import FILES, make_commit
from tests.tools.ostree.commits import REF as BUILT
from tests.tools.settings import settings

STABLE = "test/1/x86_64/stable"
NIGHTLY = "debian/12/x86_64/updates/atomic-host"
COLLECTION = "org.example.Os"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    (tmp_path / "tar").mkdir()
    made = Repo.ensure(tmp_path / "source")
    make_commit(made, tmp_path / "tar", FILES, "1.1")
    return made


@pytest.fixture
def line(tmp_path: Path, homedir: Path) -> Line:
    return line_in(tmp_path, homedir)


def bound(repo: Repo, *options: str, version: str = "1.2", ref: str = BUILT) -> str:
    """Commit the last tree of a ref again, by the real program, which binds it to the ref and to what the
    options say.
    """
    tree = repo.refs()[BUILT]
    argv = [
        "ostree",
        f"--repo={repo.path}",
        "commit",
        f"--tree=ref={tree}",
        f"--add-metadata-string=version={version}",
        "--subject=x",
    ]
    where = [] if "--orphan" in options else [f"--branch={ref}"]
    return subprocess.run(
        [*argv, *where, *options], check=True, capture_output=True, text=True
    ).stdout.strip()


def hosts_pull(place: Path, url: str, ref: str) -> str:
    """Pull a ref as hosts do; return what was complained of."""
    run_ = ["ostree", f"--repo={place}"]
    subprocess.run([*run_, "init", "--mode=bare-user"], check=True, capture_output=True)
    subprocess.run(
        [*run_, "remote", "add", "--force", "--no-gpg-verify", "o", url], check=True, capture_output=True
    )
    return subprocess.run(
        [*run_, "pull", "o", ref], check=False, capture_output=True, text=True
    ).stderr.strip()


# --- what hosts take ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "collection", "complaint"),
    [
        ((), "", f"is bound to {BUILT} (metadata ostree.ref-binding), not to {STABLE}"),
        ((f"--bind-ref={STABLE}",), "", ""),
        (("--bind-ref=a/b", "--bind-ref=c/d"), "", "is bound to a/b, c/d, test/1/x86_64/host"),
        (("--orphan",), "", "is bound to no ref at all"),
        ((f"--bind-ref={STABLE}",), COLLECTION, "is bound to no collection"),
        (
            (f"--bind-ref={STABLE}", "--add-metadata-string=ostree.collection-binding=org.Other"),
            COLLECTION,
            "is bound to org.Other",
        ),
        (
            (f"--bind-ref={STABLE}", f"--add-metadata-string=ostree.collection-binding={COLLECTION}"),
            COLLECTION,
            "",
        ),
        ((f"--bind-ref={STABLE}", "--add-metadata-string=ostree.collection-binding=org.Other"), "", ""),
    ],
)
def test_hosts_are_of_the_same_opinion(
    repo: Repo, tmp_path: Path, options: tuple[str, ...], collection: str, complaint: str
) -> None:
    commit = bound(repo, *options)
    said = binding_of(repo.metadata_object(4, commit)).reason_to_refuse(STABLE, collection=collection)
    assert (said or "").startswith(complaint) if complaint else said is None
    repo.set_ref(STABLE, commit)
    if collection:
        subprocess.run(
            ["ostree", f"--repo={repo.path}", "config", "set", "core.collection-id", collection], check=True
        )
    complained = hosts_pull(tmp_path / "host", f"file://{repo.path}", STABLE)
    assert ("error:" in complained) is bool(said), (said, complained)


def test_what_the_api_commits_is_bound_to_nothing(repo: Repo, tmp_path: Path) -> None:
    commit = repo.refs()[BUILT]
    found = binding_of(repo.metadata_object(4, commit))
    assert (found.refs, found.reason_to_refuse(STABLE)) == (None, None)
    assert "bound to no ref" in (found.reason_to_refuse(STABLE, collection=COLLECTION) or "")
    repo.set_ref(STABLE, commit)
    assert "error:" not in hosts_pull(tmp_path / "one", f"file://{repo.path}", STABLE)
    subprocess.run(
        ["ostree", f"--repo={repo.path}", "config", "set", "core.collection-id", COLLECTION], check=True
    )
    assert "found none" in hosts_pull(tmp_path / "other", f"file://{repo.path}", STABLE)


def test_what_is_no_commit_is_said() -> None:
    with pytest.raises(BuildError, match="not a commit object"):
        binding_of(b"<html>")


# --- the plan -----------------------------------------------------------------------------------------------


def plan(repo: Repo, tmp_path: Path, publish: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "test.yaml"
    text = CONFIG.format(url=f"file://{repo.path}", key="", size="6 GiB").replace(
        "  gpg_keys: []", "  allow_unsigned: true"
    )
    file.write_text(text + f"publish: {publish}\n")
    return run("all", "--plan", "--config", file, "--store", tmp_path / "store", "--output", tmp_path / "out")


def test_the_plan_refuses_what_hosts_would_refuse(repo: Repo, tmp_path: Path) -> None:
    commit = bound(repo)
    refused = plan(repo, tmp_path, f"{{ref: {STABLE}}}")
    assert refused.returncode == 1, refused.stdout
    words = " ".join(refused.stderr.split())
    for word in (
        commit,
        STABLE,
        f"is bound to {BUILT}",
        f"ostree commit --bind-ref={STABLE}",
        "publish.ref",
        "ostree.ref-binding",
    ):
        assert word in words, words
    for publish in ("{}", f"{{ref: {BUILT}}}"):
        good = plan(repo, tmp_path, publish)
        assert (good.returncode, "build  pull" in good.stdout) == (0, True), good.stderr
    bound(repo, f"--bind-ref={STABLE}", version="1.3")
    assert plan(repo, tmp_path, f"{{ref: {STABLE}}}").returncode == 0


def test_the_plan_says_when_summary_and_refs_disagree(repo: Repo, tmp_path: Path) -> None:
    repo.update_summary()
    told = repo.refs()[BUILT]
    head = make_commit(repo, tmp_path / "tar", FILES | {"usr/new": b"new"}, "1.2")
    planned = plan(repo, tmp_path, "{}")
    assert planned.returncode == 0, planned.stderr
    assert f"{BUILT} is {head}\n" in planned.stdout
    assert f"{told} in the summary" in planned.stdout


def test_a_nightly_ref_is_bound_to_the_stable_one_too(repo: Repo, line: Line) -> None:
    loaded, stable = line.config, "debian/12/x86_64/atomic-host"
    assert loaded.stable_ref(NIGHTLY) == stable
    commit = bound(repo, ref=NIGHTLY)
    with pytest.raises(BuildError, match=f"is bound to {NIGHTLY}"):
        binding.check(loaded, NIGHTLY, commit, repo.metadata_object(4, commit))
    commit = bound(repo, f"--bind-ref={stable}", ref=NIGHTLY)
    binding.check(loaded, NIGHTLY, commit, repo.metadata_object(4, commit))


def test_a_release_before_that_no_host_can_have_is_said(repo: Repo) -> None:
    source = settings(f"file://{repo.path}")
    old = bound(repo)
    new = bound(repo, f"--bind-ref={STABLE}", version="1.3")
    pinned = Pin(ref=BUILT, commit=new, update_ref=STABLE)
    for given, released, first in ((None, None, True), (None, old, False), (old, None, False)):
        before = release_before(source, pinned, given=given, released=released)
        assert (before.pin, before.first) == (None, first)
        assert f"hosts cannot pull the commit {old}: it is bound to {BUILT}" in (before.why_not or "")
    # under the ref that it was built for it can
    found = release_before(source, Pin(ref=BUILT, commit=new))
    assert found.pin == Pin(ref=BUILT, commit=old)


# --- promotion ----------------------------------------------------------------------------------------------


def binding_to(*refs: str) -> Callable[..., str]:
    """Commit as `ostree commit` does: bound to refs."""

    def commit(
        self: Repo,
        staged: Staged,
        ref: str,
        *,
        parent: str | None,
        metadata: Any,
        subject: str,
        timestamp: int,
    ) -> str:
        values = {key: GLib.Variant("s", value) for key, value in metadata.items()} | {
            "ostree.ref-binding": GLib.Variant("as", refs)
        }
        with self.transaction():
            _, root = self.handle.write_mtree(staged.mtree, None)
            made = self.handle.write_commit_with_time(
                parent, subject, None, GLib.Variant("a{sv}", values), root, timestamp, None
            )[1]
            self.handle.transaction_set_ref(None, ref, made)
        return str(made)

    return commit


def release_bound_to(line: Line, monkeypatch: pytest.MonkeyPatch, *refs: str) -> Path:
    line.changes["publish"] |= {"ref": STABLE}
    monkeypatch.setattr(Repo, "commit", binding_to(*refs))
    return line.release(line.material(line.commit("12.1", FIRST)))


def test_promotion_refuses_before_anything_is_sent(
    line: Line,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = release_bound_to(line, monkeypatch, release_lab.REF)
    with pytest.raises(BuildError, match=f"hosts that follow {STABLE} would refuse the commit") as caught:
        go(line, place)
    assert f"--bind-ref={STABLE}" in caught.value.hint
    assert not (tmp_path / "stable").exists()
    assert not (tmp_path / "mirror" / place.name).exists()


def test_what_is_bound_to_the_stable_ref_is_promoted_and_pulled(
    line: Line,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = release_bound_to(line, monkeypatch, release_lab.REF, STABLE)
    go(line, place)
    assert Repo(tmp_path / "stable").refs() == {STABLE: line.trees[0].commit}
    assert "error" not in hosts_pull(tmp_path / "host", f"file://{tmp_path}/stable", STABLE)


def test_a_stable_repository_with_a_collection_wants_its_binding(
    line: Line,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = release_bound_to(line, monkeypatch, STABLE)
    Repo.ensure(tmp_path / "stable")
    subprocess.run(
        ["ostree", f"--repo={tmp_path}/stable", "config", "set", "core.collection-id", COLLECTION], check=True
    )
    with pytest.raises(BuildError, match=f"not to the repository's collection id {COLLECTION}") as caught:
        go(line, place)
    assert "--collection-id" in caught.value.hint


# --- hosts and their test -----------------------------------------------------------------------------------


def test_installed_hosts_follow_the_stable_ref(repo: Repo, tmp_path: Path) -> None:
    tree = describe_tree(repo, Pin(ref=BUILT, commit=repo.refs()[BUILT], update_ref=STABLE))
    source = settings(f"file://{repo.path}")
    kickstart = write_kickstart(
        tmp_path, tree, KickstartConfig(template="debian-12-cloud.ks", syntax="F28"), source, ""
    )
    assert f" --ref={STABLE}\n" in kickstart.file.read_text()
    # what the installers embed
    (tmp_path / "toolbox").mkdir()
    made = make_toolbox(tmp_path / "toolbox", tree).image
    listing = subprocess.run(["unsquashfs", "-l", made], check=True, capture_output=True, text=True).stdout
    assert f"/refs/heads/{STABLE}\n" in listing
    assert f"/refs/heads/{BUILT}\n" not in listing


def test_the_lorax_installer_embeds_it(repo: Repo, tmp_path: Path) -> None:
    tree = describe_tree(repo, Pin(ref=BUILT, commit=repo.refs()[BUILT], update_ref=STABLE))
    given = request(tmp_path, tree, installer(tmp_path))
    assert template_variables(given)["ostree_ref"] == STABLE


def test_the_kickstart_that_is_printed_has_it_too(repo: Repo, tmp_path: Path) -> None:
    file = tmp_path / "test.yaml"
    file.write_text(
        CONFIG.format(url=f"file://{repo.path}", key="/k", size="6 GiB") + f"publish: {{ref: {STABLE}}}\n"
    )
    finished = run("kickstart", "--config", file, "--store", tmp_path)
    assert f" --ref={STABLE}\n" in finished.stdout, finished.stderr


def test_the_test_serves_releases_under_the_ref_that_hosts_follow(repo: Repo, tmp_path: Path) -> None:
    commit = bound(repo, f"--bind-ref={STABLE}")
    tree = describe_tree(repo, Pin(ref=BUILT, commit=commit, update_ref=STABLE))
    promise = smoke.promise_of(tree, (), replace(TERMS, remote="os"))
    assert promise.refspec == f"os:{STABLE}"
    work = tmp_path / "work"
    work.mkdir()
    releases = Releases(work, repo.path, promise.ref, ServedRelease(commit=commit, version="1.2"), None)
    with offering(work, lambda _: releases) as offers:
        url = f"http://127.0.0.1:{offers.ports[80]}/repo"
        for release in (releases.candidate, releases.next, releases.older, releases.after_older):
            releases.publish(release)
            assert "error" not in hosts_pull(tmp_path / "host", url, STABLE), release


def test_releases_of_a_commit_that_is_bound_elsewhere_can_be_pulled_all_the_same(
    repo: Repo, tmp_path: Path
) -> None:
    # of an image that was given by hand: what is wrong with the candidate is not wrong with what is made for
    # the test
    commit = bound(repo)
    work = tmp_path / "work"
    work.mkdir()
    releases = Releases(work, repo.path, STABLE, ServedRelease(commit=commit, version="1.2"), None)
    own = Repo(work / "repo")
    assert own.metadata(releases.next.commit)["ostree.ref-binding"] == sorted([BUILT, STABLE])
    with offering(work, lambda _: releases) as offers:
        url = f"http://127.0.0.1:{offers.ports[80]}/repo"
        releases.publish(releases.next)
        assert "error" not in hosts_pull(tmp_path / "host", url, STABLE)
        releases.publish(releases.candidate)
        assert "no requested ref" in hosts_pull(tmp_path / "host", url, STABLE)
