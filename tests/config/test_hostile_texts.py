"""YAML and JSON that would take a reader down: refused, in one sentence."""

from pathlib import Path

import pytest

from imagebuild import json_text
from imagebuild.config import yaml_text
from imagebuild.errors import UsageError
from imagebuild.release_line import reading

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + number)}: &{chr(98 + number)} [{', '.join(['*' + chr(97 + number)] * 9)}]\n"
    for number in range(9)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LAUGHS, "stands for more than 100000 values"),
        ("a: &a\n  b: *a\n", "is a part of itself"),
        ("[" * 5_000, "nested too deep|not YAML"),
        ("a: " + "9" * 5_000, "4300 digits"),
        ("a: 2001-99-99", "month must be"),
        ("a: !!bool x", "not of the kind that its tag says"),
        ("a: !!timestamp 0", "not of the kind that its tag says"),
        ("a: !!python/object:os.system {}", "2?could not determine a constructor|1: not YAML"),
        ("a: [", "2?: not YAML"),
    ],
)
def test_yaml_is_refused_in_a_sentence(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError, match=why):
        reading.load(tmp_path / "c.yaml", tmp_path)


def test_a_key_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("? [a]\n: b\n")
    with pytest.raises(UsageError, match="not YAML"):
        reading.load(tmp_path / "c.yaml", tmp_path)


def test_an_alias_that_is_used_a_few_times_is_read() -> None:
    parsed = yaml_text.parse("a: &a [1, 2]\nb: *a\nc: *a\n")
    assert parsed is not None
    assert parsed.data == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}
    assert yaml_text.parse("") is None


def test_json_that_is_nested_too_deep_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        json_text.parse("[" * 100_000)
