"""Kickstarts as people wrote them: every version is read, nothing is left out silently, and everything that
is wrong is said at once.
"""

import contextlib
import dataclasses
import platform
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from imagebuild import steplog
from imagebuild.config import syntaxes
from imagebuild.config.images import KickstartConfig
from imagebuild.config.tree import TreeConfig
from imagebuild.deploy import prescript, ways
from imagebuild.errors import UsageError
from imagebuild.kickstart import plan
from imagebuild.kickstart import source as language
from imagebuild.kickstart.plan import Plan
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kinds import Firmware
from imagebuild.live import dialogue
from imagebuild.model import Toolbox
from imagebuild.release_line import reading as config
from imagebuild.stages import kickstart
from tests.data import ROOT
from tests.fakes import FakeSandbox
from tests.stages.trees import TREE as RELEASED

GIB = 1 << 30
HEAD = (
    "text\nlang en_US.UTF-8\nkeyboard us\ntimezone --utc Etc/UTC\nrootpw --lock --iscrypted"
    ' locked\nbootloader --timeout=1 --append="quiet"\n'
)
DISK = "zerombr\nclearpart --all\npart /boot --size=300 --fstype=ext4\npart pv.01 --grow\nvolgroup vg pv.01\n"
ROOT_VOLUME = "logvol / --size=3000 --fstype=xfs --name=root --vgname=vg\n"
SOURCE = "ostreesetup --osname=os --remote=os --url=https://example.org/ --ref=a/b --nogpg\n"
WHOLE = (
    HEAD
    + DISK
    + ROOT_VOLUME
    + SOURCE
    + "network --bootproto=dhcp --device=link --activate --onboot=on\nreboot\n"
)
LAST = WHOLE.count("\n")


def read(text: str, syntax: str = "F28", **more: object) -> Plan:
    settings = {
        "disk_size": 40 * GIB,
        "firmware": frozenset({Firmware.BIOS}),
        "seed": "commit",
        "name": "test.ks",
    } | more
    return plan.read(text, syntax, **settings)  # type: ignore[arg-type]  # a table of what read() takes


def refused(text: str, syntax: str = "F28", **more: object) -> list[str]:
    """What is wrong with a kickstart, a message each."""
    with pytest.raises(BadKickstartError) as caught:
        read(text, syntax, **more)
    return caught.value.message.split("\n")


# --- versions -----------------------------------------------------------------------------------------------


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
    assert dialogue.missing(language.parse("text\n", syntax, "x")), "the live installer asks in every version"


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
        ("F99", "knows no version 'F99'"),
        ("f28", "knows no version"),
        ("CentOS7", "there are: F21, F22, "),
        ("", "knows no version"),
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
    handler = language.parse(
        "text\n%post\necho one\n%post --nochroot\necho two\n", syntax, "ks.cfg", complete=False
    )
    assert [script.script for script in handler.scripts] == ["echo one\n", "echo two\n"]


# --- nothing is silently not executed -----------------------------------------------------------------------

