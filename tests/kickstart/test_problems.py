"""What means the same is the same, and everything that is wrong is said at once."""

from pathlib import Path

import pytest

from imagebuild.deploy import prescript
from imagebuild.kickstart import source as language
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kinds import Firmware
from imagebuild.stages import kickstart
from tests.kickstart.language_samples import HEAD, LAST, SOURCE, WHOLE, read, refused, template


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("auth --useshadow --passalgo=sha512", "auth --enableshadow --passalgo=sha512"),
        ("auth --useshadow --passalgo=sha512", "authconfig --passalgo=sha512 --enableshadow"),
        ("auth --useshadow --passalgo=sha512", "authconfig --enableshadow --passalgo sha512"),
        ("auth --useshadow", "authselect --enableshadow --passalgo=sha512"),
        ("firewall --disabled", "firewall --disable"),
        ("firewall --enabled", "firewall --enable"),
        ("timezone --utc Europe/Berlin", "timezone Europe/Berlin --isUtc"),
        ("keyboard de", "keyboard --vckeymap=de"),
        ("keyboard --vckeymap=fr\nkeyboard de", "keyboard us\nkeyboard --vckeymap=de --xlayouts=fr"),
        ("poweroff", "shutdown"),
        ("network --bootproto=dhcp --onboot=yes", "network --onboot=on --ipv6=auto"),
        ("network --bootproto=dhcp --onboot=no", "network --onboot=off"),
        ("%post --log=/root/x\ntrue\n%end", "%post --logfile=/root/x\ntrue\n%end"),
        ("rootpw secret", "rootpw --plaintext secret"),
        ("user --name=ann", "user --name ann"),
    ],
)
def test_options_that_mean_the_same_are_the_same(one: str, other: str) -> None:
    assert read(WHOLE + one + "\n") == read(WHOLE + other + "\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("part / --size=3000", "partition / --size=3000"),
        ("part / --fstype=ext4 --size=3000", "part / --type=ext4 --size 3000"),
        ("part / --size=3000 --grow --maxsize=4000", "part / --maxsize=4000 --grow --size=3000"),
        ("autopart --type=plain", "autopart --nolvm"),
    ],
)
def test_storage_that_means_the_same_is_the_same(one: str, other: str) -> None:
    boot = "part /boot --size=300\n" if "autopart" not in one else ""
    assert read(boot + one + "\n" + SOURCE) == read(boot + other + "\n" + SOURCE)


def test_the_extents_that_anaconda_writes_are_ours() -> None:
    assert read(WHOLE.replace("volgroup vg pv.01", "volgroup vg --pesize=4096 pv.01")) == read(WHOLE)


@pytest.mark.parametrize(
    "line",
    [
        "auth --enableshadow --passalgo=md5",
        "authconfig --enablemd5",
        "auth --useshadow --enablenis",
        "authselect select sssd",
    ],
)
def test_other_authentication_is_refused(line: str) -> None:
    assert any(each.startswith(f"test.ks:{LAST + 1}: ") for each in refused(WHOLE + line + "\n"))


# as Anaconda writes it (anaconda, pyanaconda/kickstart.py; the lines of Fedora 26's installer), with what an
# image cannot have
ANACONDA = """#version=DEVEL
ignoredisk --only-use=vda
bootloader --append="crashkernel=auto" --location=mbr --boot-drive=vda
autopart --type=lvm
clearpart --all --initlabel --drives=vda
graphical
ostreesetup --osname="fedora-atomic" --remote="fedora-atomic" --url="file:///ostree/repo" --ref="fedora/26/x86_64/atomic-host" --nogpg
keyboard --vckeymap=us --xlayouts='us'
lang en_US.UTF-8
network  --bootproto=dhcp --device=ens3 --ipv6=auto --activate
network  --hostname=localhost.localdomain
rootpw --iscrypted $6$salt$hash
firstboot --enable
skipx
services --enabled="chronyd"
timezone America/New_York --isUtc --ntpservers=a,b
user --groups=wheel --name=ann --password=$6$salt$hash --iscrypted
sshpw --username=root --plaintext x
%post --erroronfail
true
%end
%addon com_redhat_kdump --enable --reserve-mb='128'

%end
%anaconda
pwpolicy root --minlen=6 --minquality=1 --notstrict --nochanges --notempty
%end
"""  # noqa: E501


