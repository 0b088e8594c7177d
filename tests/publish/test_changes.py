"""Package diffs of rpm trees: from the list in the commit's metadata, and from the rpm database itself, with
changelogs. Real rpm, real commits.
"""

import gzip
import tarfile
from pathlib import Path

import gi
import pytest

gi.require_version("OSTree", "1.0")
from gi.repository import GLib  # noqa: E402  # tests of what libostree gives

from imagebuild.errors import BuildError  # noqa: E402
from imagebuild.publish import changelogs, changes, packages  # noqa: E402
from imagebuild.publish.facts import TreeFacts  # noqa: E402
from imagebuild.publish.packages import InstalledPackage, packages_of  # noqa: E402
from imagebuild.tools import command  # noqa: E402
from imagebuild.tools.ostree.repository import Repo  # noqa: E402

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
    command.run(
        ["rpmbuild", "-bb", "--define", f"_topdir {place}/build", "--define", f"_rpmdir {place}/rpms", spec]
    )
    return next((place / "rpms").rglob(f"{name}-{version}-*.rpm"))


def database(place: Path, packages: list[Path]) -> Path:
    place.mkdir()
    command.run(["rpm", "--dbpath", place, "--initdb"])
    command.run(
        [
            "rpm",
            "--dbpath",
            place,
            "--install",
            "--justdb",
            "--nodeps",
            "--noscripts",
            "--nosignature",
            *packages,
        ]
    )
    return place


def commit(repo: Repo, place: Path, files: dict[str, Path]) -> str:
    archive = place / "tree.tar"
    with tarfile.open(archive, "w") as tar:
        for name, file in files.items():
            tar.add(file, name)
    return repo.commit(
        repo.commit_tree(archive, []), "x/1", parent=None, metadata={"version": "1"}, subject="x", timestamp=1
    )


def facts(commit: str) -> TreeFacts:
    return TreeFacts(commit=commit, version="1", kernel="1", size=1, files=1)


def test_the_rpm_database_of_a_tree(tmp_path: Path) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    old = database(
        tmp_path / "old",
        [
            package(tmp_path, "same", "1.0"),
            package(tmp_path, "tool", "1.9"),
            package(tmp_path, "gone", "1.0"),
        ],
    )
    new = database(
        tmp_path / "new",
        [
            package(tmp_path, "same", "1.0"),
            package(tmp_path, "tool", "2.0"),
            package(tmp_path, "fresh", "3.0", epoch=2),
        ],
    )
    commits = [
        commit(repo, tmp_path, {f"usr/share/rpm/{file.name}": file for file in place.iterdir()})
        for place in (old, new)
    ]
    found = changes.difference(repo, facts(commits[0]), facts(commits[1]))
    assert found.sections() == [
        ("Upgraded", ["tool 1.9-1.fc27.noarch -> 2.0-1.fc27.noarch"]),
        ("Removed", ["gone-1.0-1.fc27.noarch"]),
        ("Added", ["fresh-2:3.0-1.fc27.noarch"]),
    ]
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
    metadata = GLib.Variant(
        "a{sv}", {"version": GLib.Variant("s", "1"), packages.PKGLIST: GLib.Variant("a(sssss)", rows)}
    )
    _, root, _ = handle.read_commit(first, None)
    with repo.transaction():
        _, made = handle.write_commit_with_time(None, "x", None, metadata, root, 1, None)
    assert old is not None
    assert set(packages_of(repo, made).installed.values()) == {
        InstalledPackage(name="kernel", version="4.5.10-200.fc27", arch="x86_64"),
        InstalledPackage(name="shadow-utils", version="2:4.5-4.fc27", arch="x86_64"),
    }
    assert changes.difference(repo, facts(made), facts(made)).text().endswith("No packages changed.\n")


def test_a_tree_without_a_database(tmp_path: Path) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    with pytest.raises(BuildError, match="has no package database"):
        packages_of(repo, commit(repo, tmp_path, {}))


# --- what a tree says is not to be trusted ------------------------------------------------------------------


STATUS = b"""Package: good
Status: install ok installed
Architecture: amd64
Version: {version}

"""


def dpkg_tree(repo: Repo, place: Path, status: bytes) -> str:
    (place / "status").write_bytes(status)
    return commit(repo, place, {packages.DPKG[0]: place / "status"})


@pytest.mark.parametrize("version", [b"", b"a b", b":1", b"1:", b"\xff", b"-", b"1\0", b"x" * 10_000])
def test_versions_that_are_none_are_compared_all_the_same(tmp_path: Path, version: bytes) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    old = dpkg_tree(repo, tmp_path, STATUS.replace(b"{version}", b"1.0-1"))
    new = dpkg_tree(repo, tmp_path, STATUS.replace(b"{version}", version))
    # one that has no version at all is not installed
    words = ["Upgraded", "Downgraded"] if version.strip() else ["Removed"]
    for one, other in ((old, new), (new, old)):
        found = changes.difference(repo, facts(one), facts(other))
        assert len(found.sections()) == 1
        assert found.sections()[0][0] in (*words, "Added")


