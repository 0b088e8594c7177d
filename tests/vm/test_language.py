"""The whole kickstart language, executed on the demo tree: what is on the disk afterwards is what the
kickstart says.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from imagebuild.config.places import cache_directory
from imagebuild.deploy import lvm
from imagebuild.deploy.prescript import without_includes
from imagebuild.kickstart import password, plan
from imagebuild.kinds import Firmware
from imagebuild.model import Disk, Tree
from imagebuild.smoke.criteria.test_boots import test_boots_the_released_commit as boots_the_released_commit
from tests.vm.mounting import mounted
from tests.vm.wiring import Lab

# root has the native way as well, which the disk of each other test goes
WAYS = ["offline", pytest.param("native", marks=pytest.mark.slow)]
STORAGE = """clearpart --all --disklabel=gpt
part biosboot --size=1 --fstype=biosboot
part /boot/efi --size=64 --fstype=efi
part /boot --size=300 --fstype=ext4 --label=boot
part pv.01 --grow
volgroup atomicos pv.01
logvol / --size=3000 --fstype=xfs --name=root --vgname=atomicos
"""
EVERYTHING = """reqpart --add-boot
%include /tmp/storage.ks
%pre --erroronfail --log=/tmp/pre.log
set -e
test -x /usr/bin/ostree
cat > /tmp/storage.ks <<'END'
part pv.01 --grow --asprimary --ondisk=vda
volgroup atomicos pv.01
logvol / --size=2600 --maxsize=2800 --grow --fstype=ext4 --name=root --vgname=atomicos --label=root-fs
logvol swap --percent=5 --name=swap --vgname=atomicos
END
%end
rootpw --plaintext secret
group --name=builders --gid=1234
user --name=ann --password=pw --groups=sudo,builders --uid=1500 --homedir=/home/annie --shell=/bin/sh --gecos="Ann B"
user --name=bob --lock
sshkey --username=ann "ssh-ed25519 AAAA ann@example.org"
network --hostname=host.example.org --bootproto=dhcp --activate
timezone --utc Europe/Berlin
keyboard de
lang de_DE.UTF-8
%post --nochroot --erroronfail --log=/mnt/sysroot/var/log/nochroot.log
set -e
test -d /mnt/sysimage/ostree/repo
echo from outside > /mnt/sysroot/etc/outside
echo said
%end
%post --erroronfail
set -e
# the kernel is the build host's: what steers all of it must be out of reach, for root too
for each in kernel/core_pattern kernel/modprobe vm/swappiness; do
    if cat /proc/sys/$each > /proc/sys/$each; then exit 9; fi
