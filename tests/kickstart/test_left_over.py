"""Disks by name, and what a template left to be filled in."""

from pathlib import Path

import pytest

from imagebuild import steplog
from tests.kickstart.language_samples import LAST, SOURCE, WHOLE, read, refused


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
