"""The dialogue asks what the kickstart does not say, shows what is lost, and takes nothing but `yes` for
yes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest

from imagebuild.deploy.live_system import LiveSystem
from imagebuild.deploy.prescript import Expanded
from imagebuild.errors import BuildError
from imagebuild.kickstart import plan
from imagebuild.kickstart import source as kickstart
from imagebuild.kickstart.statements import Statements, statements_of
from imagebuild.kinds import Firmware
from imagebuild.live import dialogue, disks, install
from imagebuild.live.disks import Candidate
from imagebuild.live.kickstarts import Found
from imagebuild.live.terminal import Terminal
from tests.kickstart.samples import rendered

VDA = Candidate(name="vda", size=8 << 30, model="Disk", content=("vda1: ext4 'data'",))
VDB = Candidate(name="vdb", size=16 << 30, model="")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@example"


class Typist:
    """Somebody who types these answers."""

    def __init__(self, answers: Iterable[str]) -> None:
        self.answers = list(answers)
        self.said: list[str] = []
        self.secrets: list[bool] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def ask(self, prompt: str, *, secret: bool = False) -> str:
        self.said.append(prompt)
        self.secrets.append(secret)
        return self.answers.pop(0)


def statements(text: str = "", syntax: str = "F28") -> Statements:
    return statements_of(kickstart.parse(text, syntax, "test"))


@pytest.mark.parametrize(
    "line",
    ["rootpw --lock", "rootpw --plaintext x", "user --name=ann", 'sshkey --username=root "ssh-ed25519 AAAA"'],
)
def test_a_kickstart_that_says_who_may_log_in_is_complete(line: str) -> None:
    assert dialogue.missing(statements(line + "\n")) == []
    assert dialogue.missing(statements()) == ["how to log in (rootpw, user or sshkey)"]


def test_who_may_not_be_asked_is_not() -> None:
    with pytest.raises(BuildError, match="says --non-interactive, but not how to log in"):
        dialogue.missing(statements("text --non-interactive\n"))
    assert dialogue.missing(statements("text --non-interactive\nrootpw --lock\n")) == []


@pytest.mark.parametrize("syntax", ["F21", "RHEL7"])
def test_no_key_is_asked_for_where_the_language_has_none(syntax: str) -> None:
    person = Typist(["", "pw", "pw", ""])
    text = dialogue.accounts(person, statements("text\n", syntax), "wheel")
    assert "sshkey" not in text
    assert kickstart.parse(text, syntax, "test").handler.rootpw.isCrypted


def test_the_disk_is_chosen_by_number_or_name() -> None:
    assert dialogue.choose_disk(Typist(["3", "x", "2"]), [VDA, VDB]) is VDB
    assert dialogue.choose_disk(Typist(["vda"]), [VDA, VDB]) is VDA
    assert dialogue.choose_disk(Typist([]), [VDA]) is VDA


def test_what_is_lost_is_shown_before_it_is() -> None:
    person = Typist(["yes"])
    dialogue.confirm(person, VDA, ["/: 3.0 GiB xfs"])
    assert "Everything on vda  8.0 GiB  Disk will be erased" in person.said[0]
    assert "vda1: ext4 'data'" in person.said[0]
    assert "/: 3.0 GiB xfs" in person.said[0]
    for answer in ("y", "", "no", "yess"):
        with pytest.raises(BuildError, match="nothing was installed"):
            dialogue.confirm(Typist([answer]), VDA, [])


def test_answers_become_kickstart_lines() -> None:
    person = Typist(
        [
            "bad_name",
            "host.example.org",
            "secret",
            "secrte",
            "secret",
            "secret",
            "no key",
            KEY,
            "Ann",
            "ann",
            "pw",
            "pw",
        ]
    )
    text = dialogue.accounts(person, statements(), "sudo")
    assert person.answers == []
    parsed = kickstart.parse(text, "F28", "test").handler
    assert parsed.network.network[0].hostname == "host.example.org"
    assert parsed.rootpw.password.startswith("$6$")
    assert parsed.sshkey.sshUserList[0].key == KEY
    (user,) = parsed.user.userList
    assert (user.name, user.groups, user.isCrypted) == ("ann", ["sudo"], True)
    assert "secret" not in text
    # what is typed for a password is not shown
    assert person.secrets.count(True) == 6


def test_the_answers_go_with_the_release_s_own_defaults() -> None:
    text, syntax = rendered("debian-12", "interactive")
    person = Typist(["host.example.org", "pw", "pw", KEY, "ann", "pw", "pw"])
    text += dialogue.accounts(person, statements(text), "sudo") + "ignoredisk --only-use=vda\n"
    planned = plan.read(text, syntax, disk_size=8 << 30, firmware=frozenset({Firmware.BIOS}), seed="x")
    assert (planned.hostname, planned.dhcp, [user.name for user in planned.users]) == (
        "host.example.org",
        True,
        ["ann"],
    )
    assert planned.ssh_keys == (("root", KEY),)


def test_somebody_must_be_able_to_log_in() -> None:
    person = Typist(["", "", "", "", "", KEY, ""])
    text = dialogue.accounts(person, statements(), "wheel")
    assert "Nobody could log in: give a password, a key or a user" in person.said
    assert text == f'rootpw --lock --iscrypted locked\nsshkey --username=root "{KEY}"\n'


def test_a_host_name_in_the_kickstart_is_not_asked_for() -> None:
    person = Typist(["", KEY, ""])
    dialogue.accounts(person, statements("network --hostname=a --bootproto=dhcp\n"), "wheel")
    assert not any("Host name" in line for line in person.said)


ERASES = "rootpw --lock\nzerombr\nclearpart --all\nautopart\nreboot\n"


@pytest.mark.parametrize(
    "given", [False, True], ids=["the medium's defaults", "a kickstart that was asked for"]
)
def test_the_mediums_own_defaults_never_erase_without_a_person(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: bool
) -> None:
    """They say `clearpart --all`, and may say who logs in: whoever gave no kickstart is asked all the
    same.
    """
    monkeypatch.setattr(disks, "candidates", lambda _: [VDA])
    live = LiveSystem(tree=tmp_path, medium=frozenset())
    release = install.MediumRelease(
        product="x", version="1", ref="r", commit="c", kernel="k", syntax="F28", signed=False, keys=()
    )
    person = Typist([])
    text, disk, asked = install._complete(
        live,
        Expanded(text=ERASES),
        Found(text=ERASES, name="defaults.ks", given=given),
        release,
        cast("Terminal", person),
    )
    assert (disk, asked) == (VDA, not given)
    assert ("ignoredisk --only-use=vda" in text) == asked
