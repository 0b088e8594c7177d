"""The kickstart language that disk images use, and what it makes of a disk."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from imagebuild import steplog
from imagebuild.deploy import configure, prescript
from imagebuild.deploy.configure import configure as write_configuration
from imagebuild.deploy.execute import kernel_arguments, reason_not_to_change
from imagebuild.deploy.target import Argv
from imagebuild.errors import BuildError
from imagebuild.kickstart import password
from imagebuild.kickstart.layout import EXTENT
from imagebuild.kickstart.plan import Plan
from imagebuild.kickstart.source import BadKickstartError, includes
from imagebuild.kinds import Firmware
from imagebuild.tools import command
from tests.fake_sandbox import FakeSandbox
from tests.kickstart.samples import BIOS, BOTH, GIB, MIB, SMALL, read

UEFI = frozenset({Firmware.UEFI})
END = "ostreesetup --osname=os --remote=os --url=https://example.org/ --ref=a/b\n"
HEAD = 'text\nbootloader --timeout=1 --append="quiet"\nclearpart --all\n'
PV = "part /boot --size=300 --fstype=ext4\npart pv.01 --grow\nvolgroup vg pv.01\n"


def sizes(plan: Plan) -> dict[str, int]:
    return {each.name: each.size // MIB for each in plan.partitions} | {
        each.name: each.size // MIB for each in plan.volumes
    }


@pytest.mark.parametrize(
    ("firmware", "table", "names"),
    [
        (BIOS, "mbr", ["boot", "pv.01"]),
        (UEFI, "gpt", ["efi", "boot", "pv.01"]),
        (BOTH, "gpt", ["biosboot", "efi", "boot", "pv.01"]),
    ],
)
def test_reqpart_makes_what_the_firmware_needs(
    firmware: frozenset[Firmware], table: str, names: list[str]
) -> None:
    text = (
        HEAD
        + "reqpart --add-boot\npart pv.01 --grow\nvolgroup vg pv.01\nlogvol / --size=3000 --grow --fstype=xfs"
        " --name=root --vgname=vg\n" + END
    )
    plan = read(text, firmware=firmware)
    assert (plan.table, [each.name for each in plan.partitions]) == (table, names)
    assert sizes(plan)["boot"] == 1024
    if firmware == BIOS:
        assert len(names) == 2, "an MBR under BIOS needs /boot alone: the layout of Fedora 27"
    assert sizes(plan)["root"] > 4500


@pytest.mark.parametrize("command", ["autopart --noswap", "reqpart --add-boot\npart / --grow"])
def test_an_mbr_that_is_asked_for_is_made_under_uefi_too(command: str) -> None:
    text = HEAD.replace("clearpart --all", "clearpart --all --disklabel=msdos") + command + "\n" + END
    plan = read(text, firmware=BOTH, size=40 * GIB)
    assert (plan.table, [each.name for each in plan.partitions][:2]) == ("mbr", ["efi", "boot"])
    with pytest.raises(BadKickstartError, match="an MBR reaches no further"):
        read(text, firmware=BOTH, size=4096 * GIB)


@pytest.mark.parametrize(
    ("options", "syntax", "expected"),
    [
        ("--type=lvm --noswap", "F27", {"boot": 1024, "root": 3072}),
        ("--type=lvm --noswap", "F28", {"boot": 1024, "root": 15360}),
        ("--type=plain --noswap", "F27", {"boot": 1024, "root": 3072}),
        ("--type=lvm", "F27", {"root": 3072, "swap": 2048}),
        ("--type=thinp --noswap --fstype=ext4", "F28", {"root": 15360}),
    ],
)
def test_autopart(options: str, syntax: str, expected: dict[str, int]) -> None:
    plan = read(f"{HEAD}autopart {options}\n{END}", size=40 * GIB, syntax=syntax)
    assert sizes(plan).items() >= expected.items(), sizes(plan)
    kinds = {each.name: (each.kind, each.pool) for each in plan.volumes}
    if "thinp" in options:
        assert kinds == {"pool00": ("thin-pool", ""), "root": ("thin", "pool00")}
        assert plan.thin()
        assert plan.root() == ("root", "ext4")
        used = sum(each.size for each in plan.volumes if each.kind == "thin-pool")
        assert used < plan.partitions[-1].size - 7 * GIB, "a fifth of a thin group stays free"
    elif "plain" in options:
        assert not plan.group
        assert kernel_arguments(plan)[0].startswith("root=UUID=")
    else:
        assert kernel_arguments(plan)[:2] == ["root=/dev/mapper/atomicos-root", "rd.lvm.lv=atomicos/root"]


def test_a_disk_beyond_the_reach_of_an_mbr() -> None:
    text = HEAD + "autopart --type=lvm\n" + END
    assert read(text, size=3 * 1024 * GIB).table == "gpt"
    assert read(text, size=1024 * GIB).table == "mbr"
    with pytest.raises(
        BadKickstartError, match="an MBR reaches no further than 2 TiB; use clearpart --disklabel=gpt"
    ):
        read(HEAD + PV + "logvol / --size=3000 --name=root --vgname=vg\n" + END, size=3 * 1024 * GIB)


def test_swap_of_autopart_is_a_tenth_of_a_small_disk() -> None:
    assert sizes(read(f"{HEAD}autopart\n{END}", size=8 * GIB))["swap"] in range(812, 824)


def test_several_growing_parts_share_by_their_size_up_to_their_limits() -> None:
    text = (
        HEAD
        + "part /boot --size=300 --fstype=ext4\npart /a --size=100 --grow --fstype=ext4\npart / --size=300"
        " --grow --fstype=ext4\n" + END
    )
    plan = read(text, size=4 * GIB)
    grown = sizes(plan)
    assert abs(grown["root"] - 3 * grown["a"]) < 8
    assert sum(grown.values()) in range(4094, 4096)
    limited = sizes(
        read(text.replace("/a --size=100 --grow", "/a --size=100 --grow --maxsize=200"), size=4 * GIB)
    )
    assert limited["a"] == 200
    assert sum(limited.values()) in range(4094, 4096)


def test_thin_pools_and_volumes_named_by_hand() -> None:
    lines = (
        "logvol none --size=2000 --name=pool --vgname=vg --thinpool\nlogvol / --size=4000 --fstype=xfs"
        " --name=root --vgname=vg --thin --poolname=pool\n"
    )
    plan = read(HEAD + PV + lines + END)
    assert [(each.name, each.kind, each.pool, each.size // MIB) for each in plan.volumes] == [
        ("pool", "thin-pool", "", 2000),
        ("root", "thin", "pool", 4000),
    ]
    with pytest.raises(
        BadKickstartError, match=r"test\.ks:\d+: logvol root: there is no thin pool 'nothing'"
    ):
        read(HEAD + PV + lines.replace("--poolname=pool", "--poolname=nothing") + END)


def test_accounts_hosts_and_scripts() -> None:
    text = (
        SMALL + "rootpw --plaintext secret\ngroup --name=builders --gid=1234\nuser --name=ann --password=pw"
        ' --groups=wheel,builders --uid=1500 --homedir=/home/a --shell=/bin/sh --gecos="Ann B"\nuser'
        ' --name=bob --lock --iscrypted --password=$6$x$y\nsshkey --username=ann "ssh-ed25519 AAAA'
        ' ann"\nnetwork --hostname=h.example.org --bootproto=dhcp --activate\nfirewall --enabled\nselinux'
        " --permissive\npoweroff\n%post --nochroot --log=/tmp/log\ntrue\n%end\n%post"
        " --interpreter=/usr/bin/python3\npass\n%end\n"
    )
    plan = read(text)
    assert plan.root_password == password.hashed("secret", "commit root")
    assert plan.groups == (("builders", 1234),)
    ann, bob = plan.users
    assert (ann.uid, ann.groups, ann.home, ann.shell, ann.gecos, ann.locked) == (
        1500,
        ("wheel", "builders"),
        "/home/a",
        "/bin/sh",
        "Ann B",
        False,
    )
    assert bob.locked
    assert plan.ssh_keys == (("ann", "ssh-ed25519 AAAA ann"),)
    assert (plan.hostname, plan.dhcp, plan.firewall, plan.selinux) == (
        "h.example.org",
        True,
        True,
        "permissive",
    )
    assert "enforcing=0" in kernel_arguments(plan)
    assert [(script.inside, script.log, script.interpreter) for script in plan.scripts] == [
        (False, "/tmp/log", "/bin/sh"),
        (True, "", "/usr/bin/python3"),
    ]


def test_a_password_has_the_same_hash_each_time_and_is_checked_by_crypt() -> None:
    one = password.hashed("vagrant", "seed")
    assert one == password.hashed("vagrant", "seed")
    assert one != password.hashed("vagrant", "other")
    assert one.startswith("$6$")
    assert len(one) == 106


def test_what_is_written_for_accounts_and_services() -> None:
    sandbox = FakeSandbox()
    plan = read(
        SMALL + "firewall --disabled\nservices --disabled=avahi-daemon\nuser --name=ann --password=pw"
        ' --groups=wheel\nsshkey --username=ann "key it\'s"\n'
    )
    write_configuration(plan, sandbox, PurePosixPath("/sysroot/deployment"))
    scripts = "\n".join(sandbox.scripts)
    assert "useradd --create-home --no-log-init --home-dir=/home/ann --shell=/bin/bash ann" in scripts
    assert "'key it'\"'\"'s'" in scripts, "what a kickstart says is quoted for the shell"
    assert "ann:$6$" in scripts
    assert "systemctl --quiet disable firewalld.service" in scripts
    assert "systemctl --quiet disable avahi-daemon.service || " in scripts, (
        "what the tree does not have is disabled"
    )
    assert sandbox.files[PurePosixPath("/sysroot/deployment/etc/fstab")].data.count(b"\n") == 3
    assert b"GRUB_TIMEOUT=1" in sandbox.files[PurePosixPath("/sysroot/deployment/etc/default/grub")].data


class LocalSandbox(FakeSandbox):
    """Runs shell scripts on this machine, with a stand-in for chroot in PATH; the rest it only remembers."""

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        super().run(*commands, env=env)
        return "".join(command.run([str(word) for word in argv]) for argv in commands if argv[0] == "sh")


@pytest.mark.parametrize(
    ("status", "noted"),
    [
        pytest.param(0, False, id="nothing to complain of"),
        pytest.param(65, True, id="EX_DATAERR"),
        pytest.param(73, True, id="EX_CANTCREAT"),
        pytest.param(1, None, id="failed"),
        pytest.param(64, None, id="EX_USAGE"),
        pytest.param(127, None, id="the tree has no systemd-tmpfiles"),
    ],
)
def test_what_tmpfiles_leaves_out_is_noted_as_at_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, noted: bool | None
) -> None:
    """systemd 252, units/systemd-tmpfiles-setup.service: SuccessExitStatus=DATAERR CANTCREAT."""
    chroot = tmp_path / "chroot"
    complaint = "" if status == 0 else "echo 'Failed to resolve group' >&2; "
    chroot.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {tmp_path}/argv\n{complaint}exit {status}\n")
    chroot.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    log = tmp_path / "log"
    with steplog.writing_to(log):
        if noted is None:
            with pytest.raises(BuildError, match=rf"exit status {status}(.|\n)*Failed to resolve group"):
                write_configuration(read(SMALL), LocalSandbox(), PurePosixPath("/d"))
            return
        write_configuration(read(SMALL), LocalSandbox(), PurePosixPath("/d"))
    assert (tmp_path / "argv").read_text().split()[:4] == ["/d", "systemd-tmpfiles", "--create", "--boot"]
    assert ("Failed to resolve group" in log.read_text()) == noted
    assert (f"systemd-tmpfiles ended with {status}: " in log.read_text()) == noted


def test_a_failing_script_names_its_line_unless_it_may_fail() -> None:
    plan = read(SMALL + "%post --erroronfail --log=/root/log\nfalse\n%end\n%post\nfalse\n%end\n")
    sandbox = FakeSandbox(fails="/run/kickstart-script")
    with pytest.raises(BuildError, match="%post of line 9 failed"):
        configure.run_scripts(plan.scripts, sandbox, PurePosixPath("/d"))
    configure.run_scripts(plan.scripts[1:], sandbox, PurePosixPath("/d"))
    assert sandbox.ran[-1] == (
        "/bin/sh",
        "-x",
        "/run/kickstart-script",
    ), "a file, so that no program in it can eat the rest of it"
    assert sandbox.files[PurePosixPath("/d/run/kickstart-script")].data == b"false\n"
    assert "/root/log" in sandbox.ran[0]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("bootloader --password=plain", "only --iscrypted"),
        ("%pre-install\ntrue\n%end", "executes %pre, %post and %onerror"),
        ("autopart --hibernation", "--hibernation is none of"),
        (
            "part / --size=10 --fstype=ext4 --ondisk=sda\npart /x --size=10 --fstype=ext4 --ondisk=sdb",
            "several disks",
        ),
        ("logvol /x --size=10 --fstype=btrfs --name=x --vgname=vg", "--fstype=btrfs is not executed"),
        ("volgroup other pv.09", "one volgroup"),
        ("bootloader --location=none", "--location=none is not executed"),
        ("network --bootproto=dhcp --device=eth1", "only --bootproto=dhcp on --device=link"),
        ("timezone --utc --ntpservers=x/y Etc/UTC", "x/y is not a name of a server"),
        ("auth --enablenis", "only --useshadow"),
        ("autopart --fstype=ext3", "--fstype=ext3 is not executed"),
        ("authselect select minimal", "`authselect` is not executed"),
        ("logvol /x --size=10 --fstype=xfs --name=x --vgname=other", "there is no `volgroup other`"),
        ("logvol /x --size=10 --fstype=xfs --name=boot --vgname=vg", "boot is there twice"),
        ("logvol / --size=10 --fstype=xfs --name=x --vgname=vg", "/ is there twice"),
        ("logvol /a$b --size=10 --fstype=xfs --name=x --vgname=vg", "not a usable name or mount point"),
        (
            (
                "logvol /x --percent=1 --fstype=xfs --name=x --vgname=vg\nlogvol /y --size=2700 --fstype=xfs"
                " --name=y --vgname=vg"
            ),
            "1 % of what is left in vg is nothing",
        ),
        ("%include /etc/passwd", "there is no such file"),
        ('%include "http://example.org/x.ks" # comment', "there is no such file"),
    ],
)
def test_what_is_not_executed_is_refused(line: str, complaint: str) -> None:
    text = HEAD + line + "\n" + END if "autopart" in line or "ondisk" in line else SMALL + line + "\n"
    with pytest.raises(BadKickstartError, match=r"test\.ks") as caught:
        read(text)
    assert complaint in caught.value.message, caught.value.message


def test_what_a_pre_section_wrote_is_included() -> None:
    text = (
        SMALL.replace("part pv.01 --grow", "%include /tmp/part.ks")
        + "%pre\necho 'part pv.01 --size=4000' > /tmp/part.ks\n%end\n"
    )
    sandbox = FakeSandbox(answers={"/tmp/part.ks": b"part pv.01 --size=4000\n"})

    @contextlib.contextmanager
    def opened() -> Iterator[FakeSandbox]:
        yield sandbox

    expanded = prescript.expand(text, "F28", opened, "test.ks")
    assert b"echo 'part pv.01" in sandbox.files[PurePosixPath("/run/kickstart-script")].data
    assert sizes(read(expanded))["pv.01"] == 4000
    with pytest.raises(BadKickstartError, match=r"test\.ks:5: %include /tmp/part\.ks: no %pre section wrote"):
        prescript.expand(text, "F28", lambda: contextlib.nullcontext(FakeSandbox()), "test.ks")
    assert prescript.expand(SMALL, "F28", opened, "test.ks") == SMALL


def test_an_include_in_a_script_is_its_own_business_and_deep_ones_end() -> None:
    assert includes(SMALL + "%post\n%include /x\n%end\n%include '/y' # why\n") == [(12, "/y")]
    sandbox = FakeSandbox(answers={"/a": b"%include /a\n"})
    with pytest.raises(BadKickstartError, match="more than 8 deep"):
        prescript.expand(
            SMALL + "%include /a\n%pre\ntrue\n%end\n",
            "F28",
            lambda: contextlib.nullcontext(sandbox),
            "test.ks",
        )


def test_percentages_are_of_what_is_left() -> None:
    two = read(
        SMALL.replace(
            "ostreesetup", "logvol /var --percent=50 --fstype=xfs --name=var --vgname=vg\nostreesetup"
        )
    )
    free = two.partitions[-1].size - MIB - 3000 * MIB
    assert abs(two.volumes[1].size * 2 - free) < 4 * EXTENT


def test_when_a_disk_can_be_changed_instead_of_installed() -> None:
    base = read(SMALL)
    more = SMALL + "%post\necho\n%end\n"
    assert reason_not_to_change(base, read(more, size=40 * GIB)) is None
    assert reason_not_to_change(read(more), base) == "its scripts do not begin with those of the base"
    assert reason_not_to_change(base, read(SMALL.replace("--size=3000", "--size=3004"))) is None, (
        "the last volume may be larger: its file system is grown"
    )
    assert (
        reason_not_to_change(read(SMALL.replace("--size=3000", "--size=3004")), base) == "volume root differs"
    )
    assert (
        reason_not_to_change(base, read(SMALL.replace("fstype=xfs", "fstype=ext4"))) == "volume root differs"
    )
    assert reason_not_to_change(base, read(SMALL + "services --enabled=sshd\n")) == "its enabled differs"
    secure = frozenset({*base.firmware, Firmware.UEFI, Firmware.UEFI_SECURE})
    with_uefi = replace(base, firmware=frozenset({*base.firmware, Firmware.UEFI}))
    assert reason_not_to_change(replace(base, firmware=secure), with_uefi) is None, "the ESP is the same"
    assert reason_not_to_change(replace(base, firmware=frozenset({Firmware.UEFI})), replace(
        base, firmware=frozenset({Firmware.BIOS})
    )) == "its firmware differs"  # fmt: skip
    assert reason_not_to_change(base, read(SMALL.replace("timeout=1", "timeout=2"))) == "its timeout differs"
    assert reason_not_to_change(read(SMALL + "rootpw secret\n"), base) == "the base has a password of root"
    assert (
        reason_not_to_change(base, read(SMALL.replace("--size=300 ", "--size=301 "))) == "partition 1 differs"
    )
    assert reason_not_to_change(base, read(SMALL.replace("--ref=a/b", "--ref=a/c"))) == "its ref differs"
    assert (
        reason_not_to_change(read(SMALL + "user --name=x\n"), base)
        == "an account or key of the base is not in it"
    )
    assert read(SMALL, size=40 * GIB).volumes[0].size % EXTENT == 0
