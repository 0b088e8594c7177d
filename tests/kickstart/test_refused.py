"""Nothing is silently not executed: what is refused is refused with its line."""

import platform

import pytest

from imagebuild.config import syntaxes
from imagebuild.kickstart import source as language
from tests.kickstart.language_samples import DISK, HEAD, LAST, ROOT_VOLUME, SOURCE, WHOLE, read, refused

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
        pytest.param("%pre-install\ntrue\n%end\n", 1, "executes %pre, %post and %onerror", id="pre-install"),
        pytest.param("%traceback\ntrue\n%end\n", 1, "executes %pre, %post and %onerror", id="traceback"),
        pytest.param("%frob\ntrue\n%end\n", 1, "Unknown kickstart section: %frob", id="unknown section"),
        pytest.param("%post\ntrue\n", 1, "%post does not end with %end", id="open section"),
        pytest.param("%post --frob\ntrue\n%end\n", 1, "--frob", id="unknown option of a section"),
        pytest.param("firstboot --enable\n", 1, "`firstboot` is not executed", id="firstboot"),
        pytest.param("logging --host=10.0.0.1\n", 1, "`logging` is not executed", id="logging elsewhere"),
        pytest.param("repo --name=x --baseurl=http://x/\n", 1, "`repo` is not executed", id="repo"),
        pytest.param("url --url=http://x/\n", 1, "`url` is not executed", id="url"),
        pytest.param("mount /dev/sda1 /data\n", 1, "`mount` is not executed", id="mount"),
        pytest.param("raid / --device=0 --level=1 raid.1 raid.2\n", 1, "`raid` is not executed", id="raid"),
        pytest.param("btrfs none --label=x pv.01\n", 1, "there is no `part pv.01`", id="btrfs"),
        pytest.param(
            "keyboard --xlayouts=de\n", 1, "option `x_layouts` is not executed", id="keyboard of X only"
        ),
        pytest.param(
            "timezone --ntpservers=x/y Etc/UTC\n", 1, "x/y is not a name of a server", id="time servers"
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
