"""Encrypted partitions: the programs that are run for them, and what the installed host is given."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import filesystems, luks
from imagebuild.deploy.execute import kernel_arguments
from imagebuild.deploy.target import Argv, File
from imagebuild.errors import BuildError
from imagebuild.kickstart import encryption
from imagebuild.kickstart import plan as planning
from imagebuild.kickstart.layout import LUKS_HEADER
from imagebuild.kickstart.plan import Plan
from tests.fake_sandbox import FakeSandbox
from tests.kickstart.samples import BIOS, GIB, MIB, SMALL

SECRET = "tell 'nobody"
ETC = PurePosixPath("/etc")
OPENED = SMALL.replace("part pv.01 --grow", f'part pv.01 --grow --encrypted --passphrase="{SECRET}"')
BY_TPM = SMALL.replace("part pv.01 --grow", "part pv.01 --grow --encrypted").replace(
    'append="quiet"', 'append="quiet rd.luks.options=tpm2-device=auto"'
)


def read(text: str = OPENED, *, encrypted: bool = True) -> Plan:
    return planning.read(
        text, "F40", disk_size=6 * GIB, firmware=BIOS, seed="commit", name="test.ks", encrypted=encrypted
    )


@dataclass
class Recorder(FakeSandbox):
    """What was in the key's file when each program ran."""

    keys: list[bytes] = field(default_factory=list)
    broken: str = ""

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        super().run(*commands, env=env)
        words = [str(word) for argv in commands for word in argv]
        if words[:2] == ["rm", "-f"]:
            self.files.pop(luks.KEY)
        elif "cryptsetup" in " ".join(words) and luks.KEY in self.files:
            self.keys.append(self.files[luks.KEY].data)
        if self.broken and self.broken in words:
            raise BuildError("it broke")
        return ""


def test_the_passphrase_is_in_no_argument_and_gone_afterwards() -> None:
    plan, place = read(), Recorder()
    devices = {each.name: f"/dev/vda{each.number}" for each in plan.partitions}
    luks.open_new(plan, place, devices)
    identifier = luks.uuid(plan, "pv.01")
    assert devices == {"boot": "/dev/vda1", "pv.01": f"/dev/mapper/luks-{identifier}"}
    assert place.keys == [f"{SECRET}\n".encode()]
    assert place.files == {}
    assert SECRET not in repr(place.commands)
    assert SECRET not in repr(plan)
    made = next(argv for argv in place.commands if "luksFormat" in argv)
    assert made[4:] == ("--batch-mode", "luksFormat", "--type=luks2", "--uuid", identifier, "/dev/vda2")
    luks.close(plan, place)
    assert place.commands[-1] == ("cryptsetup", "close", f"luks-{identifier}")


def test_the_passphrase_is_gone_after_a_failure_too() -> None:
    place = Recorder(broken="luksFormat")
    with pytest.raises(BuildError, match="it broke"):
        luks.open_new(read(), place, {"pv.01": "/dev/vda2"})
    assert place.files == {}


