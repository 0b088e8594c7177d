"""A configuration that is wrong says where, what and all at once."""

import json
from pathlib import Path

import pytest

from imagebuild.config.tree import TreeConfig
from imagebuild.errors import UsageError
from imagebuild.release_line import reading as config
from imagebuild.release_line.model import schema
from tests.data import ROOT

DEBIAN = ROOT / "configs" / "debian-12.yaml"


def test_the_shipped_configurations_are_fine(tmp_path: Path) -> None:
    for file in DEBIAN.parent.glob("*.yaml"):
        assert config.load(file, tmp_path).refs


@pytest.mark.parametrize(
    "ref",
    [*(f"debian/12/{arch}/atomic-host" for arch in ("x86_64", "aarch64")), "fedora/26/x86_64/atomic-host"],
)
def test_a_ref_finds_its_configuration(ref: str, tmp_path: Path) -> None:
    file, found = config.find(ref, tmp_path)
    assert found.builds(ref)
    assert file.stem.split("-")[0] == ref.split("/", maxsplit=1)[0]


def test_an_unknown_ref_names_the_patterns(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        config.find("fedora/1/x86_64/atomic-host", tmp_path)
    assert "debian/12/x86_64/atomic-host" in caught.value.hint


def test_every_error_is_reported_with_file_line_and_key(tmp_path: Path) -> None:
    text = DEBIAN.read_text()
    text = text.replace("  memory: 2 GiB\n", "  memory: 2 GiB\n  cores: many\n").replace(
        "  osname: debian-atomic\n", "  os_name: debian-atomic\n"
    )
    text = text.replace("disk_size: 6 GiB", "disk_size: 6 bananas")
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        config.load(file, tmp_path)
    lines = {line.split(": ")[1]: line for line in caught.value.message.splitlines()}
    assert set(lines) == {"smoke.cores", "tree.osname", "tree.os_name", "images.cloud.disk_size"}
    numbers = {key: int(line.split(":")[1]) for key, line in lines.items()}
    source = text.splitlines()
    assert "cores: many" in source[numbers["smoke.cores"] - 1]
    assert "os_name" in source[numbers["tree.os_name"] - 1]
    assert "bananas" in source[numbers["images.cloud.disk_size"] - 1]
    assert source[numbers["tree.osname"] - 1] == "tree:"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("  memory: 2 GiB\n", "  memory: 2 GiB\n  memory: 3 GiB\n", "smoke.memory: given twice"),
        ("product: Debian\n", "product: '../etc'\n", "product: must be plain text"),
        ("product: Debian\n", 'product: "a\\nb"\n', "product: must be plain text"),
        ("refs: [debian/12/x86_64/atomic-host]", "refs: [../x]", "refs: '../x' is not a pattern"),
        ("url: file://${store}/compose/repo", "url: ftp://x/y", "tree.url"),
        ('gpg_keys: ["${store}/compose/signing-key.asc"]', "gpg_keys: []", "allow_unsigned: true"),
        ("kickstart: cloud", "kickstart: clod", "there is no kickstart 'clod'"),
        ('compat: "1.1"', 'compat: "0.10"', "zstd needs compat 1.1"),
        ("template: debian-12-cloud.ks", "template: ../../etc/x.ks", "kickstarts.cloud.template"),
    ],
)
def test_wrong_values_are_refused(old: str, new: str, complaint: str, tmp_path: Path) -> None:
    text = DEBIAN.read_text()
    assert old in text
    file = tmp_path / "wrong.yaml"
    file.write_text(text.replace(old, new))
    with pytest.raises(UsageError) as caught:
        config.load(file, tmp_path)
    assert complaint in caught.value.message, caught.value.message
    assert str(file) in caught.value.message


@pytest.mark.parametrize(
    ("text", "complaint"), [("a: [", "not YAML"), ("- a\n", "mapping of keys"), ("", "mapping of keys")]
)
def test_what_is_no_configuration_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=complaint):
        config.load(file, tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        config.load(tmp_path / "no.yaml", tmp_path)


def test_the_store_stands_in_paths(tmp_path: Path) -> None:
    loaded = config.load(DEBIAN, tmp_path)
    assert loaded.tree.url == f"file://{tmp_path}/compose/repo"


def test_the_schema_is_a_json_schema() -> None:
    described = json.loads(schema())
    assert described["properties"]["tree"]
    assert "TreeConfig" in described["$defs"]


def test_going_without_a_signature_is_set_by_hand() -> None:
    known = {
        "url": "https://example.org/repo",
        "osname": "a",
        "remote": "a",
        "update_url": "https://example.org",
        "update_gpg_key": "/k",
    }
    with pytest.raises(ValueError, match="allow_unsigned"):
        TreeConfig.model_validate(known)
    assert TreeConfig.model_validate(known | {"allow_unsigned": True}).allow_unsigned


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (f"previous: {'a' * 64}\n", ("a" * 64,)),
        (f"previous: [{'a' * 64}, {'b' * 64}]\n", ("a" * 64, "b" * 64)),
        ("", None),
    ],
)
def test_previous_is_a_list_or_one_that_stands_alone(
    tmp_path: Path, written: str, read: tuple[str, ...] | None
) -> None:
    (tmp_path / "line.yaml").write_text(DEBIAN.read_text() + written)
    (tmp_path / "kickstarts").symlink_to(DEBIAN.parent / "kickstarts")
    assert config.load(tmp_path / "line.yaml", tmp_path).previous == read


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("previous: []\n", "is empty: name the commits"),
        (f"previous: [{'a' * 64}, {'a' * 64}]\n", f"names {'a' * 64} twice"),
        ("previous: [12.1]\n", "previous"),
    ],
)
def test_previous_that_says_nothing_or_something_twice(tmp_path: Path, written: str, says: str) -> None:
    (tmp_path / "line.yaml").write_text(DEBIAN.read_text() + written)
    with pytest.raises(UsageError) as caught:
        config.load(tmp_path / "line.yaml", tmp_path)
    assert says in str(caught.value.message)