def test_everything_that_is_wrong_is_said_at_once_with_its_line() -> None:
    messages = refused(ANACONDA, "F26")
    assert [message.split(": ")[0] for message in messages] == [
        f"test.ks:{line}" for line in (6, 10, 13, 18, 22)
    ], messages
    mended = "\n".join(
        line.replace("ens3", "link").replace("graphical", "text").replace("--enable ", "--disable ")
        for line in ANACONDA.split("\n")
        if not line.startswith(("firstboot", "sshpw"))
    )
    assert read(mended, "F26").users[0].name == "ann"


def test_mistakes_of_every_kind_come_together() -> None:
    text = (
        "frob\nlang 'x\nnetwork --hostname=$h\npart / --size=x\n"
        + HEAD
        + "part /a --size=10 --fstype=jfs\n%foo\n%end\nvnc\n"
        + SOURCE
    )
    lines = [message.split(": ")[0] for message in refused(text)]
    assert lines == [
        "test.ks:1",
        "test.ks:2",
        "test.ks:3",
        "test.ks:4",
        "test.ks:12",
        "test.ks:14",
    ], "the layout waits until its lines can be read"


def test_the_layouts_mistakes_come_with_the_others() -> None:
    text = (
        HEAD
        + "vnc\nclearpart --all\npart /a --size=10 --fstype=jfs\npart /b --size=10 --fstype=vfat\nlogvol /c"
        " --size=1 --name=c --vgname=no\n" + SOURCE
    )
    assert [message.split(": ")[0] for message in refused(text)] == [
        f"test.ks:{line}" for line in (7, 9, 10, 11)
    ]
    both = refused("vnc\n" + HEAD + SOURCE)
    assert both[0].startswith("test.ks:1: ")
    assert any("no separate /boot" in each for each in both), both


def test_what_a_disk_lacks_is_said_at_once() -> None:
    text = HEAD + "clearpart --all --disklabel=gpt\npart / --grow\npart '/a b' --size=4\n" + SOURCE
    assert [message.split(": ")[0] for message in refused(text.replace("/ --grow", "'/c d' --grow"))] == [
        "test.ks:8",
        "test.ks:9",
    ]
    both = frozenset({Firmware.BIOS, Firmware.UEFI})
    messages = refused(text.replace("part '/a b' --size=4\n", ""), firmware=both)
    assert [message.removeprefix("test.ks: ")[:16] for message in messages] == [
        "UEFI is wanted b",
        "BIOS is wanted o",
        "there is no sepa",
    ], messages


def test_what_is_no_kickstart_at_all_is_said_in_a_hundred_lines() -> None:
    messages = refused("".join(f"word{number} \x00\x01\n" for number in range(3000)))
    assert len(messages) == 101
    assert messages[-1] == "test.ks: … and 2902 more like these: is it a kickstart?"


def test_a_byte_order_mark_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read("\ufeff" + WHOLE) == read(WHOLE)
    assert read("\ufeff# a comment\n" + WHOLE) == read(WHOLE)
    assert prescript.has_scripts("\ufeff%pre\ntrue\n%end\n")
    assert language.includes("\ufeff%include /tmp/x\n") == [(1, "/tmp/x")]
    monkeypatch.setattr(kickstart, "shared_directory", lambda _: tmp_path)
    (tmp_path / "x.ks").write_bytes(b"\xef\xbb\xbftext\n%include part.ks # ours\n")
    (tmp_path / "part.ks").write_bytes(b"\xef\xbb\xbflang C.UTF-8\n")
    assert kickstart.render(template(), {}) == "text\nlang C.UTF-8\n"
    (tmp_path / "part.ks").write_bytes("lang C.UTF-8\n".encode("utf-16"))
    with pytest.raises(BadKickstartError, match=r"part\.ks is not text in UTF-8"):
        kickstart.render(template(), {})


def test_lines_of_windows_are_lines() -> None:
    assert read(WHOLE.replace("\n", "\r\n")) == read(WHOLE)
    assert refused(WHOLE.replace("\n", "\r\n") + "vnc\r\n") == [
        f"test.ks:{LAST + 1}: `vnc` is not executed by imagebuild"
    ]
