"""What a configuration says of the root file system is what the tree's prepare-root.conf says."""

import configparser

import pytest
from pydantic import ValidationError

from imagebuild.config.root import RootConfig


def conf(**options: object) -> dict[str, dict[str, str]]:
    text = RootConfig.model_validate(options).text()
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(text or "")
    return {name: dict(parsed[name]) for name in parsed.sections()}


def test_a_tree_that_asks_for_nothing_has_no_such_file() -> None:
    assert RootConfig().text() is None


# keys and groups: ostree-prepare-root(1) of ostree 2026.4, "Configuration"
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"readonly": True}, {"sysroot": {"readonly": "true"}}),
        (
            {"readonly": True, "etc": "transient"},
            {"sysroot": {"readonly": "true"}, "etc": {"transient": "true"}},
        ),
        (
            {"composefs": "verity", "readonly": True},
            {"sysroot": {"readonly": "true"}, "composefs": {"enabled": "verity"}},
        ),
    ],
)
def test_the_file_says_what_is_asked_for(options: dict[str, object], wanted: dict[str, object]) -> None:
    assert conf(**options) == wanted


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"etc": "transient"}, "needs readonly: true, or composefs"),
        ({"composefs": "maybe"}, "composefs"),
        ({"read_only": True}, "read_only"),
    ],
)
def test_what_ostree_would_ignore_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        RootConfig.model_validate(options)
