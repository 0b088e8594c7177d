"""A kickstart says which menu the boot loader shows, in a section %addon."""

import pytest

from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kinds import BootMenu
from tests.kickstart.samples import SMALL, read


def section(words: str, body: str = "") -> str:
    return f"{SMALL}%addon org_imagebuild{words}\n{body}%end\n"


@pytest.mark.parametrize("menu", BootMenu)
def test_the_kickstart_can_say(menu: BootMenu) -> None:
    assert read(section(f" --boot-menu={menu}")).boot_menu is menu


def test_the_tree_decides_when_nothing_is_said() -> None:
    assert read(SMALL).boot_menu is None


@pytest.mark.parametrize(
    ("words", "body", "what"),
    [
        ("", "", "nothing"),
        (" --boot-menu=bls", "", "--boot-menu=bls"),
        (" --boot-menu", "", "--boot-menu"),
        (" --boot-menu=entries --timeout=3", "", "--timeout=3"),
        (" --boot-menu=entries", "timeout=3\n", "timeout=3"),
    ],
)
def test_what_is_not_understood_is_named_with_its_line(words: str, body: str, what: str) -> None:
    with pytest.raises(BadKickstartError) as caught:
        read(section(words, body))
    assert f":{SMALL.count(chr(10)) + 1}: %addon org_imagebuild: {what} is not understood" in str(
        caught.value
    )
    assert "--boot-menu=generated or --boot-menu=entries" in str(caught.value) + str(caught.value.hint)