done 2>/dev/null
if echo h > /proc/sysrq-trigger; then exit 8; fi 2>/dev/null
# what reads standard input does not read the rest of this
cat > /dev/null
echo done > /etc/after-cat
%end
%post --interpreter=/usr/bin/python3 --erroronfail
open("/etc/python", "w").write("yes")
%end
%post
false
%end
"""  # noqa: E501


def kickstart(lab: Lab, more: str = EVERYTHING) -> str:
    text = lab.text()
    assert STORAGE.replace(" --label=boot", "") in text
    text = (
        "\n".join(
            line
            for line in text.splitlines()
            if not line.startswith(("rootpw", "network", "timezone", "keyboard", "lang"))
        )
        + "\n"
    )
    text = text.replace(
        'net.ifnames=0"',
        'net.ifnames=0" --location=mbr --iscrypted --password=grub.pbkdf2.sha512.10000.AA.BB',
    )
    return text.replace(
        STORAGE.replace(" --label=boot", ""), "clearpart --all --disklabel=gpt\n" + more
    ).replace("\nreboot\n", "\npoweroff\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="looking into the disks needs root")
@pytest.mark.parametrize("way", WAYS)
def test_everything_that_a_kickstart_may_say_is_done(lab: Lab, tmp_path: Path, way: str) -> None:
    text = kickstart(lab)
    one = lab.disk(f"everything {way}", text, ways=[way])
    outcome = lab.must(one)
    tree: Tree = outcome.value(lab.pipeline.tree)
    disk: Disk = outcome.value(one)
    filled = text.replace("%include /tmp/storage.ks", text.partition("<<'END'\n")[2].partition("END\n")[0])
    made = plan.read(
        without_includes(filled),
        "F28",
        disk_size=6 << 30,
        firmware=frozenset(Firmware),
        seed=tree.commit,
        epoch=tree.timestamp,
    )
    assert [each.name for each in made.partitions] == ["biosboot", "efi", "boot", "pv.01"]
    start, size = lvm.place(made, "root")
    assert size == 2800 << 20
    with mounted(disk.file, start, size, "ro,noload", tmp_path / "root") as root:
        (deployment,) = root.glob("ostree/deploy/*/deploy/*.0")
        var = deployment.parent.parent / "var"
        _check_accounts(deployment, var, tree)
        assert (deployment / "etc/hostname").read_text() == "host.example.org\n"
        assert str((deployment / "etc/localtime").readlink()).endswith("zoneinfo/Europe/Berlin")
        assert (deployment / "etc/locale.conf").read_text() == "LANG=de_DE.UTF-8\n"
        assert (deployment / "etc/vconsole.conf").read_text() == "KEYMAP=de\n"
        assert "DHCP=yes" in (deployment / "etc/systemd/network/80-kickstart.network").read_text()
        assert (deployment / "etc/outside").read_text() == "from outside\n"
        assert "said" in (var / "log/nochroot.log").read_text()
        assert (deployment / "etc/python").read_text() == "yes"
        assert (deployment / "etc/after-cat").read_text() == "done\n"
        fstab = (deployment / "etc/fstab").read_text()
        assert f"UUID={made.uuid('swap')} none swap" in fstab
    swap = lvm.place(made, "swap")
    with disk.file.open("rb") as stream:
        stream.seek(swap[0] + 4086)
        assert stream.read(10) == b"SWAPSPACE2"
    boot = next(each for each in made.partitions if each.mount == "/boot")
    with mounted(disk.file, boot.start, boot.size, "ro,noload", tmp_path / "boot") as place:
        assert (place / "grub/user.cfg").read_text() == "GRUB2_PASSWORD=grub.pbkdf2.sha512.10000.AA.BB\n"
        menu = (place / "grub/grub.cfg").read_text()
        assert "password_pbkdf2 root" in menu
        assert "--unrestricted" in menu
        assert "set timeout=1" in menu
    label = subprocess.run(
        ["blkid", "-p", "-O", str(start), "-o", "value", "-s", "LABEL", disk.file],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert label.strip() == "root-fs"


@pytest.mark.skipif(os.geteuid() != 0, reason="the native way needs root")
@pytest.mark.parametrize("way", WAYS)
def test_a_post_section_that_fails_is_named_and_leaves_nothing_behind(lab: Lab, way: str) -> None:
    one = lab.disk(
        f"failing {way}",
        kickstart(lab) + "%post --erroronfail\necho what went wrong >&2\nexit 7\n%end\n",
        ways=[way],
    )
    outcome = lab.build(one)
    message = outcome.failed[one].message
    assert "%post of line" in message
    assert "what went wrong" in message
    left = [place for place in (cache_directory() / "offline").glob(f"{os.getpid()}-*") if place.exists()]
    assert not left
    assert str(lab.store) not in Path("/proc/self/mountinfo").read_text()


def _check_accounts(deployment: Path, var: Path, tree: Tree) -> None:
    shadow = {
        line.split(":")[0]: line.split(":") for line in (deployment / "etc/shadow").read_text().splitlines()
    }
    assert shadow["root"][1] == password.hashed("secret", f"{tree.commit} root")
    assert shadow["ann"][1].startswith("$6$")
    assert shadow["ann"][2] == str(tree.timestamp // 86400), (
        "the day of the last change is the build's own time"
    )
    assert shadow["bob"][1].startswith("!")
    accounts = {
        line.split(":")[0]: line.split(":") for line in (deployment / "etc/passwd").read_text().splitlines()
    }
    assert accounts["ann"][2:] == ["1500", accounts["ann"][3], "Ann B", "/home/annie", "/bin/sh"]
    groups = {
        line.split(":")[0]: line.split(":") for line in (deployment / "etc/group").read_text().splitlines()
    }
    assert groups["builders"][2:] == ["1234", "ann"]
    assert "ann" in groups["sudo"][3].split(",")
    keys = var / "home/annie/.ssh/authorized_keys"
    assert keys.read_text() == "ssh-ed25519 AAAA ann@example.org\n"
    assert (keys.stat().st_uid, oct(keys.stat().st_mode)[-3:], oct(keys.parent.stat().st_mode)[-3:]) == (
        1500,
        "600",
        "700",
    )


@pytest.mark.slow
def test_a_thin_pool_is_made_in_the_appliance_and_boots(lab: Lab, tmp_path: Path) -> None:
    text = kickstart(lab, "autopart --type=thinp --nohome --noswap --fstype=xfs\n")
    one = lab.disk("thin", text)
    outcome = lab.must(one)
    disk: Disk = outcome.value(one)
    assert disk.populated == "appliance", "thin volumes need device-mapper"
    with lab.booted(outcome.value(lab.pipeline.tree), disk.file, tmp_path / "thin") as boot:
        assert boot.host is not None, boot.problem
        boots_the_released_commit(boot.host, boot.expected)
        rows = json.loads(
            boot.host.succeeds("lvs", "--reportformat", "json", "-o", "lv_name,lv_attr,pool_lv")
        )["report"][0]["lv"]
        assert {row["lv_name"]: (row["lv_attr"][0], row["pool_lv"]) for row in rows} == {
            "pool00": ("t", ""),
            "root": ("V", "pool00"),
        }