SCRIPT = "%post\ncat > /root/x <<EOF\n"


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        pytest.param("%ksappend http://ks.example.org/x.ks\n", 1, "%ksappend http", id="appended"),
        pytest.param("  %ksappend /tmp/x.ks\n", 1, "%ksappend /tmp/x.ks", id="appended, indented"),
        pytest.param(
            SCRIPT + "%ksappend http://x/\nEOF\n%end\n",
            3,
            "%ksappend http://x/",
            id="appended inside of a script, where pykickstart does it too",
        ),
        pytest.param("%include /tmp/x\n", 1, "%include /tmp/x: there is no such file", id="included"),
        pytest.param("%include\n", 1, "%include", id="included, nothing"),
        pytest.param(
            SCRIPT + "%include /etc/passwd\nEOF\n%end\n",
            3,
            "%include /etc/passwd",
            id="included inside of a script",
        ),
        pytest.param(
            "%packages\n%include /tmp/x\n%end\n", 2, "%include /tmp/x", id="included inside of %packages"
        ),
        pytest.param("%packages\n@core\n%end\n", 1, "%packages: the section is not executed", id="packages"),
        pytest.param(
            "%packages --ignoremissing\nvim\n%end\n",
            1,
            "%packages --ignoremissing: the section",
            id="packages with options",
        ),
        pytest.param(
            "%addon com_redhat_kdump --enable\n%end\n",
            1,
            "%addon com_redhat_kdump --enable",
            id="kdump switched on",
        ),
        pytest.param(
            "%addon org_fedora_oscap\nprofile = x\n%end\n", 1, "%addon org_fedora_oscap", id="another addon"
        ),
        pytest.param("%anaconda\nsomething else\n%end\n", 1, "%anaconda", id="anaconda"),
        pytest.param("%certificate --filename=x --dir=/etc\nx\n%end\n", 1, "%certificate", id="certificate"),
        pytest.param("%pre-install\ntrue\n%end\n", 1, "executes %pre and %post", id="pre-install"),
        pytest.param("%traceback\ntrue\n%end\n", 1, "executes %pre and %post", id="traceback"),
        pytest.param("%frob\ntrue\n%end\n", 1, "Unknown kickstart section: %frob", id="unknown section"),
        pytest.param("%post\ntrue\n", 1, "%post does not end with %end", id="open section"),
        pytest.param("%post --frob\ntrue\n%end\n", 1, "--frob", id="unknown option of a section"),
        pytest.param("firstboot --enable\n", 1, "`firstboot` is not executed", id="firstboot"),
        pytest.param("logging --host=10.0.0.1\n", 1, "`logging` is not executed", id="logging elsewhere"),
        pytest.param("repo --name=x --baseurl=http://x/\n", 1, "`repo` is not executed", id="repo"),
        pytest.param("url --url=http://x/\n", 1, "`url` is not executed", id="url"),
        pytest.param("mount /dev/sda1 /data\n", 1, "`mount` is not executed", id="mount"),
        pytest.param("raid / --device=0 --level=1 raid.1 raid.2\n", 1, "`raid` is not executed", id="raid"),
        pytest.param("btrfs none --label=x pv.01\n", 1, "`btrfs` is not executed", id="btrfs"),
        pytest.param(
            "keyboard --xlayouts=de\n", 1, "option `x_layouts` is not executed", id="keyboard of X only"
        ),
        pytest.param(
            "timezone --ntpservers=x Etc/UTC\n", 1, "option `ntpservers` is not executed", id="time servers"
        ),
        pytest.param("rootpw --plaintext 'a\n", 1, "quotes do not match", id="open quote"),
        pytest.param('"" x\n', 1, "Unknown command ``", id="no command"),
        pytest.param("network \\\n  --bootproto=dhcp\n", 1, "ends with its line", id="continued line"),
        pytest.param(
            "user --name=ann --groups=wheel(10)\n", 1, "wheel(10) is not a name", id="group with a number"
        ),
        pytest.param("lang ../../etc\n", 1, "../../etc is not a locale", id="locale"),
        pytest.param("timezone --utc ../../../etc/passwd\n", 1, "is not a time zone", id="time zone"),
        pytest.param(
            "volgroup vg2 --pesize=32768 pv.02\n",
            1,
            "option `pesize` is not executed",
            id="extents of another size",
        ),
        pytest.param("reboot --kexec\n", 1, "option `kexec` is not executed", id="kexec"),
        pytest.param("network --hostname=\n", 1, "--hostname has no value", id="empty host name"),
        pytest.param(
            "network --hostname=a --device=eth0\nnetwork --hostname=b --device=eth1\n",
            2,
            "it is a already",
            id="two host names",
        ),
        pytest.param(
            "part biosboot --size=1 --fstype=biosboot --label=x\n",
            1,
            "--label is only executed",
            id="label of what has none",
        ),
        pytest.param(
            "part /boot/efi --size=64 --fstype=efi --label=x\n",
            1,
            "--label is only executed",
            id="label of an ESP",
        ),
        pytest.param(
            "logvol none --size=8 --name=p --vgname=vg --thinpool --label=x\n",
            1,
            "--label is only",
            id="label of a pool",
        ),
        pytest.param(
            "part /x --size=64 --fstype=xfs --label=thirteen-long\n",
            1,
            "room for 12 bytes",
            id="label that XFS would refuse",
        ),
        pytest.param(
            "part /x --size=64 --fstype=ext4 --label=seventeen-letters\n",
            1,
            "room for 16 bytes",
            id="label that ext4 would cut off",
        ),
        pytest.param(
            "part /var --size=64 --fstype=swap\n",
            1,
            "part /var --fstype=swap is not executed",
            id="swap with a mount point",
        ),
        pytest.param(
            "part /var --size=64 --fstype=biosboot\n",
            1,
            "part /var --fstype=biosboot is not",
            id="a mounted BIOS boot partition",
        ),
        pytest.param(
            "part /var --size=64 --fstype=lvmpv\n",
            1,
            "part /var --fstype=lvmpv is not executed",
            id="a mounted physical volume",
        ),
        pytest.param(
            "logvol /var --size=64 --name=v --vgname=vg --fstype=swap\n",
            1,
            "swap cannot be mounted at /var",
            id="a mounted swap volume",
        ),
        pytest.param(
            "logvol swap --size=64 --name=v --vgname=vg --fstype=xfs\n",
            1,
            "--fstype=xfs is not swap",
            id="swap that is XFS",
        ),
        pytest.param(
            "part pv.02 --size=64\n",
            1,
            "part pv.02: no volgroup is made of it",
            id="a physical volume of no group",
        ),
        pytest.param(
            "clearpart --all --disklabel=dasd\n",
            1,
            "--disklabel=dasd is not executed",
            id="a table of another kind",
        ),
        pytest.param(
            'services --enabled="sshd chronyd"\n',
            1,
            "sshd chronyd is not a name of a unit",
            id="services without commas",
        ),
        pytest.param(
            "services --disabled=../x\n", 1, "../x is not a name of a unit", id="a path for a service"
        ),
        pytest.param('sshkey --username=root ""\n', 1, "the key is empty", id="an empty key"),
        pytest.param(
            "services --enabled=a --enabled=b\n",
            1,
            "--enabled overwrites the --enabled before it",
            id="an option twice",
        ),
        pytest.param(
            "services --enable=a --enabled=b\n",
            1,
            "--enabled overwrites the --enable ",
            id="an option twice, once cut short",
        ),
        pytest.param(
            "bootloader --append=“quiet”\n", 1, "“quiet” has quotes that are none", id="quotes of a web page"
        ),
        pytest.param(
            "bootloader --append=a --append b\n",
            1,
            "--append overwrites the --append",
            id="an option twice, in two spellings",
        ),
        pytest.param(
            "rootpw --iscrypted --plaintext x\n",
            1,
            "--plaintext overwrites the --iscrypted",
            id="options that exclude each other",
        ),
        pytest.param(
            "clearpart --linux --all\n", 1, "--all overwrites the --linux", id="which partitions go, twice"
        ),
        pytest.param(
            "part /x --size=8 --fstype=ext4 --ondisk=sda --ondrive=sdb\n",
            1,
            "--ondrive overwrites the --ondisk",
            id="two names of an option",
        ),
        pytest.param(
            "  --ref=a/b\n", 1, "--ref: an option without its command", id="options in a line of their own"
        ),
        pytest.param("%end\n", 1, "there is no section that it ends", id="an end without a section"),
        pytest.param(
            "%packages\n-\n%end\n",
            2,
            "pykickstart cannot read this line",
            id="what pykickstart itself stumbles over",
        ),
    ],
)
def test_what_is_not_executed_is_refused_with_its_line(text: str, line: int, complaint: str) -> None:
    messages = refused(WHOLE + text)
    assert any(each.startswith(f"test.ks:{LAST + line}: ") and complaint in each for each in messages), (
        messages
    )


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("part /x --size=10 --fstype=ext4 --noformat --onpart=sda1", "format"),
        ("part /x --size=10 --fstype=ext4 --usepart=sda1", "onPart"),
        ("part /x --size=10 --fstype=ext4 --onbiosdisk=80", "onbiosdisk"),
        ("part /x --size=10 --fstype=ext4 --fsoptions=nodev", "fsopts"),
        ("part swap --recommended", "recommended"),
        ("part swap --hibernation", "hibernation"),
        ("logvol /x --size=10 --fstype=ext4 --name=x --vgname=vg --useexisting", "preexist"),
        ("logvol /x --size=10 --fstype=ext4 --name=x --vgname=vg --fsoptions=nodev", "fsopts"),
        ("ignoredisk --drives=sdb", "ignoredisk"),
        ("clearpart --list=sda1", "devices"),
        ("bootloader --nombr", "nombr"),
        ("bootloader --extlinux", "extlinux"),
        ("bootloader --leavebootorder", "leavebootorder"),
        ("firewall --enabled --service=ssh", "services"),
        ("network --bootproto=dhcp --noipv6", "noipv6"),
        ("network --bootproto=dhcp --nameserver=10.0.0.1", "nameserver"),
        ("lang en_US.UTF-8 --addsupport=de_DE.UTF-8", "addsupport"),
        ("autopart --encrypted --passphrase=x", "encrypted"),
    ],
)
def test_an_option_that_is_parsed_but_not_executed_is_refused(line: str, option: str) -> None:
    before = HEAD + SOURCE if "autopart" in line else WHOLE
    messages = refused(before + line + "\n")
    where = f"test.ks:{before.count(chr(10)) + 1}: "
    assert any(
        each.startswith(where) and f"option `{option}` is not executed" in each for each in messages
    ), messages


