"""The installation tree beside the ISO: what it holds is the tested medium's, its .treeinfo is true, and both
are checked like the rest.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from productmd.composeinfo import ComposeInfo
from productmd.treeinfo import TreeInfo

from imagebuild import files
from imagebuild.destinations.source import DirectorySource
from imagebuild.errors import BuildError
from imagebuild.model import IsoImage, Tree
from imagebuild.publish import facts, os_tree
from imagebuild.publish.findings import ProblemKind, Verification
from imagebuild.publish.material import Material
from imagebuild.publish.opened import check_stage2
from imagebuild.publish.verify import Trust, verify
from imagebuild.tools import command, iso
from imagebuild.tools.ostree.repository import Repo
from tests.installers.unattended.media import make_iso
from tests.publish.releasing import go, sign_again
from tests.release_lab import FIRST, Line

DIRECTORY = "AtomicHost/x86_64/os"
PATHS = {
    f"{DIRECTORY}/{name}"
    for name in (".treeinfo", "images/install.img", "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img")
}


@pytest.fixture
def line(tmp_path: Path, homedir: Path) -> Line:
    made = Line(tmp_path / "line", homedir)
    made.changes |= {
        "publish": {
            "repo": f"file://{tmp_path}/stable",
            "destination": f"file://{tmp_path}/mirror",
            "url": "https://example.org/",
        },
        "tree": {
            "url": f"file://{made.place}/repo",
            "gpg_keys": [str(made.key)],
            "osname": "o",
            "remote": "r",
            "update_url": "https://example.org",
            "update_gpg_key": "/k",
        },
    }
    return made


def medium(
    line: Line, tree: Tree, place: Path, *, optional: bool = False, network: tuple[str, ...] = ()
) -> Path:
    """Make an ISO like lorax's with the tree's commit in its root file system."""
    root = place / "root"
    Repo.ensure(root / "ostree/repo", "bare").pull_local(line.repo, tree.commit)
    command.run(["mksquashfs", root, place / "install.img", "-quiet", "-no-progress"])
    more = {"images/install.img": place / "install.img"}
    if optional:
        (place / "product.img").write_text("product")
        more["images/product.img"] = place / "product.img"
    for path in network:
        more[path] = place / path.rpartition("/")[2]
        more[path].write_text(f"what is at {path}")
    (place / "iso").mkdir()
    return make_iso(place / "iso", more=more)


def with_iso(material: Material, made: Path) -> Material:
    """Return material whose ISO is a real one."""
    first = material.downloads[0]
    assert isinstance(first, IsoImage)
    first.file.write_bytes(made.read_bytes())
    real = replace(first, size=first.file.stat().st_size, sha256=files.sha256(first.file))
    return replace(material, downloads=(real, *material.downloads[1:]))


def test_what_boots_it_from_the_network_is_beside_the_kernel(line: Line, tmp_path: Path) -> None:
    tree = line.commit("12.1", FIRST)
    release = line.release(
        with_iso(line.material(tree), medium(line, tree, tmp_path, network=os_tree.NETWORK))
    )
    info = TreeInfo()
    info.load(str(release / DIRECTORY / ".treeinfo"))
    for path in os_tree.NETWORK:
        assert (release / DIRECTORY / path).read_text() == f"what is at {path}"
        assert info.images.images["x86_64"][path.rpartition("/")[2]] == path
        assert path in info.checksums.checksums
    assert not checked(line, release).problems


def checked(line: Line, release: Path) -> Verification:
    return verify(
        DirectorySource(release),
        Trust(keys=(line.key,), commit_keys=(line.key,), open_images=False, cache=line.work),
    )


def test_a_release_has_what_a_network_boot_needs(line: Line, tmp_path: Path) -> None:
    tree = line.commit("12.1", FIRST)
    made = medium(line, tree, tmp_path)
    release = line.release(with_iso(line.material(tree), made))
    assert {
        str(path.relative_to(release)) for path in (release / DIRECTORY).rglob("*") if path.is_file()
    } == PATHS
    # byte by byte what was tested
    for path in ("images/install.img", "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"):
        assert (release / DIRECTORY / path).read_bytes() == iso.read(made, f"/{path}", tmp_path), path
    info = TreeInfo()
    info.load(str(release / DIRECTORY / ".treeinfo"))
    assert info.images.images == {
        "x86_64": {"kernel": "images/pxeboot/vmlinuz", "initrd": "images/pxeboot/initrd.img"}
    }
    assert (info.stage2.mainimage, info.release.version, info.tree.build_timestamp) == (
        "images/install.img",
        "12",
        tree.timestamp,
    )
    assert {path: digest for path, (_, digest) in info.checksums.checksums.items()} == {
        path.removeprefix(f"{DIRECTORY}/"): files.sha256(release / path) for path in PATHS if "images" in path
    }
    # in the signed list, the facts, the metadata, the page and the mail
    listed = (release / f"{release.name}-x86_64-CHECKSUM").read_text()
    assert all(f"SHA256 ({path}) = {files.sha256(release / path)}" in listed for path in PATHS)
    assert set(facts.read(release).os_tree.values()) == PATHS
    compose = ComposeInfo()
    compose.load(str(release / "metadata" / "composeinfo.json"))
    assert compose.variants["AtomicHost"].paths.os_tree == {"x86_64": DIRECTORY}
    page = (release / "index.html").read_text()
    assert all(f'href="{path}"' in page for path in PATHS)
    assert f"inst.stage2=https://example.org/{release.name}/{DIRECTORY}" in page
    assert f"https://example.org/{release.name}/{DIRECTORY}/" in (release / "announcement.txt").read_text()
    assert not checked(line, release).problems
    # and is promoted
    assert go(line, release)[-1] == f"the latest is {release.name}"
    assert {
        str(path.relative_to(tmp_path / "mirror" / release.name))
        for path in (tmp_path / "mirror" / release.name).rglob("*")
    } >= PATHS
    assert not checked(line, tmp_path / "mirror" / release.name).problems


def test_what_is_laid_over_the_installer_comes_along(line: Line, tmp_path: Path) -> None:
    tree = line.commit("12.1", FIRST)
    release = line.release(with_iso(line.material(tree), medium(line, tree, tmp_path, optional=True)))
    assert (release / DIRECTORY / "images/product.img").read_text() == "product"
    assert facts.read(release).os_tree["product.img"] == f"{DIRECTORY}/images/product.img"
    assert "images/product.img" in (release / DIRECTORY / ".treeinfo").read_text()
    assert not checked(line, release).problems


def test_a_release_without_an_iso_has_no_tree(line: Line) -> None:
    whole = line.material(line.commit("12.1", FIRST))
    line.changes["installer"] = None
    cells = tuple(pair for pair in whole.cells if not pair[0].artifact.endswith(".iso"))
    release = line.release(replace(whole, config=line.config, downloads=whole.downloads[1:], cells=cells))
    assert not list(release.rglob(".treeinfo"))
    assert facts.read(release).os_tree == {}
    assert not checked(line, release).problems


def test_a_medium_that_lacks_a_kernel_is_not_released(line: Line, tmp_path: Path) -> None:
    tree = line.commit("12.1", FIRST)
    made = make_iso(tmp_path)
    with pytest.raises(BuildError, match=r"has no images/install\.img"):
        line.release(with_iso(line.material(tree), made))


def digest_of(path: str) -> str:
    return f"{len(path):064x}"


TREEINFO = f"""[header]
version = 1.2
type = productmd.treeinfo
[release]
name = Debian
version = 12
short = Debian
[tree]
arch = x86_64
platforms = x86_64
build_timestamp = 1
variants = AtomicHost
[variant-AtomicHost]
id = AtomicHost
uid = AtomicHost
name = AtomicHost
type = variant
[checksums]
images/install.img = sha256:{digest_of("images/install.img")}
images/pxeboot/vmlinuz = sha256:{digest_of("images/pxeboot/vmlinuz")}
images/pxeboot/initrd.img = sha256:{digest_of("images/pxeboot/initrd.img")}
[images-x86_64]
kernel = images/pxeboot/vmlinuz
initrd = images/pxeboot/initrd.img
[stage2]
mainimage = images/install.img
"""


def swap(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: swap(text, "sha256:", "sha256:0"), "its checksum of images/install.img is not that"),
        (lambda text: swap(text, "sha256:", "md5:"), "its checksum of images/pxeboot/vmlinuz is not that"),
        (
            lambda text: swap(text, "images/pxeboot/vmlinuz", "images/pxeboot/other"),
            "names images/pxeboot/other, which is in no CHECKSUM",
        ),
        (
            lambda text: swap(text, "images/pxeboot/vmlinuz", "images/pxeboot/other"),
            "does not name images/pxeboot/vmlinuz",
        ),
        (lambda text: swap(text, "mainimage = images/install.img", ""), "does not name images/install.img"),
        (
            lambda text: swap(text, "images/pxeboot/initrd.img = sha256", "images/more.img = sha256"),
            "no checksum of images/pxeboot/initrd.img",
        ),
        (
            lambda text: swap(text, "version = 12", "version = 11"),
            "it is of Debian 11 x86_64, not of Debian 12 x86_64",
        ),
        (lambda text: swap(text, "kernel = ", "kernel = ../../../"), "which is in no CHECKSUM"),
        (lambda text: text[:40], "productmd does not take it"),
        (lambda _: "", "productmd does not take it"),
        (lambda text: swap(text, "version = 12", "version = %(x)s"), "productmd does not take it"),
        (lambda _: "\0\1", "productmd does not take it"),
    ],
)
def test_a_treeinfo_that_is_not_true_is_found(change: Callable[[str], str], says: str) -> None:
    listed = {f"{DIRECTORY}/{path}": digest_of(path) for path in (*os_tree.NEEDED, ".treeinfo")}
    text = change(TREEINFO)
    found = os_tree.problems(text, DIRECTORY, listed, product="Debian", release="12", arch="x86_64")
    assert any(says in sentence for sentence in found), found


def test_a_treeinfo_that_is_true_has_no_problems() -> None:
    listed = {f"{DIRECTORY}/{path}": digest_of(path) for path in (*os_tree.NEEDED, ".treeinfo")}
    assert os_tree.problems(TREEINFO, DIRECTORY, listed, product="Debian", release="12", arch="x86_64") == []


def test_verify_looks_into_it(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = line.commit("12.1", FIRST)
    release = line.release(with_iso(line.material(tree), medium(line, tree, tmp_path)))
    file = release / DIRECTORY / ".treeinfo"
    honest = file.read_text()
    file.write_text(honest.replace("sha256:", "sha256:0"))
    assert ProblemKind.CHANGED in {each.kind for each in checked(line, release).problems}
    # signed again by somebody with the key, it is still not true
    sign_again(release, line)
    assert [(each.kind, each.path) for each in checked(line, release).problems] == [
        (ProblemKind.METADATA, f"{DIRECTORY}/.treeinfo")
    ] * 3
    file.write_text(honest)
    # what the network gives must hold the released commit, too
    found = Verification()
    known = facts.read(release)
    stage2 = release / DIRECTORY / "images/install.img"
    check_stage2(known, {f"{DIRECTORY}/images/install.img": stage2}, found, tmp_path / "a")
    assert (found.problems, found.images) == ([], {f"{DIRECTORY}/images/install.img": [tree.commit]})
    other = known.model_copy(update={"tree": known.tree.model_copy(update={"commit": "f" * 64})})
    check_stage2(other, {f"{DIRECTORY}/images/install.img": stage2}, found, tmp_path / "b")
    assert [(each.kind, each.says) for each in found.problems] == [
        (ProblemKind.IMAGE, f"holds {tree.commit}, not {'f' * 64}")
    ]
    stage2.write_bytes(b"x" * 4096)
    found = Verification()
    check_stage2(known, {f"{DIRECTORY}/images/install.img": stage2}, found, tmp_path / "c")
    assert found.problems[0].kind is ProblemKind.IMAGE


def test_releases_from_before_are_read(line: Line) -> None:
    release = line.release(line.material(line.commit("12.1", FIRST)))
    file = release / facts.FILE
    data = json.loads(file.read_text())
    del data["os_tree"]
    assert facts.parse(json.dumps(data).encode(), what="x").os_tree == {}
