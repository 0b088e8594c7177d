"""Boot arguments: each means what Anaconda's documentation says, and what is not understood stops."""

import pytest

from imagebuild.live.arguments import Arguments, BadArgumentError, KickstartSource, parse, words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "hd:LABEL=Fedora-Atomic-26:/ks.cfg",
            KickstartSource(kind="hd", device="LABEL=Fedora-Atomic-26", path="/ks.cfg"),
        ),
        ("hd:LABEL=My\\x20Disk:/a/b.ks", KickstartSource(kind="hd", device="LABEL=My Disk", path="/a/b.ks")),
        ("hd:LABEL=DISK", KickstartSource(kind="hd", device="LABEL=DISK", path="/ks.cfg")),
        ("hd:UUID=2021-11-24:/ks.cfg", KickstartSource(kind="hd", device="UUID=2021-11-24", path="/ks.cfg")),
        ("hd:sdb1:/ks.cfg", KickstartSource(kind="hd", device="/dev/sdb1", path="/ks.cfg")),
        (
            "hd:/dev/disk/by-id/usb-1:ks.cfg",
            KickstartSource(kind="hd", device="/dev/disk/by-id/usb-1", path="/ks.cfg"),
        ),
        ("http://10.0.2.2:8000/ks.cfg", KickstartSource(kind="http", path="http://10.0.2.2:8000/ks.cfg")),
        (
            "https://example.org/ks?mac=1:2",
            KickstartSource(kind="http", path="https://example.org/ks?mac=1:2"),
        ),
        ("cdrom", KickstartSource(kind="cdrom", path="/ks.cfg")),
        ("cdrom:/dir/ks.cfg", KickstartSource(kind="cdrom", path="/dir/ks.cfg")),
        ("cdrom:/dev/sr1:/ks.cfg", KickstartSource(kind="cdrom", device="/dev/sr1", path="/ks.cfg")),
        ("file:/run/install/repo/ks.cfg", KickstartSource(kind="file", path="/run/install/repo/ks.cfg")),
        ("file:///ks.cfg", KickstartSource(kind="file", path="/ks.cfg")),
    ],
)
def test_a_kickstart_may_lie_in_many_places(value: str, expected: KickstartSource) -> None:
    assert parse(f"quiet inst.ks={value} ro").kickstart == expected
    assert parse(f"ks={value}").kickstart == expected


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "nfs:server:/ks.cfg",
            "ftp://server/ks",
            "hd:",
            "hd:;reboot:/ks",
            "hd:LABEL=A:/../etc/shadow",
            "file:",
            "floppy",
            "HTTP://x/y",
        ),
        *("hd:LABEL=$(reboot)/x:/ks", "hd:-o:/ks.cfg"),
    ],
)
def test_a_place_that_is_not_understood_stops_the_installation(value: str) -> None:
    with pytest.raises(BadArgumentError, match="not a place of a kickstart"):
        parse(f"inst.ks={value}")


def test_flags_are_flags() -> None:
    assert parse("inst.text inst.sshd inst.rescue") == Arguments(text=True, sshd=True, rescue=True)
    assert parse("inst.sshd=1 inst.rescue=0 inst.text=no") == Arguments(sshd=True)
    assert parse("BOOT_IMAGE=/vmlinuz inst.stage2=hd:LABEL=X quiet") == Arguments()
    assert parse("inst.sshd inst.sshd=off") == Arguments()


def test_of_two_the_last_counts() -> None:
    found = parse("inst.ks=http://one/ks inst.ks=http://two/ks").kickstart
    assert found is not None
    assert found.path == "http://two/ks"


def test_addresses_are_kept() -> None:
    assert parse("ip=eth0:dhcp ip=10.0.0.2::10.0.0.1:255.255.255.0:host:eth1:none").address == (
        "ip=eth0:dhcp",
        "ip=10.0.0.2::10.0.0.1:255.255.255.0:host:eth1:none",
    )


def test_quotes_keep_words_together() -> None:
    assert words('a "b c" d="e f" g') == ["a", "b c", "d=e f", "g"]
