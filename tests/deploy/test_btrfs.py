"""btrfs with subvolumes: planned, refused where it cannot be, and made by the real programs."""

import os
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.deploy import btrfs, configure, filesystems, native, offline
from imagebuild.deploy.execute import kernel_arguments, reason_not_to_change
from imagebuild.deploy.target import Argv
from imagebuild.errors import BuildError
from imagebuild.kickstart.layout import Subvolume
from imagebuild.kickstart.plan import Plan
from imagebuild.tools import loop
from tests.fake_sandbox import FakeSandbox
from tests.kickstart import samples
from tests.kickstart.samples import GIB, MIB

VOLUME = "part btrfs.01 --grow\nbtrfs none --label=host btrfs.01\n"
SUBVOLUMES = "btrfs / --subvol --name=root LABEL=host\nbtrfs /var --subvol --name=deep/var btrfs.01\n"
HEAD = 'text\nbootloader --timeout=1 --append="quiet"\nclearpart --all\npart /boot --size=300 --fstype=ext4\n'
SOURCE = "ostreesetup --osname=os --remote=os --url=https://example.org/ --ref=a/b\n"


def read(storage: str = VOLUME + SUBVOLUMES, syntax: str = "F40") -> Plan:
    return samples.read(HEAD + storage + SOURCE, syntax=syntax)


def test_subvolumes_are_in_the_plan() -> None:
    plan = read()
    assert plan.subvolumes == (
        Subvolume(name="root", device="btrfs.01", mount="/"),
        Subvolume(name="deep/var", device="btrfs.01", mount="/var"),
    )
    assert plan.file_systems() == [
        ("/", "btrfs.01", "btrfs"), ("/boot", "boot", "ext4"), ("/var", "btrfs.01", "btrfs"),
    ]  # fmt: skip
    assert plan.made() == {"btrfs.01": "btrfs", "boot": "ext4"}
    assert (plan.label("btrfs.01"), plan.root()) == ("host", ("btrfs.01", "btrfs"))
    assert kernel_arguments(plan) == [
        f"root=UUID={plan.uuid('btrfs.01')}", "rw", "rootflags=subvol=root", "quiet",
    ]  # fmt: skip
    lines = configure._fstab(plan).splitlines()
    assert lines[1] == (
        f"UUID={plan.uuid('btrfs.01')} / btrfs defaults,subvol=root,x-systemd.device-timeout=0 0 0"
    )
    assert "defaults,subvol=deep/var," in lines[3]


@pytest.mark.parametrize(
    ("storage", "mounts"),
    [
        ("part / --fstype=btrfs --grow\n", [("/", "root", "btrfs")]),
        ("part btrfs.01 --grow\nbtrfs / --label=x btrfs.01\n", [("/", "btrfs.01", "btrfs")]),
        ("part btrfs.01 --grow\nbtrfs none --data=single btrfs.01\nbtrfs / --subvol --name=r btrfs.01\n",
         [("/", "btrfs.01", "btrfs")]),
    ],
)  # fmt: skip
def test_other_ways_to_say_it(storage: str, mounts: list[tuple[str, str, str]]) -> None:
    assert [each for each in read(storage).file_systems() if each[0] != "/boot"] == mounts


def test_autopart_makes_a_root_subvolume() -> None:
    plan = samples.read(
        "text\nclearpart --all\nautopart --type=btrfs\n" + SOURCE, syntax="F40", size=20 * GIB
    )
    assert plan.subvolumes == (Subvolume(name="root", device="btrfs.01", mount="/"),)
    assert plan.swaps() == ["swap"]
    whole = next(each for each in plan.partitions if each.name == "btrfs.01")
    assert whole.size > 15 * GIB, "all that is left"