def test_a_second_key_of_an_account_is_executed_too() -> None:
    made = read(WHOLE + 'sshkey --username=root "a b"\nsshkey --username=root "c d"\n')
    assert made.ssh_keys == (("root", "a b"), ("root", "c d"))
    for twice in ("user --name=ann\n", "group --name=g\n", "logvol /x --size=8 --name=x --vgname=vg\n"):
        assert any(
            f"test.ks:{LAST + 2}: " in message and "already been defined" in message
            for message in refused(WHOLE + 2 * twice)
        ), twice


@pytest.mark.parametrize(
    "line",
    [
        "services --enabled=a --disabled=b",
        "services --enabled=a --enabled=a",
        "timezone Etc/UTC --utc --isUtc",
        "clearpart --all --initlabel",
        "rootpw --lock --iscrypted locked",
        "user --name=ann --iscrypted --password=x --lock",
        "user --name=ann --group=wheel --gecos 'Ann O\u2019Hara'",
    ],
)
def test_options_that_overwrite_nothing_are_taken(line: str) -> None:
    assert read(WHOLE + line + "\n").osname == "os"


@pytest.mark.parametrize(
    "line",
    [
        "timezone --utc Etc/UTC Europe/Oslo",
        "keyboard us de",
        "lang a b",
        "lang",
        "timezone",
        "keyboard",
        "bootloader --timeout=x",
    ],
)
def test_a_line_that_has_too_much_or_too_little_is_no_traceback(line: str) -> None:
    """pykickstart 3.78 keeps the list of words in `timezone` when it refuses the line."""
    assert [message.split(": ")[0] for message in refused(WHOLE + line + "\n")] == [f"test.ks:{LAST + 1}"]


def test_a_pool_with_a_mount_point_is_refused() -> None:
    thin = "logvol /var --size=64 --name=p --vgname=vg --thinpool\n"
    assert any(
        message.startswith(f"test.ks:{LAST + 1}: logvol") for message in refused(WHOLE + thin, "RHEL7")
    )


def test_what_an_unread_line_would_have_said_is_not_missed_too() -> None:
    """Documentation breaks `ostreesetup` over lines (Red Hat Enterprise Linux for Edge 9); Fedora's images
    included the installer's own one.
    """
    continued = (
        HEAD + DISK + ROOT_VOLUME + SOURCE.replace(" --url", " \\\n  --url").replace(" --ref", " \\\n  --ref")
    )
    assert [message.split(": ")[1] for message in refused(continued)] == [
        "ostreesetup",
        "--url=https://example.org/",
        "--ref",
    ]
    included = HEAD + DISK + ROOT_VOLUME + "%include /usr/share/anaconda/interactive-defaults.ks\n"
    assert [message.split(":")[1] for message in refused(included)] == [str(included.count("\n"))]


