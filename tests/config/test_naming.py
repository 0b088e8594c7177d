"""Whatever names `config` accepts go through names, metadata, signatures, verification and promotion;
whatever would not is refused with its key.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from imagebuild.config import naming
from imagebuild.destinations.source import DirectorySource
from imagebuild.errors import UsageError
from imagebuild.installers.treeinfo import write_treeinfo
from imagebuild.publish.findings import describe
from imagebuild.publish.names import names_of
from imagebuild.publish.verify import Trust, verify
from tests.publish.releasing import go
from tests.release_lab import FIRST, Line

DEFAULT = "${product}-Atomic-${release}-${date}.${respin}"
OWN = "CentOS-Atomic-${release}-${date}.${respin}"
NIGHTLY = "CentOS-${release}-${date}.n.${respin}"


def image(name: str, **formats: Any) -> dict[str, Any]:
    return {"kickstart": "cloud", "name": name, "disk_size": "6 GiB", "formats": formats or {"qcow2": {}}}


def publish(**keys: Any) -> dict[str, Any]:
    return {"publish": keys}


def variants(name: str, **keys: Any) -> dict[str, Any]:
    return publish(variants={"iso": name, "images": name}, **keys)


@pytest.fixture
def line(tmp_path: Path, homedir: Path) -> Line:
    made = Line(tmp_path / "line", homedir)
    made.changes |= {
        "publish": {"repo": f"file://{tmp_path}/stable", "destination": f"file://{tmp_path}/mirror"},
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


def change(line: Line, changes: dict[str, Any]) -> None:
    made = deepcopy(changes)
    line.changes["publish"] |= made.pop("publish", {})
    line.changes |= made
    if "installer" in made:
        line.changes["installer"] = {
            "name": "I",
            "volume_id": "V",
            "defaults": "interactive",
            **made["installer"],
        }


@pytest.mark.parametrize(
    "changes",
    [
        # a product of two words, where the compose id does not need it: CHECKSUM files and boxes have its
        # short name
        {"product": "CentOS Linux", **publish(compose=OWN, nightly=NIGHTLY, subvariant="Atomic-Host")},
        {
            "product": "Red Hat Enterprise Linux",
            "release": "7.9",
            **publish(compose="x_${respin}.${date}", ref="a/b.c/_d"),
            "installer": {"variant": "Atomic Host"},
        },
        {"release": "rawhide", **publish(compose=DEFAULT)},
        {"release": "F-26", **variants("7"), "installer": {"volume_id": "v" * 32, "variant": "Atomic-Host"}},
        {
            "release": "9.1.2",
            **publish(
                compose="${date}.${respin}",
                nightly="${date}.n.${respin}",
                variants={"iso": "A", "images": "B"},
            ),
        },
        {"images": {"cloud": image("A" * 120)}, "installer": {"name": "A+b_c.d-e"}},
        # one type twice: told apart by the subvariant; one name, other formats
        {
            "images": {
                "cloud": image("A"),
                "other": image("B"),
                "third": image("C", qcow2={}, vmdk={}),
                "fourth": image("A", **{"raw.xz": {}}),
            }
        },
    ],
    ids=str,
)
def test_what_is_accepted_goes_to_the_end(line: Line, changes: dict[str, Any], tmp_path: Path) -> None:
    change(line, changes)
    loaded = line.config
    tree = line.commit("12.1", FIRST)
    if loaded.installer is not None:
        write_treeinfo(
            tmp_path / "treeinfo", loaded.product, loaded.release, loaded.installer.variant, tree, 1
        )
    release = line.release(line.material(tree))
    assert names_of(loaded, "20261126", 0).compose_id == release.name
    trust = Trust(keys=(line.key,), commit_keys=(line.key,), open_images=False, cache=tmp_path)
    found = verify(DirectorySource(release), trust)
    assert not found.problems, describe(found)
    assert go(line, release)[-1] == f"the latest is {release.name}"
    assert not verify(DirectorySource(tmp_path / "mirror" / release.name), trust).problems


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        # what a published report had
        (variants("Atomic-Host"), "publish.variants.iso", "productmd refuses it"),
        (
            publish(variants={"iso": "A", "images": "Atomic-Host"}),
            "publish.variants.images",
            "productmd refuses it",
        ),
        ({"release": "9-stream"}, "release", "productmd refuses it"),
        ({"product": "CentOS Linux", **publish(compose=DEFAULT)}, "product", "publish.compose"),
        # of the same kinds
        (variants("Atomic.Host"), "publish.variants.iso", "productmd refuses it"),
        (variants("Atomic_Host"), "publish.variants.iso", "letters and digits"),
        (variants("metadata"), "publish.variants.iso", "of its own"),
        (variants("evidence"), "publish.variants.images", "of its own"),
        ({"release": "9."}, "release", "productmd refuses it"),
        ({"release": "9_1"}, "release", "productmd"),
        ({"release": "9.stream"}, "release", "productmd"),
        ({"release": "26-beta"}, "release", "stream9"),
        ({"release": "9.1-2"}, "release", "productmd"),
        (
            {"product": "CentOS Linux", **publish(compose=OWN, nightly="${product}-${date}.n.${respin}")},
            "product",
            "publish.nightly",
        ),
        ({"product": "CentOS ", **publish(compose=OWN, nightly=NIGHTLY)}, "product", "blanks at its ends"),
        (
            {"product": " CentOS Stream", **publish(compose=OWN, nightly=NIGHTLY)},
            "product",
            "blanks at its ends",
        ),
        (publish(destination="s3://bucket/a#b"), "publish.destination", "not a destination"),
        (publish(destination="s3://bucket/a?b"), "publish.destination", "not a dest"),
        (publish(destination="rsync://host/module#b"), "publish.destination", "not a dest"),
        (publish(destination="ssh://host/a?"), "publish.destination", "not a dest"),
        (publish(url="https://example.org/?a=/"), "publish.url", "pattern"),
        (publish(url="https://[::1/"), "publish.url", "Invalid IPv6"),
        (publish(url="https:///"), "publish.url", "names no host"),
        (publish(url="https://h:99999/"), "publish.url", "ort"),
        ({"product": "Caf\u00e9", **publish(compose=OWN)}, "product", "names of files"),
        ({"product": "50%", **publish(compose=OWN)}, "product", "letters"),
        ({"product": "A (B)", **publish(compose=OWN)}, "product", "letters"),
        ({"product": "A#1", **publish(compose=OWN)}, "product", "letters"),
        ({"product": "A+B", **publish(compose=DEFAULT)}, "product", "compose id"),
        ({"product": "A\u3000B", **publish(compose=OWN)}, "product", "letters"),
        (publish(compose="-${date}.${respin}"), "publish.compose", "in front"),
        (publish(compose=".x-${date}.${respin}"), "publish.compose", "in front"),
        (publish(nightly="_${date}.n.${respin}"), "publish.nightly", "in front"),
        (publish(compose="${date}.${respin}" + "x" * 240), "publish.compose", "too long"),
        # another template of the same names, and one that is part of the other
        (
            publish(compose="Debian-12-${date}.${respin}", nightly="Debian-${release}-${date}.${respin}"),
            "publish.nightly",
            "told apart",
        ),
        (
            publish(compose="Debian-${release}${date}.${respin}", nightly="Debian-12${date}.${respin}"),
            "publish.nightly",
            "told apart",
        ),
        ({"images": {"cloud": image("A b")}}, "images.cloud.name", "names of files"),
        ({"images": {"cloud": image("A(b)")}}, "images.cloud.name", "letters"),
        ({"images": {"cloud": image("A%b")}}, "images.cloud.name", "letters"),
        ({"images": {"cloud": image("A,b")}}, "images.cloud.name", "letters"),
        ({"images": {"cloud": image("A#b")}}, "images.cloud.name", "letters"),
        ({"images": {"cloud": image(".A")}}, "images.cloud.name", "in front"),
        ({"images": {"cloud": image("\u00e9")}}, "images.cloud.name", "letters"),
        ({"images": {"cloud": image("A" * 240)}}, "images.cloud.name", "too long"),
        ({"images": {"cloud": image("A"), "other": image("A")}}, "images.other.name", "images.cloud.name"),
        ({"installer": {"name": "I J"}}, "installer.name", "names of files"),
        ({"installer": {"variant": "\u2026 \u00e9"}}, "installer.variant", "letter or digit"),
        ({"installer": {"volume_id": "-R"}}, "installer.volume_id", "pattern"),
        ({"installer": {"volume_id": "v" * 33}}, "installer.volume_id", "pattern"),
        (publish(arches=["x86_64", "x64"]), "publish.arches", "x64"),
        (publish(arches=["aarch64"]), "publish.arches", "x86_64"),
        (publish(arches=["x86_64", "src"]), "publish.arches", "src"),
        (publish(destination="ssh://host/p\u00e4th"), "publish.destination", "not a destination"),
        (publish(destination="rsync://-x/a"), "publish.destination", "not a dest"),
        (publish(destination="ssh://host:port/a"), "publish.destination", "not a destination"),
        (publish(destination="s3://a%2Fb/c"), "publish.destination", "not a dest"),
        (publish(destination="ssh://host"), "publish.destination", "not a destination"),
        (publish(destination="s3:///a"), "publish.destination", "not a destination"),
        (publish(ref="a/../b"), "publish.ref", "pattern"),
        (publish(ref=".."), "publish.ref", "pattern"),
        (publish(previous_major="./a"), "publish.previous_major", "pattern"),
    ],
    ids=str,
)
def test_what_would_be_refused_at_the_end_is_refused_with_its_key(
    line: Line, changes: dict[str, Any], key: str, says: str
) -> None:
    change(line, changes)
    with pytest.raises(UsageError) as caught:
        _ = line.config
    lines = [text for text in caught.value.message.splitlines() if f": {key}: " in text]
    assert lines, caught.value.message
    assert says in lines[0]
    # nothing else is blamed but what has the same name
    blamed = {text.split(": ")[1] for text in caught.value.message.splitlines()}
    assert blamed <= {
        key,
        *(("publish.variants.iso", "publish.variants.images") if "variants" in key else ()),
    }
    # the file and a line of it are named
    assert lines[0].startswith(f"{line.work / 'config.yaml'}:1: ")


def test_a_time_of_zero_is_one(line: Line, tmp_path: Path) -> None:
    write_treeinfo(tmp_path / "treeinfo", "Debian", "12", "AtomicHost", line.commit("12.1", FIRST), 0)
    assert "build_timestamp = 1\n" in (tmp_path / "treeinfo").read_text()


def test_all_names_that_are_wrong_are_said_at_once(line: Line) -> None:
    change(line, {"release": "9-stream", "images": {"cloud": image("a b")}, **variants("A-B")})
    with pytest.raises(UsageError) as caught:
        _ = line.config
    keys = ("release", "images.cloud.name", "publish.variants.iso", "publish.variants.images")
    assert all(f": {key}: " in caught.value.message for key in keys)


@pytest.mark.parametrize("release", ["rawhide", "stream9", "9", "0", "9.1", "F-26", "ELN"])
def test_releases_that_productmd_takes(line: Line, release: str) -> None:
    change(line, {"release": release})
    assert line.config.release == release


@pytest.mark.parametrize("arch", ["x64", "src", "noarch", "X86_64", "../x", ""])
def test_architectures_are_those_of_productmd(line: Line, arch: str) -> None:
    assert not naming.is_arch(arch)
    if arch:
        with pytest.raises(UsageError, match="architecture"):
            names_of(line.config, "20261126", 0, arch=arch)


def test_days_have_digits_that_verify_reads(line: Line) -> None:
    with pytest.raises(UsageError, match="day"):
        names_of(line.config, "".join(chr(ord(digit) + 0xFEE0) for digit in "20261126"), 0)
