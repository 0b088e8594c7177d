"""Every version of the language that a configuration takes."""

from pathlib import Path

import pytest

from imagebuild.config import syntaxes
from imagebuild.config.images import KickstartConfig
from imagebuild.errors import UsageError
from imagebuild.kickstart import source as language
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kickstart.statements import statements_of
from imagebuild.live import dialogue
from imagebuild.release_line import reading as config
from tests.data import ROOT
from tests.kickstart.language_samples import GIB, HEAD, ROOT_VOLUME, SOURCE, WHOLE, read, refused


def test_the_versions_are_those_of_the_fedora_and_red_hat_releases_with_ostreesetup() -> None:
    """pykickstart 3.78, handlers/control.py: ostreesetup is there from F21 and RHEL7 on."""
    usable = syntaxes.usable()
    assert usable[:2] == ["F21", "F22"]
    assert {"F28", "F46", "DEVEL", "RHEL7", "RHEL8", "RHEL9", "RHEL10"} <= set(usable)
    assert not {"F20", "RHEL6", "FC6", "F7"} & set(usable)


@pytest.mark.parametrize("syntax", syntaxes.usable())
def test_every_version_that_a_configuration_takes_goes_to_the_plan(syntax: str) -> None:
    assert KickstartConfig(template="x.ks", syntax=syntax).syntax == syntax
    made = read(
        WHOLE + "user --name=ann --groups=wheel\nservices --enabled=sshd\nfirewall --disabled\nselinux"
        " --enforcing\n",
        syntax,
    )
    assert [each.name for each in made.partitions] == ["boot", "pv.01"]
    assert (made.ref, made.users[0].name, made.dhcp) == ("a/b", "ann", True)
    automatic = read(HEAD + "clearpart --all --initlabel\nautopart --type=lvm\n" + SOURCE, syntax)
    assert automatic.root() == ("root", "xfs")
    said = statements_of(language.parse("text\n", syntax, "x"))
    assert dialogue.missing(said), "the live installer asks in every version"


@pytest.mark.parametrize("syntax", syntaxes.usable())
def test_every_version_executes_what_it_has(syntax: str) -> None:
    handler = syntaxes.handler(syntax)
    if "sshkey" in handler.commands:
        assert read(WHOLE + 'sshkey --username=root "ssh-ed25519 AAAA a@b"\n', syntax).ssh_keys == (
            ("root", "ssh-ed25519 AAAA a@b"),
        )
    if "reqpart" in handler.commands:
        text = (
            HEAD
            + "clearpart --all\nreqpart --add-boot\npart pv.01 --grow\nvolgroup vg pv.01\n"
            + ROOT_VOLUME
            + SOURCE
        )
        assert [each.name for each in read(text, syntax).partitions] == ["boot", "pv.01"]


@pytest.mark.parametrize(
    ("syntax", "root"),
    [("F21", 3), ("RHEL7", 3), ("F27", 3), ("F28", 15), ("RHEL8", 15), ("RHEL10", 15), ("DEVEL", 15)],
)
def test_autopart_has_the_root_of_its_release(syntax: str, root: int) -> None:
    """Anaconda, pyanaconda/installclasses/rhel.py of the rhel7-branch, RHELAtomicInstallClass: 1 … 3 GiB."""
    made = read(HEAD + "clearpart --all\nautopart\n" + SOURCE, syntax)
    assert next(each.size for each in made.volumes if each.name == "root") == root * GIB


@pytest.mark.parametrize(
    ("syntax", "complaint"),
    [
        ("F20", "has no `ostreesetup`.*F21 and newer, RHEL7 and newer"),
        ("RHEL6", "has no `ostreesetup`"),
        ("F99", "has no version 'F99'"),
        ("f28", "has no version"),
        ("CentOS7", "there are: F21, F22, "),
        ("", "has no version"),
    ],
)
def test_a_configuration_names_the_versions_that_there_are(
    syntax: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        KickstartConfig(template="x.ks", syntax=syntax)
    text = (ROOT / "configs/debian-12.yaml").read_text()
    (tmp_path / "c.yaml").write_text(text.replace("syntax: F28", f"syntax: {syntax or repr('')}", 1))
    with pytest.raises(UsageError, match=r"c\.yaml:16: kickstarts\.cloud\.syntax: "):
        config.load(tmp_path / "c.yaml", tmp_path)


@pytest.mark.parametrize(
    ("syntax", "line", "words"),
    [
        (
            "F25",
            "authselect --useshadow",
            ["Unknown command `authselect` in --syntax F25", "F28 and newer, RHEL8 and newer"],
        ),
        ("F28", "ostreecontainer --url=x", ["`ostreecontainer` in --syntax F28", "F38 and newer"]),
        (
            "RHEL7",
            'sshkey --username=root "x"',
            ["`sshkey` in --syntax RHEL7", "F22 and newer, RHEL8 and newer"],
        ),
        ("F22", "reqpart --add-boot", ["`reqpart` in --syntax F22", "F23 and newer, RHEL7 and newer"]),
        ("F40", "auth --useshadow", ["--syntax F40", "F34", "RHEL9"]),
        (
            "F25",
            "autopart --nohome",
            ["--nohome is none of --syntax F25, but of F26 and newer, RHEL7 and newer"],
        ),
        ("F28", "autopart --nosuch", ["no version has --nosuch"]),
        (
            "F28",
            "frobnicate",
            ["Unknown command `frobnicate` in --syntax F28", "no version of pykickstart has it"],
        ),
    ],
)
def test_what_a_version_lacks_is_said_with_the_versions_that_have_it(
    syntax: str, line: str, words: list[str]
) -> None:
    before = HEAD + SOURCE if "autopart" in line else WHOLE
    message = next(
        each
        for each in refused(before + line + "\n", syntax)
        if each.startswith(f"test.ks:{before.count(chr(10)) + 1}: ")
    )
    assert [word for word in words if word not in message] == [], message


def test_a_mistyped_command_is_guessed() -> None:
    with pytest.raises(BadKickstartError) as caught:
        read(WHOLE + "netwerk --bootproto=dhcp\n")
    assert caught.value.hint == "is `network` meant?"


@pytest.mark.parametrize("syntax", ["RHEL4", "RHEL5", "F7", "FC3"])
def test_versions_before_the_end_of_sections_are_read_for_iso_add_kickstart(syntax: str) -> None:
    """Sections have to end with %end since Fedora 8 (pykickstart 3.78, parser.py)."""
    reading = language.parse(
        "text\n%post\necho one\n%post --nochroot\necho two\n", syntax, "ks.cfg", complete=False
    )
    assert [script.script for script in reading.handler.scripts] == ["echo one\n", "echo two\n"]