def test_the_variable_that_anaconda_replaces_is_replaced() -> None:
    """As in rpm-ostree.ks.in of kickstart-tests: --ref=fedora/rawhide/${basearch}/iot."""
    made = read(WHOLE.replace("--ref=a/b", "--ref=a/${basearch}/b"))
    assert made.ref == f"a/{platform.machine()}/b"
    assert any(
        "`${basearch}` was not filled in" in message
        for message in refused(WHOLE + "network --hostname=${basearch}\n")
    )


@pytest.mark.parametrize(
    "line",
    [
        "ostreesetup --osname=os --url=https://x/ --ref=a/${basearch}/b",
        "url --url=https://x/$basearch/os/",
        "services --enabled=a --enabled=b",
        "repo --name=x --baseurl=https://x/$releasever/${basearch}/",
    ],
)
def test_what_anaconda_does_by_itself_is_left_to_it(line: str) -> None:
    """`iso add-kickstart`: lorax's own tests have `$basearch` in `url` (tests/mkksiso/ks/extra-repo.ks)."""
    language.parse(line + "\n", "F40", "x.ks", complete=False)


@pytest.mark.parametrize("syntax", syntaxes.usable())
def test_storage_is_said_once(syntax: str) -> None:
    """pykickstart refuses autopart beside part, volgroup and logvol: otherwise one of them would be left
    out.
    """
    for lines in ("part / --size=3000\n", "volgroup vg pv.01\n", "logvol /x --size=8 --name=x --vgname=vg\n"):
        assert any(
            "can't be used at the same time" in message
            for message in refused(HEAD + "autopart\n" + lines + SOURCE, syntax)
        ), lines


def test_an_option_is_refused_at_the_line_that_has_it() -> None:
    assert refused("lang C --addsupport=de_DE\n" + WHOLE) == [
        "test.ks:1: lang: its option `addsupport` is not executed by imagebuild"
    ]
    assert read("bootloader --extlinux\n" + WHOLE) == read(WHOLE), (
        "a later line takes a switch back, as with Anaconda"
    )


@pytest.mark.parametrize(
    ("parts", "line", "complaint"),
    [
        pytest.param(
            "part /boot --size=300 --ondisk=sdb\npart / --size=3000",
            1,
            "other parts name no disk (/)",
            id="one of two",
        ),
        pytest.param(
            "part /boot --size=300\npart / --size=3000 --ondrive=sdb",
            2,
            "other parts name no disk (/boot)",
            id="the other, --ondrive",
        ),
        pytest.param(
            "part /boot --size=300 --ondisk=sda\npart / --size=3000 --ondisk=sdb",
            2,
            "several disks are named (sda, sdb)",
            id="two disks",
        ),
        pytest.param(
            "part /boot --size=300\npart / --size=3000\nclearpart --all --drives=sda,sdb",
            3,
            "several disks",
            id="clearpart",
        ),
        pytest.param(
            "part /boot --size=300\npart / --size=3000\nignoredisk --only-use=sda,sdb",
            3,
            "several disks",
            id="ignoredisk",
        ),
        pytest.param(
            "part /boot --size=300\npart / --size=3000\nbootloader --driveorder=sda,sdb",
            3,
            "several disks",
            id="driveorder",
        ),
        pytest.param(
            "part /boot --size=300 --ondisk=sda\npart / --size=3000 --ondisk=sda\nbootloader"
            " --boot-drive=sdb",
            3,
            "several disks",
            id="boot drive",
        ),
        pytest.param(
            "part /boot --size=300 --onbiosdisk=80\npart / --size=3000",
            1,
            "option `onbiosdisk` is not executed",
            id="BIOS disk",
        ),
    ],
)
def test_partitions_of_several_disks_are_refused(parts: str, line: int, complaint: str) -> None:
    messages = refused(parts + "\n" + SOURCE)
    assert any(each.startswith(f"test.ks:{line}: ") and complaint in each for each in messages), messages


@pytest.mark.parametrize(
    "parts",
    [
        (
            "part /boot --size=300 --ondisk=vda\npart / --size=3000 --ondrive=/dev/vda\nbootloader"
            " --boot-drive=vda"
        ),
        "part /boot --size=300 --ondisk=vda\npart / --size=3000\nignoredisk --only-use=vda",
        (
            "part /boot --size=300\npart / --size=3000\nclearpart --all --drives=vda\nbootloader"
            " --location=mbr --boot-drive=vda"
        ),
        "part /boot --size=300\npart / --size=3000\nbootloader --driveorder=vda",
    ],
)
def test_one_disk_may_be_named_in_every_way(parts: str) -> None:
    assert [each.name for each in read(parts + "\n" + SOURCE).partitions] == ["boot", "root"]


