"""Patterns that configurations share are read from a file beside them, or from the product's own."""

from pathlib import Path

import pytest

from imagebuild.composers.mmdebstrap import MmdebstrapConfig
from imagebuild.config import beside
from imagebuild.config.places import shared_directory
from imagebuild.errors import UsageError
from imagebuild.release_line import reading
from tests.data import ROOT

SHARED = "parts/virtual-machines.exclude"
LINE = ROOT / "configs" / "debian-13.yaml"


def compose_of(file: Path, store: Path) -> MmdebstrapConfig:
    spec = reading.load(file, store).compose
    assert isinstance(spec, MmdebstrapConfig)
    return spec


@pytest.mark.parametrize("name", ["debian-12", "debian-13", "debian-14"])
def test_the_shipped_lines_share_their_patterns(name: str, tmp_path: Path) -> None:
    lines = (shared_directory("configs") / SHARED).read_text().splitlines()
    spec = compose_of(ROOT / "configs" / f"{name}.yaml", tmp_path)
    assert spec.excluded == tuple(line for line in lines if not line.startswith("#"))
    assert {"/usr/share/man/*", "/lib/modules/*/kernel/fs/btrfs/*"} <= set(spec.excluded)


def test_a_file_beside_the_configuration_comes_before_the_products(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(LINE.read_text().replace(f"[{SHARED}]", f"[{SHARED}]\n  exclude: [/usr/games/*]"))
    assert len(compose_of(file, tmp_path).excluded) > 90, "a copy of a shipped configuration is still one"
    (tmp_path / "parts").mkdir()
    (tmp_path / SHARED).write_text("# a remark\n\n  /usr/share/man/*\n")
    assert compose_of(file, tmp_path).excluded == ("/usr/share/man/*", "/usr/games/*")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("gone.exclude", None, "No such file"),
        ("../up.exclude", b"/a\n", "must lie in the configuration's directory"),
        ("/etc/passwd", None, "must lie in the configuration's directory"),
        ("empty.exclude", b"# nothing\n", "exclude_from.0.patterns: Tuple should have at least 1 item"),
        ("binary.exclude", b"/a\xff\n", "cannot be read"),
        ("relative.exclude", b"/a\nusr/share\n", "exclude_from.0.patterns.1: String should match"),
        ("two.exclude", b"/a,/b\n", "exclude_from.0.patterns.0: String should match"),
        ("large.exclude", b"/a\n" * (beside.MOST // 3 + 1), "is larger than 1 MiB"),
    ],
)
def test_a_file_without_patterns_is_an_error_with_its_line(
    name: str, content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    text = LINE.read_text().replace(SHARED, name)
    (tmp_path / "lines").mkdir()
    file = tmp_path / "lines" / "wrong.yaml"
    file.write_text(text)
    if content is not None:
        (file.parent / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        reading.load(file, tmp_path)
    assert complaint in caught.value.message
    number = text[: text.index("exclude_from")].count("\n") + 1
    assert caught.value.message.startswith(f"{file}:{number}: compose.exclude_from"), caught.value.message


def test_options_of_a_composer_are_read_again_as_they_were(tmp_path: Path) -> None:
    spec = compose_of(LINE, tmp_path)
    assert MmdebstrapConfig.model_validate(spec.model_dump()) == spec
