"""Package diffs of rpm trees: from the list in the commit's metadata, and from the rpm database itself, with changelogs. Real rpm, real commits."""

import tarfile
from pathlib import Path

import gi
import pytest

gi.require_version("OSTree", "1.0")
from gi.repository import GLib  # noqa: E402  # tests of what libostree gives

from imagebuild.errors import BuildError  # noqa: E402
from imagebuild.publish import changes  # noqa: E402
from imagebuild.publish.changes import Package, packages_of  # noqa: E402
from imagebuild.publish.facts import TreeFacts  # noqa: E402
from imagebuild.tools import command  # noqa: E402
from imagebuild.tools.ostree import Repo  # noqa: E402

SPEC = """Name: {name}
Epoch: {epoch}
Version: {version}
Release: {release}
Summary: x
License: MIT
BuildArch: noarch
%description
x
%files
%changelog
* Wed Jan 03 2018 A <a@example.org> - 2.0-1
- A hole is closed
* Tue Jan 02 2018 A <a@example.org> - 1.10-1
- A bug is fixed
* Mon Jan 01 2018 A <a@example.org> - 1.9-1
- Old
"""


def package(place: Path, name: str, version: str, release: str = "1.fc27", epoch: int = 0) -> Path:
    spec = place / f"{name}-{version}.spec"
    spec.write_text(SPEC.format(name=name, version=version, release=release, epoch=epoch))
    command.run(["rpmbuild", "-bb", "--define", f"_topdir {place}/build", "--define", f"_rpmdir {place}/rpms", spec])
    return next((place / "rpms").rglob(f"{name}-{version}-*.rpm"))


def database(place: Path, packages: list[Path]) -> Path:
    place.mkdir()
    command.run(["rpm", "--dbpath", place, "--initdb"])
    command.run(["rpm", "--dbpath", place, "--install", "--justdb", "--nodeps", "--noscripts", "--nosignature", *packages])
    return place


def commit(repo: Repo, place: Path, files: dict[str, Path]) -> str:
    archive = place / "tree.tar"
    with tarfile.open(archive, "w") as tar:
        for name, file in files.items():
            tar.add(file, name)
    return repo.commit(repo.commit_tree(archive, []), "x/1", parent=None, metadata={"version": "1"}, subject="x", timestamp=1)


def facts(commit: str) -> TreeFacts:
    return TreeFacts(commit=commit, version="1", kernel="1", size=1, files=1)


def test_the_rpm_database_of_a_tree(tmp_path: Path) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    old = database(tmp_path / "old", [package(tmp_path, "same", "1.0"), package(tmp_path, "tool", "1.9"), package(tmp_path, "gone", "1.0")])
    new = database(
        tmp_path / "new", [package(tmp_path, "same", "1.0"), package(tmp_path, "tool", "2.0"), package(tmp_path, "fresh", "3.0", epoch=2)]
    )
    commits = [commit(repo, tmp_path, {f"usr/share/rpm/{file.name}": file for file in place.iterdir()}) for place in (old, new)]
    found = changes.difference(repo, facts(commits[0]), facts(commits[1]))
    assert found.sections() == [
        ("Upgraded", ["tool 1.9-1.fc27.noarch -> 2.0-1.fc27.noarch"]), ("Removed", ["gone-1.0-1.fc27.noarch"]),
        ("Added", ["fresh-2:3.0-1.fc27.noarch"]),
    ]  # fmt: skip
    assert found.upgraded[0].changelog == ("- A hole is closed", "- A bug is fixed")


def test_the_list_in_the_commits_metadata(tmp_path: Path) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    first = commit(repo, tmp_path, {})
    handle = repo.handle
    _, old, _ = handle.load_commit(first)
    rows = [
        ("kernel", "0", "4.5.6", "200.fc27", "x86_64"),
        ("kernel", "0", "4.5.10", "200.fc27", "x86_64"),
        ("shadow-utils", "2", "4.5", "4.fc27", "x86_64"),
    ]
    metadata = GLib.Variant("a{sv}", {"version": GLib.Variant("s", "1"), changes.PKGLIST: GLib.Variant("a(sssss)", rows)})
    _, root, _ = handle.read_commit(first, None)
    with repo.transaction():
        _, made = handle.write_commit_with_time(None, "x", None, metadata, root, 1, None)
    assert old is not None
    assert set(packages_of(repo, made).installed.values()) == {
        Package(name="kernel", version="4.5.10-200.fc27", arch="x86_64"), Package(name="shadow-utils", version="2:4.5-4.fc27", arch="x86_64"),
    }  # fmt: skip
    assert changes.difference(repo, facts(made), facts(made)).text().endswith("No packages changed.\n")


def test_a_tree_without_a_database(tmp_path: Path) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    with pytest.raises(BuildError, match="has no package database"):
        packages_of(repo, commit(repo, tmp_path, {}))