@pytest.mark.parametrize(
    "line",
    [
        "network --hostname=$hostname",
        "network --hostname=${hostname}",
        "network --hostname=${HOSTNAME}",
        "network --hostname={{ hostname }}",
        "network --hostname={{hostname}}",
        "network --hostname=<%= @host %>",
        "network --hostname=<%= host_param('name') %>",
        "network --hostname=@hostname@",
        "network --hostname=@@hostname@@",
        "network --hostname=%(hostname)s",
        "network --hostname=[% host %]",
        "network --hostname=$(hostname)",
        "network --hostname=__HOSTNAME__",
        "network --hostname=%HOSTNAME%",
        "network --hostname $hostname",
        "network --hostname={% if x %}y{% endif %}",
        "network --hostname=$getVar('hostname')",
        "rootpw --iscrypted $default_password_crypted",
        "rootpw --iscrypted {{ root_password }}",
        "rootpw --plaintext <%= root_pass %>",
        "user --name=ann --password={{ pw }}",
        "user --name=$user",
        "timezone --utc $timezone",
        "lang @lang@",
        "$SNIPPET('network_config')",
        "<% if @x %>",
        "{% if x %}",
        'bootloader --append="console=tty0 $kernel_options_post"',
        "url --url=$tree",
        "services --enabled=${services}",
        "%>",
        "-%>",
        "%}",
        "%{ if x }",
        "%{ endif ~}",
        "network --hostname=%{host}",
        "network --hostname=%%HOSTNAME%%",
        "#set $name = 'x'",
        "#if $getVar('x', '')",
        "#end if",
        "  # end if",
        "#raw",
    ],
)
def test_what_a_template_left_is_refused(line: str) -> None:
    """Cobbler's sample of RHEL's Atomic Host has `network --hostname=$hostname`; Foreman's are ERB, Ansible's
    Jinja.
    """
    messages = refused(WHOLE + line + "\n")
    assert any(
        each.startswith(f"test.ks:{LAST + 1}: ")
        and ("was not filled in" in each or "directive of a template" in each)
        for each in messages
    ), messages


@pytest.mark.parametrize(
    "line",
    [
        "rootpw --iscrypted $6$salt$hash.of/it",
        "rootpw --iscrypted $y$j9T$salt$hash",
        "rootpw --plaintext pa$word",
        "rootpw --plaintext a{{b",
        "user --name=ann --iscrypted --password=$y$j9T$salt$hash",
        "user --name=ann --iscrypted --password $2b$05$saltandhash",
        "bootloader --iscrypted --password=grub.pbkdf2.sha512.10000.AA.BB",
        'bootloader --append="memmap=64M$0x18000000 a=b@c"',
        "# if you want $more, change it",
        "# a {{ comment }} is none",
        "#version=DEVEL",
        "network --hostname=a-1.example.org",
        "user --name=svc.a_b-c",
        'user --name=ann --gecos="Ann {a} 100% @home"',
        "%post\necho ${x} $(y) {{ z }} <%= a %> @b@\n%end",
    ],
)
def test_what_only_looks_like_a_template_is_taken(line: str) -> None:
    assert read(WHOLE + line + "\n").osname == "os"


def test_a_templates_value_that_is_no_host_name_is_refused() -> None:
    for name in ("<HOSTNAME>", "node$n", "a_b", "-a", "a..b", "x" * 300):
        assert any(
            "is not a host name" in each for each in refused(WHOLE + f"network --hostname='{name}'\n")
        ), name


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("install\ncdrom\n", ["`install` has nothing to do here", "`cdrom`"]),
        (
            "skipx\neula --agreed\nmediacheck\nlogging --level=debug\n",
            ["`skipx`", "`eula`", "`mediacheck`", "`logging`"],
        ),
        ("firstboot --disable\n", ["`firstboot`: no setup agent"]),
        ("firstboot --disabled\n", ["`firstboot`"]),
        ("keyboard --vckeymap=us --xlayouts='us'\n", ["--xlayouts has nothing to do here"]),
        ("reboot --eject\ntext --non-interactive\n", ["option `eject`", "option `nonInteractive`"]),
        (
            "%addon com_redhat_kdump --disable --reserve-mb='128'\n\n%end\n",
            ["%addon com_redhat_kdump --disable"],
        ),
        (
            "%anaconda\npwpolicy root --minlen=6 --notstrict\n%end\n%packages\n# none\n%end\n",
            ["%anaconda has nothing to do", "%packages has nothing"],
        ),
        ("auth --useshadow --passalgo=sha512\n", ["authconfig command will be deprecated"]),
        (
            "services --enabled=a\nservices --enabled=b\n",
            [f"line {LAST + 1} says of `enabled` does not count any more"],
        ),
        ("bootloader --append=b\n", ["line 6 says of `appendLine` does not count any more"]),
    ],
)
def test_what_has_nothing_to_do_is_noted_with_its_line(lines: str, words: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with steplog.writing_to(log):
        read(WHOLE + lines)
    noted = log.read_text()
    assert [word.split(":")[0] for word in words if word.split(":")[0] not in noted] == [], noted
    assert all(line.startswith("test.ks:") for line in noted.splitlines()), noted


# --- what means the same is the same ------------------------------------------------------------------------


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


# --- everything at once -------------------------------------------------------------------------------------

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
        f"test.ks:{line}" for line in (6, 10, 13, 16, 18, 22)
    ], messages
    mended = "\n".join(
        line.replace("ens3", "link")
        .replace("graphical", "text")
        .replace(" --ntpservers=a,b", "")
        .replace("--enable ", "--disable ")
        for line in ANACONDA.split("\n")
        if not line.startswith(("firstboot", "sshpw"))
    )
    assert read(mended, "F26").users[0].name == "ann"


