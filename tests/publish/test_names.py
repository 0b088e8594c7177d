"""Names against what Fedora published, path by path (artifact-name-examples.csv), and against the rules for
the rest.
"""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml

from imagebuild.errors import UsageError
from imagebuild.formats.registry import FILE_KINDS
from imagebuild.publish.names import names_of, pattern_of
from imagebuild.release_line import reading as config
from imagebuild.release_line.model import Config
from tests import data as tests_data
from tests.data import ROOT

CONFIGS = ROOT / "configs"
DATA = tests_data.DATA / "fedora"
PUBLISHED = list(csv.DictReader((DATA / "artifact-name-examples.csv").read_text().splitlines()))
RULES = yaml.safe_load((DATA / "naming-rules.yaml").read_text())


def line(release: str) -> Config:
    return config.load(
        CONFIGS / (f"fedora-{release}.yaml" if release != "12" else "debian-12.yaml"), Path("/store")
    )


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["filename"])
def test_published_paths(row: dict[str, str]) -> None:
    match = re.fullmatch(r"Fedora-Atomic-(\d+)-(\d{8})\.(\d+)", row["compose_id"])
    assert match is not None
    names = names_of(line(match[1]), match[2], int(match[3]), arch=row["arch"])
    assert names.compose_id == row["compose_id"]
    path = row["path_below_pub_alt_atomic_stable"].removeprefix(f"{row['compose_id']}/")
    assert path in names.paths()
    if row["productmd_format"]:
        (found,) = [each for each in names.downloads if each.path == path]
        assert FILE_KINDS[found.format].productmd == (row["productmd_type"], row["productmd_format"])
        assert found.variant == row["variant"]


@pytest.mark.parametrize("release", ["25", "26", "27", "28", "29"])
def test_rules(release: str) -> None:
    rules = RULES["files_f28" if int(release) >= 28 else "files_f25_f27"]
    values = {"a": "x86_64", "v": release, "d": "20180515", "r": 1}
    names = names_of(line(release), "20180515", 1)
    expected = {text.format(**values) for kind, text in rules.items() if not kind.startswith("checksum")}
    assert {each.path for each in names.downloads} == expected
    other = names_of(line(release), "20180515", 1, arch="aarch64")
    assert not [path for path in other.paths() if "agrant" in path or "x86_64" in path]


def test_compose_ids() -> None:
    for release, kind in (("26", "two_week"), ("28", "two_week"), ("29", "f28_f29_updates")):
        assert names_of(line(release), "20180515", 1).compose_id == RULES["compose_id"][kind].format(
            v=release, d="20180515", r=1
        )
    nightly = names_of(line("26"), "20170707", 3, nightly=True)
    assert nightly.compose_id == RULES["compose_id"]["branched_nightly"].format(v="26", d="20170707", r=3)
    assert "CloudImages/x86_64/images/Fedora-Atomic-26-20170707.n.3.x86_64.qcow2" in nightly.paths()
    demo = names_of(line("12"), "20261126", 0)
    assert "AtomicHost/x86_64/images/Debian-AtomicHost-12-20261126.0.x86_64.raw.zst" in demo.paths()
    assert "AtomicHost/x86_64/iso/Debian-AtomicHost-installer-x86_64-12-20261126.0.iso" in demo.paths()


def test_a_compose_id_tells_its_numbers() -> None:
    match = pattern_of(line("26"), nightly=False).fullmatch("Fedora-Atomic-26-20170707.12")
    assert match is not None
    assert (match["date"], match["respin"]) == ("20170707", "12")
    assert pattern_of(line("26"), nightly=False).fullmatch("Fedora-Atomic-26-20170707.n.1") is None
    assert pattern_of(line("26"), nightly=True).fullmatch("Fedora-26-20170707.n.1")
    assert pattern_of(line("26"), nightly=False).fullmatch("Fedora-Atomic-26x20170707.1") is None


@pytest.mark.parametrize(
    ("day", "respin", "arch"),
    [("2017-07-07", 0, None), ("20170732", 0, None), ("20170707", -1, None), ("20170707", 0, "../x")],
)
def test_numbers_that_are_none(day: str, respin: int, arch: str | None) -> None:
    with pytest.raises(UsageError):
        names_of(line("26"), day, respin, arch=arch)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("compose", "Fedora/../x-${date}.${respin}"),
        ("compose", "Fedora-${date}"),
        ("compose", "Fedora\n${date}.${respin}"),
        ("compose", "<b>${date}.${respin}"),
        ("nightly", "Fedora-Atomic-${release}-${date}.${respin}"),
        ("subvariant", "a/b"),
        ("url", "https://example.org"),
        ("repo", "https://example.org/repo/"),
        ("signing", {"user": "x", "generate": True}),
    ],
)
def test_names_that_would_break_out_are_refused(key: str, value: object, tmp_path: Path) -> None:
    data = yaml.safe_load((CONFIGS / "fedora-26.yaml").read_text())
    data["publish"][key] = value
    file = tmp_path / "broken.yaml"
    file.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=f"publish.*{key}|{key}"):
        config.load(file, Path("/store"))
