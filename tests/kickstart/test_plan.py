"""What a kickstart becomes: sizes, tables, and refusals with the line."""

from pathlib import Path

import pytest

from imagebuild.config.images import KickstartConfig
from imagebuild.deploy import partition_table as table
from imagebuild.kickstart import plan
from imagebuild.kickstart import source as language
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kinds import Firmware
from imagebuild.stages import kickstart
from tests.golden import check_golden
from tests.kickstart.samples import BIOS, BOTH, GIB, MIB, SMALL, read, rendered


@pytest.mark.parametrize("variant", ["cloud", "vagrant"])
@pytest.mark.parametrize(
    "name", ["debian-12", "debian-13", "debian-14", *[f"fedora-{release}" for release in range(25, 30)]]
)
def test_the_rendered_kickstart_is_as_it_was(name: str, variant: str, request: pytest.FixtureRequest) -> None:
    check_golden(request, f"{name}-{variant}.ks", rendered(name, variant)[0])


@pytest.mark.parametrize(("name", "firmware"), [("debian-12", BOTH), ("fedora-26", BIOS)])
def test_the_partition_table_is_as_it_was(
    name: str, firmware: frozenset[Firmware], request: pytest.FixtureRequest
) -> None:
    text, syntax = rendered(name)
    check_golden(request, f"{name}-cloud.sfdisk", table.script(read(text, firmware=firmware, syntax=syntax)))


def test_fedora_26_has_the_layout_that_was_published() -> None:
    # a published Fedora 25 disk: MBR, /boot at sector 2048, the physical volume at sector 616448; root 2.93
    # GiB
    text, syntax = rendered("fedora-26")
    made = read(text, syntax=syntax)
    assert made.table == "mbr"
    assert [each.start // 512 for each in made.partitions] == [2048, 616448]
    assert made.volumes[0].size == 3000 * MIB
    assert made.append == ("no_timer_check", "console=tty1", "console=ttyS0,115200n8", "net.ifnames=0")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("cmdline", "use `text`"),
        ("graphical", "use `text`"),
        ("vnc", "`vnc` is not executed"),
        ("raid / --device=0 --level=1 a b", ":1: "),
        ("part /data --size=10 --fstype=jfs", "--fstype=jfs is not executed"),
        (
            "part /data --size=10 --fstype=ext4 --encrypted --passphrase=x",
            "one master key for everyone",
        ),
        (
            "logvol /x --size=10 --fstype=xfs --name=x --vgname=vg --cachesize=1 --cachepvs=pv.01",
            "option `cache_size` is not executed",
        ),
        ("frobnicate", "Unknown command"),
        ("%include nothing.ks", "nothing.ks"),
    ],
)
def test_what_is_not_executed_is_refused_with_its_line(line: str, complaint: str) -> None:
    text = SMALL.replace("text\n", "") if line in ("cmdline", "graphical") else SMALL
    with pytest.raises(BadKickstartError) as caught:
        read(f"{line}\n{text}")
    assert complaint in caught.value.message, caught.value.message
    assert caught.value.message.startswith("test.ks:")


def test_sizes_that_do_not_fit_are_refused_with_the_sums() -> None:
    with pytest.raises(
        BadKickstartError,
        match=r"volume group vg is too small: root 3000 = 3000 MiB, but of \d+ MiB \d+ MiB can be used",
    ):
        read(SMALL, size=2 * GIB)
    with pytest.raises(BadKickstartError, match=r"the disk is too small: /boot 300 \+ pv\.01 1 = 301 MiB"):
        read(SMALL, size=200 * MIB)


@pytest.mark.parametrize(
    ("old", "new", "firmware", "complaint"),
    [
        ("", "", BOTH, "there is no ESP"),
        ("clearpart --all\n", "clearpart --all --disklabel=gpt\n", BIOS, "no BIOS boot partition"),
        ("part /boot --size=300 --fstype=ext4\n", "", BIOS, "no separate /boot"),
        ("logvol / ", "logvol /x ", BIOS, "nothing is mounted at /"),
        ("ostreesetup", "#", BIOS, "nothing to install"),
    ],
)
def test_a_disk_that_could_not_boot_is_refused(
    old: str, new: str, firmware: frozenset[Firmware], complaint: str
) -> None:
    with pytest.raises(BadKickstartError, match=complaint):
        read(SMALL.replace(old, new) if old else SMALL, firmware=firmware)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("ostreesetup --osname=os --url=https://x/ --ref=", "is not a ref"),
        ("ostreesetup --osname=os --url=https://x/ --ref=../a", "is not a ref"),
        ("ostreesetup --osname=os --url=https://x/ --ref=a/.b", "is not a ref"),
        ("ostreesetup --osname=os --url=https://x/ --ref=a//b", "is not a ref"),
        ("ostreesetup --osname=os --remote=../x --url=https://x/ --ref=a/b", "is not the name of a remote"),
        ("ostreesetup --osname=os --remote='a b' --url=https://x/ --ref=a/b", "is not the name of a remote"),
        ("ostreesetup --osname='a b' --url=https://x/ --ref=a/b", "not the name of a stateroot"),
        ("ostreesetup --osname=.. --url=https://x/ --ref=a/b", "not the name of a stateroot"),
        ("ostreesetup --osname= --url=https://x/ --ref=a/b", "not the name of a stateroot"),
        ("ostreesetup --osname=os --url=https://x/ --ref=a/c", "the repo has no ref a/c"),
        ("ostreesetup --nogpg --osname=os --url=https://x/ --ref=a/b", "--nogpg although"),
        (
            (
                "ostreesetup --osname=os --url=https://x/ --ref=a/b\nostreesetup --osname=os --url=https://x/"
                " --ref=a/b"
            ),
            "one ostreesetup line, not 2",
        ),
    ],
)
def test_what_pykickstart_lets_through_is_checked(line: str, complaint: str) -> None:
    reading = language.parse(line + "\n", "F28", "test.ks")
    with pytest.raises(BadKickstartError, match=complaint):
        language.checks(reading, line, ["a/b"], signed=True, name="test.ks")


def test_growing_volumes_and_percentages() -> None:
    grown = read(SMALL.replace("--size=3000", "--size=3000 --grow"))
    assert grown.volumes[0].size > 5 * GIB
    half = read(SMALL.replace("--size=3000", "--percent=50"))
    assert abs(half.volumes[0].size * 2 - grown.volumes[0].size) <= 8 * MIB


def test_uuids_follow_from_the_commit() -> None:
    one, other = (plan.read(SMALL, "F28", disk_size=6 * GIB, firmware=BIOS, seed=seed) for seed in ("a", "b"))
    assert one.uuid("root") != other.uuid("root")
    assert one.uuid("root") == plan.read(SMALL, "F28", disk_size=6 * GIB, firmware=BIOS, seed="a").uuid(
        "root"
    )


def test_a_placeholder_that_does_not_exist_names_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.ks").write_text("text\nlang ${nothing}\n")
    monkeypatch.setattr(kickstart, "shared_directory", lambda _: tmp_path)
    with pytest.raises(BadKickstartError, match=r"x\.ks:2: \$\{nothing\}"):
        kickstart.render(KickstartConfig(template="x.ks", syntax="F28"), {"osname": "x"})
    (tmp_path / "x.ks").write_text("%include x.ks\n")
    with pytest.raises(BadKickstartError, match="includes itself"):
        kickstart.render(KickstartConfig(template="x.ks", syntax="F28"), {})
