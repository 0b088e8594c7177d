"""Encrypted storage in the installer: its passphrase is given, asked for, or refused before the disk is."""

from typing import cast

import pytest

from imagebuild.errors import BuildError
from imagebuild.kickstart import source as language
from imagebuild.kickstart.statements import Statements, statements_of
from imagebuild.live import dialogue, install
from imagebuild.live.kickstarts import Found
from imagebuild.live.terminal import Terminal
from imagebuild.model import Kickstart
from imagebuild.stages import installer
from tests.kickstart.samples import SMALL

LOCKED = SMALL.replace("part pv.01 --grow", "part pv.01 --grow --encrypted")
WITH_TPM = LOCKED.replace('append="quiet"', 'append="rd.luks.options=tpm2-device=auto"')
GIVEN = LOCKED.replace("--encrypted", "--encrypted --passphrase=x")


class Typist:
    """Somebody who types these answers."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.said, self.secrets = list(answers), list[str](), list[bool]()

    def say(self, text: str) -> None:
        self.said.append(text)

    def ask(self, prompt: str, *, secret: bool = False) -> str:
        self.secrets.append(secret)
        return self.answers.pop(0)


def said(text: str) -> Statements:
    return statements_of(language.read(text, "F40", "ks.cfg"))


def test_what_nobody_could_open_is_known() -> None:
    assert said(LOCKED).lacks_passphrase == (5,)
    assert [said(text).lacks_passphrase for text in (SMALL, WITH_TPM, GIVEN)] == [(), (), ()]
    part = LOCKED.replace("rd.luks", "").replace('append="quiet"', 'append="rd.luks.options=discard"')
    assert said(part).lacks_passphrase == (5,)


def test_where_nobody_is_asked_it_is_refused_with_its_line() -> None:
    found = Found(text=LOCKED, name="http://x/ks.cfg", given=True)
    with pytest.raises(BuildError, match=r"^http://x/ks\.cfg:5: --encrypted has no --passphrase") as caught:
        install._passphrase(said(LOCKED), found, False, cast("Terminal", Typist()))
    assert "tpm2-device" in caught.value.hint
    unasked = said(LOCKED.replace("text\n", "text --non-interactive\n"))
    with pytest.raises(BuildError, match="--encrypted has no --passphrase"):
        install._passphrase(unasked, found, True, cast("Terminal", Typist("a", "a")))


def test_a_person_is_asked_twice_and_in_secret() -> None:
    typist = Typist("", "a b", "a c", "a b", "a b")
    assert dialogue.passphrase(typist) == "a b"
    assert typist.secrets == [True] * 5
    assert "a b" not in " ".join(typist.said)


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ((GIVEN,), r"ks\.cfg:5: --passphrase: everyone who has this medium would know it"),
        ((SMALL, GIVEN), r"ks\.cfg:5: --passphrase: everyone"),
        ((SMALL, LOCKED), r"ks\.cfg:5: --encrypted has no --passphrase, and nobody is asked"),
        ((LOCKED, WITH_TPM), ""),
    ],
)
def test_a_medium_for_everyone_is_checked_before_it_is_made(
    texts: tuple[str, ...], complaint: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The first is what a person starts, who can be asked; the second runs by itself."""
    kickstarts = []
    for text in texts:
        file = tmp_path_factory.mktemp("kickstart") / "ks.cfg"
        file.write_text(text)
        kickstarts.append(Kickstart(file=file, syntax="F40"))
    if not complaint:
        installer._check_encryption(tuple(kickstarts))
        return
    with pytest.raises(BuildError, match=complaint):
        installer._check_encryption(tuple(kickstarts))