@pytest.mark.parametrize(
    ("storage", "complaint"),
    [
        ("part btrfs.01 --grow\n", ":5: part btrfs.01: no `btrfs` makes a volume of it"),
        ("btrfs none --label=x btrfs.02\n", ":5: btrfs: there is no `part btrfs.02`"),
        (VOLUME + "btrfs none btrfs.01\n", ":7: btrfs: btrfs.01 is a volume already"),
        ("part btrfs.1 --grow\npart btrfs.2 --size=9\nbtrfs none btrfs.1 btrfs.2\n", "on one partition"),
        (VOLUME + "btrfs / --subvol --name=root LABEL=other\n", ":7: btrfs --subvol --name=root: there is"),
        (VOLUME + "btrfs / --subvol --name=../x LABEL=host\n", ":7: btrfs --subvol: '../x' is not"),
        (VOLUME + "btrfs / --subvol --name=a LABEL=host\nbtrfs / --subvol --name=b LABEL=host\n", ":8: "),
        (VOLUME + "btrfs /usr --subvol --name=a LABEL=host\n", ":7: /usr: an OSTree host cannot have"),
        (VOLUME + SUBVOLUMES + "btrfs none --metadata=raid1 btrfs.01\n", ":9: btrfs: its option `meta"),
        (VOLUME.replace("grow", "grow --label=x") + SUBVOLUMES, ":5: part btrfs.01: --label is only"),
        (VOLUME.replace("grow", "grow --fstype=xfs") + SUBVOLUMES, ":5: part btrfs.01 --fstype=xfs is"),
        (VOLUME.replace("host", "h" * 256), ":6: none: --label="),
        (VOLUME, "nothing is mounted at /"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_line(storage: str, complaint: str) -> None:
    with pytest.raises(BuildError) as caught:
        read(storage)
    assert complaint in caught.value.message


def test_boot_is_on_what_the_boot_loader_reads() -> None:
    text = (HEAD + VOLUME + SUBVOLUMES + SOURCE).replace("--fstype=ext4", "--fstype=btrfs")
    with pytest.raises(BuildError, match="/boot is on btrfs, which the boot loader"):
        samples.read(text, syntax="F40")


@pytest.mark.parametrize(
    ("syntax", "complaint"),
    [("RHEL8", "`btrfs` is taken in --syntax RHEL8, and ignored"), ("RHEL10", "`btrfs` was taken out")],
)  # fmt: skip
def test_red_hat_has_none(syntax: str, complaint: str) -> None:
    with pytest.raises(BuildError) as caught:
        read(syntax=syntax)
    assert f"test.ks:6: {complaint}" in caught.value.message


def test_ways_that_cannot_say_why() -> None:
    assert offline.refuses(read()) == "btrfs cannot be made from a directory"
    assert "by its UUID" in (native.refuses(read()) or "")


def test_a_disk_with_other_subvolumes_is_installed_again() -> None:
    other = replace(read(), subvolumes=read().subvolumes[:1])
    assert reason_not_to_change(read(), other) == "its storage differs"
    assert reason_not_to_change(read(), read()) is None


def test_a_tree_without_its_programs_is_told_before_anything_is_made() -> None:
    with pytest.raises(BuildError, match=r"the tree has no mkfs\.btrfs") as caught:
        btrfs.check_programs(read(), FakeSandbox())
    assert "btrfs-progs" in caught.value.hint
    btrfs.check_programs(samples.read(samples.SMALL), FakeSandbox())


class Here(FakeSandbox):
    """Programs of this machine, on loop devices; what lies at /sysroot and /run/btrfs lies in a directory."""

    def __init__(self, place: Path, devices: Mapping[str, str]) -> None:
        super().__init__()
        self.place, self.devices = place, devices

    def device(self, name: str) -> str:
        return self.devices[name]

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        del env
        output = ""
        for argv in commands:
            words = [str(word) for word in argv]
            for inside in ("/sysroot", "/run/btrfs"):
                words = [
                    f"{self.place}{word}" if word == inside or word.startswith(f"{inside}/") else word
                    for word in words
                ]
            output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        return output


@pytest.mark.skipif(
    os.geteuid() != 0 or "btrfs" not in Path("/proc/filesystems").read_text(),
    reason="mounting needs root and a kernel with btrfs",
)
def test_the_real_programs_make_and_mount_them(tmp_path: Path) -> None:
    # the kernel holds one of a UUID only: another run of this test may have it just now
    plan, image, boot = replace(read(), seed=secrets.token_hex(8)), tmp_path / "image", tmp_path / "boot"
    for file, size in ((image, 400 * MIB), (boot, 64 * MIB)):
        with file.open("wb") as stream:
            stream.truncate(size)
    top = tmp_path / "sysroot"
    top.mkdir()
    with loop.attached(image) as device, loop.attached(boot) as other:
        here = Here(tmp_path, {"btrfs.01": str(device), "boot": str(other)})
        filesystems.make(plan, here)
        try:
            filesystems.mount(plan, here)
            (top / "var/kept").write_text("x")
            found = here.run(["findmnt", "-R", "-n", "-r", "-o", "FSTYPE,FSROOT,LABEL", str(top)])
            assert sorted(found.splitlines()) == ["btrfs /deep/var host", "btrfs /root host", "ext4 / "]
            filesystems.unmount(plan, here, trim=True)
            filesystems.mount(plan, here, read_only=True)
            assert (top / "var/kept").read_text() == "x"
        finally:
            subprocess.run(["umount", "-R", top], check=False)