def test_mistakes_of_every_kind_come_together() -> None:
    text = (
        "frob\nlang 'x\nnetwork --hostname=$h\npart / --size=x\n"
        + HEAD
        + "part /a --size=10 --fstype=btrfs\n%foo\n%end\nvnc\n"
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
        + "vnc\nclearpart --all\npart /a --size=10 --fstype=btrfs\npart /b --size=10 --fstype=vfat\nlogvol /c"
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


# --- what %pre writes ---------------------------------------------------------------------------------------

NO_SOURCE = WHOLE.replace(SOURCE, "%include /tmp/source\n")
WRITES = "%pre\necho 'ostreesetup --osname=os' > /tmp/source\n%end\n"


def expanded(text: str, **answers: str) -> prescript.Expanded:
    sandbox = FakeSandbox(answers={f"/tmp/{name}": data.encode() for name, data in answers.items()})
    return prescript.expand_located(text, "F28", lambda: contextlib.nullcontext(sandbox), "test.ks")


def checked(text: str, refs: tuple[str, ...] = ("a/b",), *, signed: bool = False, **answers: str) -> Plan:
    whole = expanded(text, **answers)
    return read(whole.text, origin=whole.origin, refs=refs, signed=signed)


def test_an_ostreesetup_that_a_pre_section_writes_counts() -> None:
    assert checked(NO_SOURCE + WRITES, source=SOURCE).ref == "a/b"
    assert (
        checked(
            NO_SOURCE.replace("/tmp/source", "'/tmp/source' # why") + WRITES,
            source="%include /tmp/more\n",
            more=SOURCE,
        ).ref
        == "a/b"
    )


@pytest.mark.parametrize(
    ("written", "where", "complaint"),
    [
        (SOURCE + SOURCE, "/tmp/source:2", "there must be one ostreesetup line, not 2"),
        (SOURCE.replace("a/b", "a/c"), "/tmp/source:1", "the repo has no ref a/c"),
        ("# nothing\n", "test.ks", "there must be one ostreesetup line, not 0"),
        ("\n\nvnc\n" + SOURCE, "/tmp/source:3", "`vnc` is not executed"),
        (SOURCE.replace("--ref=a/b", "--ref=$REF"), "/tmp/source:1", "`$REF` was not filled in"),
        (
            "%include https://ks.example.org/x.ks\n" + SOURCE,
            "/tmp/source:1",
            "https://ks.example.org/x.ks: nothing is fetched",
        ),
        (
            "%pre\ntrue\n%end\n" + SOURCE,
            "test.ks:13",
            "a %pre section in a file that is included is never run",
        ),
    ],
)
def test_what_a_pre_section_writes_is_held_to_the_same(written: str, where: str, complaint: str) -> None:
    with pytest.raises(BadKickstartError) as caught:
        checked(NO_SOURCE + WRITES, source=written)
    assert any(
        message.startswith(f"{where}: ") and complaint in message
        for message in caught.value.message.split("\n")
    ), caught.value.message


def test_a_signed_commit_is_installed_as_such_also_when_a_pre_section_says_how() -> None:
    with pytest.raises(BadKickstartError, match=r"/tmp/source:1: ostreesetup: --nogpg although"):
        checked(NO_SOURCE + WRITES, source=SOURCE, signed=True)


def test_lines_behind_an_include_keep_their_own_numbers() -> None:
    with pytest.raises(BadKickstartError, match=rf"^test\.ks:{NO_SOURCE.count(chr(10)) + 4}: `vnc`"):
        checked(NO_SOURCE + WRITES + "vnc\n", source="#\n" * 50 + SOURCE)


def test_every_include_that_nobody_wrote_is_said() -> None:
    with pytest.raises(BadKickstartError) as caught:
        expanded(
            NO_SOURCE + "%include /tmp/other\n" + WRITES + "%post\n%include /tmp/third\n%end\n", source=SOURCE
        )
    count = NO_SOURCE.count("\n")
    assert caught.value.message.split("\n") == [
        f"test.ks:{count + 1}: %include /tmp/other: no %pre section wrote that file",
        f"test.ks:{count + 6}: %include /tmp/third: no %pre section wrote that file",
    ]


def test_a_script_has_what_a_pre_section_wrote_for_it() -> None:
    made = checked(WHOLE + WRITES + "%post\n%include /tmp/script\n%end\n", script="echo made\n")
    assert made.scripts[0].text.startswith("echo made\n")


def test_nothing_is_run_when_the_kickstart_is_wrong() -> None:
    def never() -> contextlib.AbstractContextManager[FakeSandbox]:
        raise AssertionError("a %pre section would be run")

    for line in ("frob\n", "%ksappend http://x/\n", "network --hostname=$h\n"):
        with pytest.raises(BadKickstartError, match=r"test\.ks:1: "):
            prescript.expand_located(line + WHOLE + WRITES, "F28", never, "test.ks")
    with pytest.raises(BadKickstartError, match=r"test\.ks:2: %include /etc/passwd"):
        prescript.expand_located("%pre\n%include /etc/passwd\n%end\n" + WHOLE, "F28", never, "test.ks")


def test_the_build_hosts_files_are_never_read(tmp_path: Path) -> None:
    """pykickstart follows an %include of sections too, into the files of the machine that it runs on."""
    (tmp_path / "secret").write_text("echo secret\n")
    text = f"%post\n%include {tmp_path / 'secret'}\n%end\n%include {tmp_path / 'secret'}\n"
    handler = language.parse(WHOLE + text, "F28", "test.ks", complete=False)
    assert not any("secret" in script.script for script in handler.scripts)
    assert any(str(tmp_path) in each for each in refused(WHOLE + text))


def test_an_include_without_a_pre_section_is_looked_for_too(tmp_path: Path) -> None:
    """An installer's kickstart may include the medium's own files: they are in the live system's sandbox."""
    sandbox = FakeSandbox(answers={"/run/install/repo/base.ks": SOURCE.encode()})
    found = prescript.expand_located(
        WHOLE.replace(SOURCE, "%include /run/install/repo/base.ks\n"),
        "F28",
        lambda: contextlib.nullcontext(sandbox),
        "ks.cfg",
    )
    assert read(found.text).ref == "a/b"


# --- the command's name in a script -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        "%post\ncat > /root/README <<EOF\nostreesetup --osname=x was used\n\nEOF\n%end\n",
        "%pre\nostreesetup() { true; }\n%end\n",
        "%post\n  ostreesetup\n%end\n",
        "# ostreesetup --osname=x\n",
        "  # ostreesetup\n",
    ],
)
def test_a_script_may_have_a_line_that_begins_with_a_command(script: str) -> None:
    handler = language.parse(prescript.without_includes(WHOLE + script), "F28", "test.ks")
    language.checks(handler, WHOLE + script, ["a/b"], signed=False, name="test.ks")
    assert read(WHOLE + script, refs=("a/b",)).ref == "a/b"