@pytest.mark.parametrize(
    ("status", "names"),
    [
        (STATUS.replace(b"{version}", b"1").replace(b"\n", b"\r\n"), ["good"]),
        (b"\xef\xbb\xbf" + STATUS.replace(b"{version}", b"1"), ["good"]),
        (STATUS.replace(b"{version}", b"1").lower().replace(b"good", b"low"), ["low"]),
        (STATUS.replace(b"{version}", b"1").replace(b"good", b"g\xffd"), ["g\ufffdd"]),
        (STATUS.replace(b"{version}", b"1").replace(b"good", b"../../x\0y"), ["../../x\0y"]),
        (STATUS.replace(b"{version}", b"1").replace(b"ok installed", b"ok config-files"), []),
        (bytes(range(256)) * 100, []),
    ],
)
def test_dpkg_databases_by_other_pens(tmp_path: Path, status: bytes, names: list[str]) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    made = dpkg_tree(repo, tmp_path, status)
    assert [package.name for package in packages_of(repo, made).installed.values()] == names
    later = dpkg_tree(repo, tmp_path, status.replace(b"ersion: 1", b"ersion: 2"))
    assert changes.difference(repo, facts(made), facts(later)).text()


@pytest.mark.parametrize(
    "listed",
    [
        GLib.Variant("s", "bash 1.0"),
        GLib.Variant("i", 5),
        GLib.Variant("as", ["bash", "1"]),
        GLib.Variant("a(ss)", [("bash", "1")]),
        GLib.Variant("a{sv}", {"a": GLib.Variant("i", 1)}),
        GLib.Variant("aas", [["a", "b", "c", "d", "e"]]),
    ],
)
def test_what_is_no_list_of_packages_is_none(tmp_path: Path, listed: GLib.Variant) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    first = dpkg_tree(repo, tmp_path, STATUS.replace(b"{version}", b"1"))
    metadata = GLib.Variant("a{sv}", {"version": GLib.Variant("s", "1"), packages.PKGLIST: listed})
    assert [
        package.name for package in packages_of(repo, with_metadata(repo, first, metadata)).installed.values()
    ] == ["good"]


def with_metadata(repo: Repo, first: str, metadata: GLib.Variant) -> str:
    _, root, _ = repo.handle.read_commit(first, None)
    with repo.transaction():
        _, made = repo.handle.write_commit_with_time(None, "x", None, metadata, root, 1, None)
    return str(made)


def test_a_packages_name_is_no_option_of_rpm(tmp_path: Path) -> None:
    # rpm(8): --pipe and --eval run programs
    repo, victim = Repo.ensure(tmp_path / "repo"), tmp_path / "victim"
    place = database(tmp_path / "db", [package(tmp_path, "tool", "1.0")])
    first = commit(repo, tmp_path, {f"usr/share/rpm/{file.name}": file for file in place.iterdir()})
    made = []
    for version in ("1", "2"):
        rows = [
            (f"--pipe=touch {victim}; cat", "0", version, "1", "noarch"),
            (f"--eval=%(touch {victim})", "0", version, "1", "noarch"),
        ]
        metadata = GLib.Variant(
            "a{sv}", {"version": GLib.Variant("s", version), packages.PKGLIST: GLib.Variant("a(sssss)", rows)}
        )
        made.append(with_metadata(repo, first, metadata))
    assert len(changes.difference(repo, facts(made[0]), facts(made[1])).upgraded) == 2
    assert not victim.exists(), "a package's name was run on the build host"


def test_a_damaged_rpm_database_is_said(tmp_path: Path) -> None:
    repo = Repo.ensure(tmp_path / "repo")
    (tmp_path / "rpmdb.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(BuildError):
        packages_of(repo, commit(repo, tmp_path, {"usr/share/rpm/rpmdb.sqlite": tmp_path / "rpmdb.sqlite"}))


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", gzip.compress(b"x" * 1000, mtime=0)[:-20], gzip.compress(bytes(64 << 20), mtime=0)],
)
def test_changelogs_that_are_none(tmp_path: Path, data: bytes) -> None:
    assert changelog_lines(tmp_path, data) == ()


BLOCK = """good ({version}) unstable; urgency=medium

  * {text}
    in two lines

 -- Ada <ada@example.org>  Thu, 26 Nov 2026 00:00:00 +0000

"""


@pytest.mark.parametrize("rest", ["", "x\n  * Never said.\n", BLOCK.format(version="1", text="Old.")])
def test_a_changelog_is_read_to_the_old_version_or_to_the_damage(tmp_path: Path, rest: str) -> None:
    text = BLOCK.format(version="2", text="New.") + BLOCK.format(version="1.5", text="Between.") + rest
    assert changelog_lines(tmp_path, gzip.compress(text.encode())) == (
        "* New.",
        "in two lines",
        "* Between.",
        "in two lines",
    )


def changelog_lines(tmp_path: Path, data: bytes) -> tuple[str, ...]:
    """Return what is said of a package's way from version 1 to version 2, from its compressed changelog."""
    repo = Repo.ensure(tmp_path / "repo")
    made = []
    for version in (b"1", b"2"):
        (tmp_path / "status").write_bytes(STATUS.replace(b"{version}", version))
        (tmp_path / "log").write_bytes(data)
        made.append(
            commit(
                repo,
                tmp_path,
                {
                    packages.DPKG[0]: tmp_path / "status",
                    changelogs.CHANGELOG.format(name="good"): tmp_path / "log",
                },
            )
        )
    found = changes.difference(repo, facts(made[0]), facts(made[1]))
    (upgrade,) = found.upgraded
    return upgrade.changelog
