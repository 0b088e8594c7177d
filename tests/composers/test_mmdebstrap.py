"""Composing: nothing changed makes no commit, a change makes the next version, signed."""

import io
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.composers import mmdebstrap, rpm_ostree
from imagebuild.composers.composer import Composed, Job
from imagebuild.composers.mmdebstrap import MmdebstrapConfig
from imagebuild.composers.rpm_ostree import RpmOstreeConfig
from imagebuild.config.tree import TreeConfig
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.tools import emulation, programs
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.signatures import signatures

REF = "debian/12/x86_64/atomic-host"


def tree(directory: Path) -> TreeConfig:
    return TreeConfig.model_validate(
        {
            "url": f"file://{directory}/repo",
            "gpg_keys": [str(directory / "signing-key.asc")],
            "osname": "os",
            "remote": "os",
            "update_url": "https://example.org",
            "update_gpg_key": "/usr/share/ostree/key.asc",
        }
    )


def compose(
    directory: Path, options: MmdebstrapConfig, followed: TreeConfig, cache: Path, *, refresh: bool = False
) -> Composed:
    job = Job(directory=directory, ref=REF, tree=followed, cache=cache, refresh=refresh)
    return mmdebstrap.compose(job, options)


def spec(*packages: str, text: str = "VERSION=${version}") -> MmdebstrapConfig:
    return MmdebstrapConfig(
        composer="mmdebstrap",
        suite="bookworm",
        version="12",
        packages=packages,
        files={"usr/lib/os-release": text},
        signing_user="test key <test@example.org>",
    )


@pytest.fixture(autouse=True)
def _packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed packages: what mmdebstrap would make, in a moment. The real one runs in the `vm`
    tests.
    """

    def archive(spec: MmdebstrapConfig, target: Path, arch: str) -> None:
        with tarfile.open(target, "w") as tar:
            for package in spec.packages:
                info = tarfile.TarInfo(f"usr/share/{package}")
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)

    monkeypatch.setattr(mmdebstrap, "_mmdebstrap", archive)


def test_unchanged_makes_no_commit_and_changed_makes_the_next_version(tmp_path: Path) -> None:
    directory, cache = tmp_path / "compose", tmp_path / "cache"
    settings = tree(directory)
    first = compose(directory, spec("bash"), settings, cache)
    assert (first.version, first.new) == ("12.1", True)
    again = compose(directory, spec("bash"), settings, cache)
    assert (again.commit, again.new) == (first.commit, False)
    # asked again, the mirror has the same: other inputs, equal content
    assert len(signatures(Repo(directory / "repo").detached_metadata(first.commit) or b"")) == 1, (
        "signed by each run, but once"
    )
    refreshed = compose(directory, spec("bash"), settings, cache, refresh=True)
    assert (refreshed.commit, refreshed.new) == (first.commit, False)
    second = compose(directory, spec("bash", "coreutils"), settings, cache)
    assert (second.version, second.new) == ("12.2", True)
    repo = Repo(directory / "repo")
    assert repo.refs()[REF] == second.commit
    assert repo.parent(second.commit) == first.commit
    assert repo.metadata(second.commit)["version"] == "12.2"
    assert repo.read(second.commit, "usr/lib/os-release") == b"VERSION=12.2"
    assert repo.timestamp(second.commit) > repo.timestamp(first.commit)


def test_the_commit_is_signed_and_carries_its_key(tmp_path: Path) -> None:
    directory = tmp_path / "compose"
    composed = compose(directory, spec("bash"), tree(directory), tmp_path / "cache")
    key = directory / "signing-key.asc"
    target = Repo.ensure(tmp_path / "pulled")
    target.pull(Remote(url=f"file://{composed.repo}", keys=(key,), verify=True), composed.commit)
    assert target.read(composed.commit, "usr/share/ostree/key.asc") == key.read_bytes()
    assert target.listing(composed.commit, "dev") == []


def test_a_commit_that_a_killed_run_left_unsigned_is_signed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "compose"

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Repo, "sign", dies)
        with pytest.raises(KeyboardInterrupt):
            compose(directory, spec("bash"), tree(directory), tmp_path / "cache")
    composed = compose(directory, spec("bash"), tree(directory), tmp_path / "cache")
    assert composed.version == "12.1"
    target = Repo.ensure(tmp_path / "pulled")
    target.pull(
        Remote(url=f"file://{composed.repo}", keys=(directory / "signing-key.asc",), verify=True),
        composed.commit,
    )


def test_a_new_ref_can_begin_with_a_release_to_upgrade_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, status = "usr/lib/sysimage/dpkg/info", "usr/lib/sysimage/dpkg/status"
    # dpkg's files as dpkg 1.21 writes them: a list names directories, too, and /bin is a link into /usr
    content = {
        "usr/bin/curl": b"c",
        "usr/bin/odd": b"o",
        "usr/etc/curlrc": b"x",
        "usr/bin/bash": b"b",
        f"{info}/curl.list": (
            b"/.\n/usr\n/usr/bin\n/usr/bin/curl\n/bin/odd\n/etc/curlrc\n/usr/share/doc/curl/copyright\n"
        ),
        f"{info}/curl.md5sums": b"",
        f"{info}/bash.list": b"/usr/bin/bash\n",
        f"{info}/curl-more.list": b"",
        status: (
            b"Package: bash\nStatus: install ok installed\n\nPackage: curl\nStatus: install ok installed\n"
        ),
    }

    def archive(_: MmdebstrapConfig, target: Path, __: str) -> None:
        with tarfile.open(target, "w") as tar:
            for name, data in content.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))

    monkeypatch.setattr(mmdebstrap, "_mmdebstrap", archive)
    changes = {
        "first_without": {"packages": ["curl"], "files": ["usr/share/news"]},
        "files": {"usr/share/news": "new", "usr/v": "${version}"},
    }
    demo = MmdebstrapConfig.model_validate(spec("bash", "curl").model_dump() | changes)
    directory = tmp_path / "compose"
    composed = compose(directory, demo, tree(directory), tmp_path / "cache")
    repo = Repo(directory / "repo")
    first = repo.parent(composed.commit)
    assert first is not None
    assert repo.parent(first) is None
    assert [repo.read(commit, "usr/v") for commit in (first, composed.commit)] == [b"12.1", b"12.2"]
    assert {entry.path for entry in repo.walk(composed.commit)} - {
        entry.path for entry in repo.walk(first)
    } == {
        PurePosixPath("/") / name
        for name in (
            "usr/bin/curl",
            "usr/bin/odd",
            "usr/etc/curlrc",
            "usr/share/news",
            f"{info}/curl.list",
            f"{info}/curl.md5sums",
        )
    }
    assert repo.read(first, status) == b"Package: bash\nStatus: install ok installed"
    # both are signed, and nothing is made twice
    key = directory / "signing-key.asc"
    Repo.ensure(tmp_path / "pulled").pull(Remote(url=f"file://{repo.path}", keys=(key,), verify=True), first)
    assert not compose(directory, demo, tree(directory), tmp_path / "cache").new


@pytest.mark.parametrize("lacking", [{"packages": ["zsh"]}, {"packages": ["bash"], "files": ["usr/share/x"]}])
def test_what_the_first_commit_lacks_must_be_in_the_tree(lacking: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        MmdebstrapConfig.model_validate(spec("bash").model_dump() | {"first_without": lacking})


def test_a_commit_that_was_left_unsigned_is_signed_under_a_newer_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosts that deploy by version walk through it, and whoever pulls it alone checks it."""
    directory = tmp_path / "compose"

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Repo, "sign", dies)
        with pytest.raises(KeyboardInterrupt):
            compose(directory, spec("bash"), tree(directory), tmp_path / "cache")
    composed = compose(directory, spec("bash", "vim"), tree(directory), tmp_path / "cache")
    lost = Repo(composed.repo).parent(composed.commit)
    assert (composed.version, lost is None) == ("12.2", False)
    target = Repo.ensure(tmp_path / "pulled")
    target.pull(
        Remote(url=f"file://{composed.repo}", keys=(directory / "signing-key.asc",), verify=True), str(lost)
    )


