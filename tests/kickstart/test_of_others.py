"""Kickstarts of other projects and our own ones, in every version of the language: a plan, or what is wrong
with its line.
"""

import re
from typing import Any

import pytest
import yaml

from imagebuild.config import syntaxes
from imagebuild.kickstart import plan
from imagebuild.kickstart.plan import Plan
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kinds import Firmware
from tests.data import ROOT
from tests.kickstart.samples import GIB, rendered

OTHERS: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/data/kickstarts.yaml").read_text())
OURS = ("debian-12", "fedora-25", "fedora-29")
# what has no line of its own: the kickstart as a whole lacks it
WHOLE = re.compile(r"x\.ks: (there is no|nothing is mounted at /|UEFI is wanted|BIOS is wanted)")


def read(text: str, syntax: str, firmware: Firmware = Firmware.UEFI) -> Plan:
    return plan.read(
        text, syntax, disk_size=40 * GIB, firmware=frozenset({firmware}), seed="commit", name="x.ks"
    )


def problems(text: str, syntax: str, firmware: Firmware = Firmware.UEFI) -> list[str]:
    try:
        read(text, syntax, firmware)
    except BadKickstartError as error:
        return error.message.split("\n")
    return []


@pytest.mark.parametrize("syntax", syntaxes.usable())
def test_every_version_reads_them_or_names_the_line(syntax: str) -> None:
    texts = [str(each["commands"]) for each in OTHERS]
    texts += [rendered(name, variant)[0] for name in OURS for variant in ("cloud", "installer")]
    wrong = [message for text in texts for message in problems(text, syntax)]
    assert [each for each in wrong if not re.match(r"x\.ks:\d+: .", each) and not WHOLE.match(each)] == []


@pytest.mark.parametrize("given", OTHERS, ids=lambda each: f"{each['project']} {each['file']}")
def test_they_are_executed_in_the_versions_that_they_were_written_for(given: dict[str, Any]) -> None:
    for syntax in given["in"]:
        # who says MBR means BIOS, and coreos' own has no ESP
        bios = "msdos" in given["commands"] or "part /boot/efi" not in given["commands"]
        firmware = Firmware.BIOS if bios else Firmware.UEFI
        if "answered" not in given:
            assert read(given["commands"], syntax, firmware).file_systems()[0][0] == "/"
            continue
        line = next(
            number
            for number, text in enumerate(given["commands"].splitlines(), start=1)
            if text.startswith(given["answered"].partition(":")[0])
        )
        assert problems(given["commands"], syntax, firmware) == [f"x.ks:{line}: {given['answered']}"]


def test_all_releases_of_today_can_be_asked_for() -> None:
    assert {f"F{number}" for number in range(30, 46)} | {"RHEL8", "RHEL9", "RHEL10"} <= set(syntaxes.usable())


DIFFERENT = [
    # command -> (version in which it is executed, version in which it is not, what is said then)
    ("auth --useshadow --passalgo=sha512", "F34", "F35", "`auth` was taken out before --syntax F35"),
    ("authselect --useshadow", "F28", "F25", "Unknown command `authselect` in --syntax F25"),
    ("install", "F28", "F34", "`install` was taken out before --syntax F34"),
    ("logging --level=info", "F34", "F40", "--level is none of --syntax F40"),
    ("timezone --isUtc Europe/Berlin", "F39", "RHEL10", "--isUtc is none of --syntax RHEL10"),
    ("timezone --utc --nontp Europe/Berlin", "F39", "RHEL10", "--nontp is none of --syntax RHEL10"),
    ("timesource --ntp-disable", "F33", "F32", "`timesource` in --syntax F32"),
    ("timesource --ntp-server=0.pool.ntp.org", "RHEL10", "RHEL8", "`timesource` in --syntax RHEL8"),
    ("rootpw --allow-ssh --plaintext x", "RHEL9", "F36", "--allow-ssh is none of --syntax F36"),
]
BASE = (
    "text\nclearpart --all --initlabel\nreqpart --add-boot\npart / --grow\n"
    "ostreesetup --osname=os --remote=os --url=https://example.org/ --ref=a/b\n"
)


@pytest.mark.parametrize(("line", "has", "lacks", "complaint"), DIFFERENT)
def test_what_differs_between_versions_is_executed_where_it_is(
    line: str, has: str, lacks: str, complaint: str
) -> None:
    assert read(BASE + line + "\n", has).root() == ("root", "xfs")
    messages = problems(BASE + line + "\n", lacks)
    assert len(messages) == 1, messages
    assert messages[0].startswith("x.ks:6: ")
    assert complaint in messages[0]


@pytest.mark.parametrize("syntax", ["F43", "F45", "RHEL10", "DEVEL"])
@pytest.mark.parametrize(
    "line",
    [
        "bootc --source-imgref=registry:quay.io/fedora/fedora-bootc:rawhide",
        "ostreecontainer --url=/run/install/repo/container --transport=oci --no-signature-verification",
        "bootc",
    ],
)
def test_what_installs_a_container_is_answered_with_its_line(syntax: str, line: str) -> None:
    text = BASE.replace(BASE.splitlines()[-1], line)
    with pytest.raises(BadKickstartError) as caught:
        read(text, syntax)
    command = line.split(maxsplit=1)[0]
    assert f"x.ks:5: {command}: it installs from a registry: not by this executor yet" in caught.value.message
    assert "there is no ostreesetup" not in caught.value.message
    assert "`ostreesetup`" in caught.value.hint
    assert "lorax" in caught.value.hint


def test_time_and_root_are_in_the_plan() -> None:
    made = read(BASE + "timesource --ntp-server=a\ntimesource --ntp-pool=b\nrootpw --allow-ssh x\n", "F40")
    assert (made.time_sources, made.root_by_ssh) == (("a", "b"), True)
    assert read(BASE, "F40").time_sources is None
    assert read(BASE + "timezone --nontp UTC\n", "F28").time_sources == ()
    assert read(BASE + "timezone --ntpservers=a,b UTC\n", "F28").time_sources == ("a", "b")
    both = problems(BASE + "timesource --ntp-server=a\ntimesource --ntp-disable\n", "F40")
    assert both == ["x.ks:7: timesource: --ntp-disable, but servers are named"]
