"""Lists and pages of a release that would take their reader down."""

import pytest

from imagebuild.errors import BuildError
from imagebuild.publish import page_check
from imagebuild.tools import checksum


def test_a_size_with_thousands_of_digits_is_no_size() -> None:
    text = f"# a: {'9' * 5_000} bytes\nSHA256 (a) = {'ab' * 32}\n"
    with pytest.raises(BuildError, match="line 1 of the signed text is not a size"):
        checksum.entries_of(text.encode(), what="x")


@pytest.mark.parametrize(
    ("page", "says"), [('<a href="//[x">a</a>', "is not an address"), ("<![x[y]]>", "is not HTML|page of")]
)
def test_a_page_is_found_wrong(page: str, says: str) -> None:
    found = page_check.problems(page, compose_id="x", listed=[], manifest="m", downloads=[])
    assert any(says.partition("|")[0] in text or says.partition("|")[2] in text for text in found), found
