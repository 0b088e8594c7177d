"""Records that lack something are refused where they are registered."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from imagebuild.records import IncompleteRecordError, Registry


@dataclass(frozen=True, kw_only=True)
class Fruit:
    """A kind of thing."""

    name: str
    peel: Callable[[], str]
    colours: tuple[str, ...]
    note: str = ""


def made(name: str = "apple", colours: tuple[str, ...] = ("red",)) -> Fruit:
    return Fruit(name=name, peel=lambda: "", colours=colours)


def test_records_are_found_by_name_in_their_order() -> None:
    fruits = Registry("fruit", made("pear"), made())
    assert [*fruits] == ["pear", "apple"]
    assert fruits["apple"].colours == ("red",)
    assert "plum" not in fruits


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([made(colours=())], "fruit apple: the field colours is empty"),
        ([made(name="")], "the field name is empty"),
        ([made(name="Big Apple")], "fruit Big Apple: a name is lower-case"),
        ([made(), made()], "fruit apple: there are two of this name"),
    ],
)
def test_what_is_incomplete_is_refused(records: list[Fruit], says: str) -> None:
    with pytest.raises(IncompleteRecordError, match=says):
        Registry("fruit", *records)


def test_a_field_that_is_not_given_is_named() -> None:
    with pytest.raises(TypeError, match="peel"):
        Fruit(name="apple", colours=("red",))  # type: ignore[call-arg]