@pytest.mark.parametrize("secret", [SECRET, ""])
def test_the_real_cryptsetup_takes_it(tmp_path: Path, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """cryptsetup 2.6: a line of standard input, also the empty one, which --key-file refuses."""
    key, image = tmp_path / "key", tmp_path / "image"
    monkeypatch.setattr(luks, "FROM_KEY", luks.FROM_KEY.replace(str(luks.KEY), str(key)))
    key.write_text(f"{secret}\n")
    with image.open("wb") as file:
        file.truncate(2 * LUKS_HEADER)
    cheap = encryption.Encryption(cipher="aes-xts-plain64", pbkdf="pbkdf2", pbkdf_iterations=1000)
    argv = luks._from_key(
        "luksFormat", *luks._options(cheap), "--uuid", luks.uuid(read(), "pv.01"), str(image)
    )
    subprocess.run([str(word) for word in argv], check=True)
    said = subprocess.run(
        ["cryptsetup", "luksDump", image], check=True, capture_output=True, text=True
    ).stdout
    assert luks.uuid(read(), "pv.01") in said
    assert f"offset: {LUKS_HEADER} [bytes]" in said, "what the layout takes off for the header"
    for typed, status in ((secret, 0), ("other", 2)):
        opened = subprocess.run(
            ["cryptsetup", "open", "--test-passphrase", image],
            input=f"{typed}\n".encode(), check=False, capture_output=True,
        )  # fmt: skip
        assert opened.returncode == status


def test_volumes_are_made_inside_by_lvm_and_have_room() -> None:
    plan, plain = read(), read(SMALL)
    assert filesystems.made_by_lvm(plan)
    assert not filesystems.made_by_lvm(plain)
    assert luks.hides(plan, "root")
    assert not luks.hides(plan, "boot")
    whole = SMALL.replace("--size=3000", "--size=1 --grow")
    sizes = [
        read(text).volumes[0].size
        for text in (whole, whole.replace("part pv.01", "part pv.01 --encrypted --passphrase=x"))
    ]
    assert sizes[0] - sizes[1] == LUKS_HEADER


def test_the_kernel_opens_what_the_root_is_on() -> None:
    plan = read()
    assert kernel_arguments(plan)[0] == f"rd.luks.uuid=luks-{luks.uuid(plan, 'pv.01')}"
    assert kernel_arguments(plan)[-1] == "quiet"
    assert "luks" not in " ".join(kernel_arguments(read(SMALL)))
    assert luks.files(read(SMALL), ETC) == {}
    crypttab = luks.files(plan, ETC)[ETC / "crypttab"]
    assert crypttab == File(
        data=b"luks-%(id)s UUID=%(id)s none luks\n" % {b"id": luks.uuid(plan, "pv.01").encode()}, mode=0o600
    )
    assert luks.settings(plan) == []


def test_a_tpm_is_enrolled_at_the_first_boot() -> None:
    plan, place = read(BY_TPM), Recorder()
    luks.open_new(plan, place, {"pv.01": "/dev/vda2"})
    assert place.keys == [b"\n"], "the empty passphrase, until the TPM has it"
    assert kernel_arguments(plan)[-1] == "rd.luks.options=tpm2-device=auto,try-empty-password"
    found = luks.files(plan, ETC)
    assert found[ETC / "crypttab"].data.endswith(b" none tpm2-device=auto,try-empty-password\n")
    unit = found[ETC / "systemd/system" / luks.units(plan)[0]].data.decode()
    assert (
        "ExecStart=/usr/bin/systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=7 --wipe-slot=empty"
        f" /dev/disk/by-uuid/{luks.uuid(plan, 'pv.01')}\n"
    ) in unit
    assert "Environment=PASSWORD=\n" in unit
    assert luks.settings(plan) == ["systemctl --quiet enable luks-enroll-tpm.service"]


def test_who_gives_a_passphrase_enrols_the_tpm_with_it() -> None:
    plan = read(BY_TPM.replace("--encrypted", f'--encrypted --passphrase="{SECRET}"'))
    assert luks.enrolled(plan) == []
    assert kernel_arguments(plan)[-1] == "rd.luks.options=tpm2-device=auto"
    assert list(luks.files(plan, ETC)) == [ETC / "crypttab"]


def test_nothing_is_made_that_nobody_could_open() -> None:
    plan, place = read(SMALL.replace("part pv.01", "part pv.01 --encrypted")), Recorder()
    with pytest.raises(BuildError, match=r"pv\.01 is to be encrypted, but nobody could open it"):
        luks.open_new(plan, place, {"pv.01": "/dev/vda2"})
    assert place.commands == []


def test_an_answered_passphrase_is_for_what_has_none() -> None:
    text = SMALL.replace("part pv.01 --grow", "part pv.01 --grow --encrypted")
    answered = luks.with_passphrase(read(text), SECRET)
    assert [each.passphrase for each in luks.encrypted(answered).values()] == [SECRET]
    kept = luks.with_passphrase(read(), "other")
    assert [each.passphrase for each in luks.encrypted(kept).values()] == [SECRET]


@pytest.mark.parametrize(
    ("text", "lost"), [(OPENED, "no cryptsetup$"), (BY_TPM, "no cryptsetup, systemd-cryptenroll$")]
)
def test_a_tree_that_cannot_is_told_before_anything_is_made(text: str, lost: str) -> None:
    with pytest.raises(BuildError, match=lost):
        luks.check_programs(read(text), FakeSandbox())
    luks.check_programs(read(SMALL), FakeSandbox())


def test_an_image_has_one_key_for_everyone() -> None:
    with pytest.raises(BuildError, match=r"test\.ks:5: pv\.01 --encrypted: one master key for everyone"):
        read(encrypted=False)
    with pytest.raises(BuildError, match=r"test\.ks:4: autopart --encrypted: one master key"):
        read(
            'text\nbootloader --append="quiet"\nclearpart --all\nautopart --encrypted --passphrase=x\n'
            + SMALL.splitlines()[-1],
            encrypted=False,
        )


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("part /boot --size=300", "part /boot --size=300 --encrypted --passphrase=x",
         "test.ks:4: /boot --encrypted: the boot loader reads it"),
        ("logvol /", "logvol / --encrypted --passphrase=x", "test.ks:7: logvol root --encrypted is not"),
        ("--grow", "--grow --encrypted --passphrase=x --luks-version=luks1", "only luks2 is made"),
        ("--grow", "--grow --encrypted --passphrase=x --escrowcert=http://x/", "option `escrowcert` is not"),
        ("--grow", f"--grow --encrypted --passphrase={'x' * 513}", "could not type it"),
    ],
)  # fmt: skip
def test_what_of_encryption_is_not_made_is_refused(old: str, new: str, complaint: str) -> None:
    with pytest.raises(BuildError) as caught:
        read(SMALL.replace(old, new))
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    "line",
    [
        f'part /data --size=1 --encrypted --passphrase="{SECRET}" --frob',
        f'part /data --size=1 --encrypted --passphrase "{SECRET}" --nosuch=1',
        f'frob --passphrase="{SECRET}"',
        f'part /data --size=1 --passphrase="{SECRET}',
        f'part /data --size=1 --passph="{SECRET}" --passphrase=b',
        "part /data --size=1 --encrypted --passphrase=\u201cnobody\u201d",
        f'part /data "{SECRET}" --size=1 --encrypted --passphrase="{SECRET}"',
    ],
)
def test_no_message_shows_a_passphrase(line: str) -> None:
    with pytest.raises(BuildError) as caught:
        read(SMALL + line + "\n")
    assert "nobody" not in caught.value.message, caught.value.message


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("part / --encrypted --passphrase=abc --grow", "part / --encrypted --passphrase=(taken-out) --grow"),
        ("part / --passphrase \"a b\" --grow", "part / --passphrase (taken-out) --grow"),
        ("part / --passphrase='a b'c --grow", "part / --passphrase=(taken-out) --grow"),
        ("part / --passphrase=a\\ b --grow", "part / --passphrase=(taken-out) --grow"),
        ("part /\nautopart --hw-passphrase=x", "part /\nautopart --hw-passphrase=(taken-out)"),
    ],
)  # fmt: skip
def test_what_is_kept_of_a_kickstart_has_no_passphrase(line: str, kept: str) -> None:
    assert encryption.without_passphrases(line) == kept