def test_a_half_written_archive_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(spec: MmdebstrapConfig, target: Path, arch: str) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(mmdebstrap, "_mmdebstrap", dies)
    with pytest.raises(KeyboardInterrupt):
        compose(tmp_path / "compose", spec("bash"), tree(tmp_path / "compose"), tmp_path / "cache")
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


RUN_MMDEBSTRAP = mmdebstrap._mmdebstrap
# apt 3.0 and 2.6 on a mirror whose lists were three weeks too old (forky, November 2026)
EXPIRED = (
    "E: Release file for http://deb.debian.org/debian/dists/forky/InRelease is expired (invalid since 21d)."
)


@pytest.mark.parametrize(
    ("says", "hint"),
    [(EXPIRED, "compose.check_valid_until: false"), ("E: Connection failed", "cannot be reached")],
)
def test_why_no_packages_came_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, hint: str
) -> None:
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/argv\necho "{says}" >&2\nexit 25\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    for check in (True, False):
        with pytest.raises(BuildError, match="could not install the packages of") as caught:
            RUN_MMDEBSTRAP(
                spec("bash").model_copy(update={"check_valid_until": check}), tmp_path / "tar", "x86_64"
            )
        assert hint in caught.value.hint
        asked = '--aptopt=Acquire::Check-Valid-Until "false"' in (tmp_path / "argv").read_text()
        assert asked is not check


def test_packages_of_another_architecture_are_asked_for_where_their_scripts_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "INITRD=$INITRD" > {tmp_path}/argv\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(emulation, "reason_not_to_run", lambda _: None)
    for arch, words in (("aarch64", {"--architectures=arm64", "--skip=check/qemu"}), ("x86_64", set[str]())):
        monkeypatch.setattr(mmdebstrap, "builder_architecture", lambda: "x86_64")
        RUN_MMDEBSTRAP(spec("bash"), tmp_path / "tar", arch)
        asked = set((tmp_path / "argv").read_text().splitlines())
        assert "INITRD=No" in asked
        assert {word for word in asked if word.startswith(("--arch", "--skip=check"))} == words
    monkeypatch.setattr(emulation, "reason_not_to_run", lambda _: "nothing runs them")
    with pytest.raises(BuildError, match="are for aarch64, and this machine cannot run them"):
        RUN_MMDEBSTRAP(spec("bash"), tmp_path / "tar", "aarch64")


def test_rpm_ostree_composes_for_its_own_architecture_only(tmp_path: Path) -> None:
    job = Job(directory=tmp_path, ref=REF, tree=tree(tmp_path), cache=tmp_path, arch="aarch64")
    with pytest.raises(BuildError, match="not for aarch64"):
        rpm_ostree.compose(job, RpmOstreeConfig(composer="rpm-ostree", treefile="/x.json"))


def test_rpm_ostree_is_asked_for_by_name_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "search_path", lambda: "/nowhere")
    with pytest.raises(MissingToolError, match="rpm-ostree is not installed") as caught:
        rpm_ostree.compose(
            Job(directory=tmp_path, ref=REF, tree=tree(tmp_path), cache=tmp_path),
            RpmOstreeConfig(composer="rpm-ostree", treefile="/x.json"),
        )
    assert "dnf install rpm-ostree" in caught.value.hint