def test_ostreesetup_may_be_indented_and_quoted() -> None:
    assert read(WHOLE.replace("ostreesetup", "  'ostreesetup'"), refs=("a/b",)).ref == "a/b"
    assert refused(WHOLE + SOURCE, refs=("a/b",))[0].startswith(
        f"test.ks:{LAST + 1}: there must be one ostreesetup line, not 2"
    )


# --- placeholders of ours -----------------------------------------------------------------------------------

KNOWN = {"osname": "os", "remote": "up", "ref": "a/b", "url": "https://x/", "basearch": "x86_64", "nogpg": ""}


def template() -> KickstartConfig:
    return KickstartConfig(template="x.ks", syntax="F28")


@pytest.fixture
def rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A template, filled in."""
    monkeypatch.setattr(kickstart, "shared_directory", lambda _: tmp_path)

    def render(text: str) -> str:
        (tmp_path / "x.ks").write_text(text)
        return kickstart.render(template(), dict(KNOWN))

    return render


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ostreesetup --ref=${ref} --url=${url}\n", "ostreesetup --ref=a/b --url=https://x/\n"),
        (
            "ostreesetup --ref=fedora/26/${basearch}/atomic-host\n",
            "ostreesetup --ref=fedora/26/x86_64/atomic-host\n",
        ),
        ("# ${nothing} of ${ref}\n", "# ${nothing} of a/b\n"),
        ('%post\nname=$(uname -n); echo "${name}" > /root/x\n%end\n', None),
        ("%post\necho ${name} ${name:-x} ${name%%.*} $name ${NAME} ${name_2} ${#name}\n%end\n", None),
        ("%post\necho ${remote} '${ref}'\n%end\n", "%post\necho up 'a/b'\n%end\n"),
        ("%pre\nurl=$(cat /proc/cmdline); echo ${url}\n%end\n", None),
        (
            "%post\necho ${url}\nurl=x\necho ${url}\n%end\n",
            "%post\necho https://x/\nurl=x\necho ${url}\n%end\n",
        ),
        ("%post\nurl=${url}\necho ${url}\n%end\n", "%post\nurl=https://x/\necho https://x/\n%end\n"),
        (
            '%post\nexport url="${url}"\necho ${url}\n%end\n',
            '%post\nexport url="https://x/"\necho https://x/\n%end\n',
        ),
        ("%post\nfor ref in a b; do echo ${ref}; done\n%end\n", None),
        ("%post\nlocal remote; read -r remote < x; echo ${remote}\n%end\n", None),
        ("%post\nwhile read -r a url; do echo ${url}; done\n%end\n", None),
        ("%post\nselect ref in a b; do echo ${ref}; done\n%end\n", None),
        (
            (
                "%post\nprintf -v ref %s x; mapfile -t url < x; : ${remote:=y}; getopts x osname\necho ${ref}"
                " ${url} ${remote} ${osname}\n%end\n"
            ),
            None,
        ),
        (
            "%post\n# read the ref, set url=x\nread -r x < /etc/${ref}/url\necho ${ref}\n%end\n",
            "%post\n# read the ref, set url=x\nread -r x < /etc/a/b/url\necho a/b\n%end\n",
        ),
        (
            "%post\nostree remote add --set=url=${url} ${remote}\n%end\n",
            "%post\nostree remote add --set=url=https://x/ up\n%end\n",
        ),
        (
            "%post\nurl=x\n%end\n%post\necho ${url}\n%end\n",
            "%post\nurl=x\n%end\n%post\necho https://x/\n%end\n",
        ),
        ("%post\necho $${ref} ${ref}\n%end\n", "%post\necho ${ref} a/b\n%end\n"),
        ("%post\necho $${other}\n%end\n", None),
        (
            "%pre\necho 'ostreesetup --osname=${osname} ${nogpg}' > /tmp/source\n%end\n",
            "%pre\necho 'ostreesetup --osname=os ' > /tmp/source\n%end\n",
        ),
        ("%post --interpreter=/usr/bin/python3\nprint(f'${x}')\n%end\n", None),
    ],
)
def test_only_our_own_placeholders_are_replaced(
    rendered: Callable[[str], str], text: str, expected: str | None
) -> None:
    assert rendered(text) == (text if expected is None else expected)


def test_a_placeholder_that_nobody_has_is_refused_in_commands_all_of_them(
    rendered: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "part.ks").write_text("text\nlang ${lang}\n")
    with pytest.raises(BadKickstartError) as caught:
        rendered("keyboard ${keys}\n%include 'part.ks'\n%post --log=${log}\necho ${fine}\n%end\nfrob\n")
    lines = [
        message.split(" is not a ")[0].split(" in --syntax")[0]
        for message in caught.value.message.split("\n")
    ]
    assert sorted(lines) == [
        "part.ks:2: ${lang}",
        "x.ks:1: ${keys}",
        "x.ks:3: ${log}",
        "x.ks:6: Unknown command `frob`",
    ]
    assert caught.value.hint.startswith("these are: basearch, nogpg, osname")


def test_an_error_names_the_templates_own_file_and_line(
    rendered: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "part.ks").write_text("lang en_US.UTF-8\nfrob\n")
    rendered("text\n%include part.ks\nautopart --nosuch\n")
    filled = kickstart.fill_in(template(), KNOWN)
    source = TreeConfig(
        url="https://x/",
        osname="os",
        remote="up",
        update_url="https://x/",
        update_gpg_key="/k",
        allow_unsigned=True,
    )
    with pytest.raises(BadKickstartError) as caught:
        kickstart.check(filled, template(), "a/b", source)
    assert [message.split(": ")[0] for message in caught.value.message.split("\n")] == [
        "part.ks:2",
        "x.ks:3",
        "x.ks",
    ]
    assert PurePosixPath(filled.origin[1][0]).name == "part.ks"


# --- from the template to the plan --------------------------------------------------------------------------

TREE = dataclasses.replace(RELEASED, ref="a/b", update_ref="")
PRE = (
    HEAD
    + DISK
    + ROOT_VOLUME
    + "%include /tmp/source\n%pre\necho 'ostreesetup --osname=${osname} --ref=${ref}' > /tmp/source\n%end\n"
)


def made(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **answers: str) -> Plan:
    """The plan of a template, as the pipeline makes it; `answers` are what its %pre sections leave in
    /tmp.
    """
    sandbox = FakeSandbox(answers={f"/tmp/{name}": data.encode() for name, data in answers.items()})
    monkeypatch.setattr(kickstart, "shared_directory", lambda _: tmp_path)
    monkeypatch.setitem(
        ways.WAYS,
        "offline",
        dataclasses.replace(ways.WAYS["offline"], open=lambda *_: contextlib.nullcontext(sandbox)),
    )
    (tmp_path / "x.ks").write_text(text)
    (tmp_path / "out").mkdir()
    source = TreeConfig(
        url="https://x/",
        osname="os",
        remote="up",
        update_url="https://x/",
        update_gpg_key="/k",
        gpg_keys=("/k",),
    )
    written = kickstart.write_kickstart(tmp_path / "out", TREE, template(), source, "")
    spec = ways.DiskSpec(size=40 * 1024, firmware=(Firmware.BIOS,), populate=("offline",))
    return ways.plan_of(TREE, Toolbox(image=tmp_path / "none", size=0), written, spec)


def test_a_template_whose_pre_section_says_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made(PRE, tmp_path, monkeypatch, source=SOURCE.replace(" --nogpg", "")).ref == "a/b"


@pytest.mark.parametrize(
    ("text", "source", "message"),
    [
        (PRE, SOURCE, "/tmp/source:1: ostreesetup: --nogpg although"),
        (PRE, SOURCE.replace("a/b", "a/c"), "/tmp/source:1: ostreesetup: the repo has no ref a/c"),
        (PRE + "vnc\n", SOURCE.replace(" --nogpg", ""), "x.ks:17: `vnc` is not executed"),
        (
            PRE.replace("/tmp/source\n%pre", "/tmp/other\n%pre"),
            SOURCE,
            "x.ks:13: %include /tmp/other: no %pre section wrote that file",
        ),
        (PRE + "%ksappend /x\n", SOURCE, "x.ks:17: %ksappend /x"),
        (HEAD + DISK + ROOT_VOLUME, "", "x.ks: there must be one ostreesetup line, not 0"),
        (
            HEAD + DISK + ROOT_VOLUME + "%include /tmp/source\n",
            SOURCE,
            "x.ks:13: %include /tmp/source: there is no such file",
        ),
    ],
)
def test_an_error_names_the_template_or_the_file_that_was_written(
    text: str, source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadKickstartError) as caught:
        made(text, tmp_path, monkeypatch, source=source)
    assert message in caught.value.message, caught.value.message


def test_a_shells_variable_comes_to_the_script_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        'name=$(uname -n); echo "${name}" > /root/x\ncat > /root/README <<EOF\nostreesetup of'
        " ${osname}\n\nEOF\n"
    )
    planned = made(
        WHOLE.replace(SOURCE, "ostreesetup --osname=${osname} --url=${url} --ref=${ref} ${nogpg}\n")
        + f"%post\n{script}%end\n",
        tmp_path,
        monkeypatch,
    )
    assert planned.scripts[0].text == script.replace("${osname}", "os")