def test_sizes_are_those_of_the_disk() -> None:
    assert sum(each.size for each in read().partitions) == 6 * GIB - MIB


@pytest.mark.parametrize("option", ["--pa", "--pas", "--pass", "--passp", "--passphras"])
def test_abbreviations_are_as_secret(option: str) -> None:
    """argparse takes them for the whole option (pykickstart 3.78 leaves that on)."""
    line = f"part pv.01 --grow --encrypted {option}={SECRET.split(maxsplit=1)[0]}"
    assert luks.encrypted(read(SMALL.replace("part pv.01 --grow", line)))["pv.01"].passphrase == "tell"
    assert encryption.without_passphrases(line) == f"part pv.01 --grow --encrypted {option}=(taken-out)"
    assert encryption.without_passphrases("part swap --hibernation --size=5").endswith("--size=5")
    assert encryption.without_passphrases("url --url=http://x --path=y").endswith("--path=y")


def test_each_partition_is_enrolled_by_a_unit_of_its_own() -> None:
    """One that fails, or was done before a power cut, does not keep another from it."""
    plan = read(BY_TPM.replace("part pv.01", "part swap --size=100 --encrypted\npart pv.01"))
    assert luks.enrolled(plan) == ["swap", "pv.01"]
    found = luks.files(plan, ETC)
    for unit, name in zip(luks.units(plan), luks.enrolled(plan), strict=True):
        text = found[ETC / "systemd/system" / unit].data.decode()
        assert text.count("ExecStart=") == 1
        assert f"/dev/disk/by-uuid/{luks.uuid(plan, name)}\n" in text
        assert f"disable {unit}\n" in text
    assert luks.settings(plan) == [
        "systemctl --quiet enable luks-enroll-tpm.service",
        "systemctl --quiet enable luks-enroll-tpm-2.service",
    ]
