"""Saved first boots: what their keys are made of, who may read them, when they are not used, when they go."""

import json
import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild import files
from imagebuild.errors import BuildError
from imagebuild.kinds import Controller, Firmware, Login
from imagebuild.smoke import saved_boot
from imagebuild.smoke.criteria.registry import CRITERIA
from imagebuild.smoke.criterion import Asks
from imagebuild.smoke.guest_machine import GuestFiles
from imagebuild.smoke.saved_boot import BOOT, KEY, LOCKS, SavedBoots, collect, components, read
from imagebuild.smoke.trial import Trial
from imagebuild.tools import command
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.build import builder_processor
from tests.smoke import trials

PACKED = "overlay.qcow2.zst"
PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nof the test\n"
DAY = 24 * 3600


@pytest.fixture(autouse=True)
def no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "version", lambda _: "7.2")
    monkeypatch.setattr(saved_boot, "build_digest", lambda _: "build")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The disk under test, which is an artifact of the store."""
    file = tmp_path / "disk.raw"
    file.write_bytes(b"disk".ljust(1 << 20, b"\0"))
    return file


def trial(tmp_path: Path, disk: Path, **changed: Any) -> Trial:
    given = {"digest": "00", "disk": disk, "source": disk, "saved": tmp_path / "saved"}
    return trials.trial(tmp_path, **given | changed)


def frozen(tmp_path: Path, disk: Path) -> GuestFiles:
    """Files of a guest that stands still."""
    place = tmp_path / "guest"
    place.mkdir(exist_ok=True)
    overlay, variables, seed = (place / name for name in ("overlay.qcow2", "variables.qcow2", "seed.iso"))
    disk_image.make_overlay(overlay, disk, "raw")
    variables.write_text("variables")
    seed.write_text("seed")
    (place / "id").write_text(PRIVATE_KEY)
    return GuestFiles(overlay=overlay, variables=variables, seed=seed)


@pytest.fixture
def saved(tmp_path: Path, disk: Path) -> SavedBoots:
    """A first boot that was saved."""
    boots = SavedBoots(tmp_path / "saved", trial(tmp_path, disk))
    boots.keep(frozen(tmp_path, disk), tmp_path / "guest" / "id", trials.EXPECTED, {"ssh": 60.0})
    return boots


# --- keys ---


@pytest.mark.parametrize(
    "changed",
    [
        {"cores": 2},
        {"memory": 1 << 30},
        {"cpu": "max"},
        {"accelerator": Accelerator(name="tcg", slowness=1, reason="", cpu="max")},
        {"accelerator": Accelerator(name="kvm", slowness=1, reason="")},
        {"firmware": Firmware.UEFI},
        {"controller": Controller.IDE},
        {"digest": "01"},
        {"artifact": "b"},
        {"size": 1 << 30},
        {"grow": 1},
        {"login": Login.VAGRANT},
        {"user": "v"},
    ],
)
def test_whatever_must_be_the_same_for_memory_to_go_on_is_in_the_key(
    tmp_path: Path, disk: Path, changed: dict[str, Any]
) -> None:
    place = tmp_path / "saved"
    (tmp_path / "elsewhere").mkdir()
    plain = SavedBoots(place, trial(tmp_path, disk)).directory
    assert SavedBoots(place, trial(tmp_path / "elsewhere", disk)).directory == plain
    assert SavedBoots(place, trial(tmp_path, disk, **changed)).directory != plain


def test_another_build_of_qemu_is_another_key(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> Path:
        return SavedBoots(tmp_path / "saved", trial(tmp_path, disk)).directory

    keys = [key()]
    monkeypatch.setattr(saved_boot, "build_digest", lambda _: "another build of the same version")
    keys.append(key())
    monkeypatch.setattr(command, "version", lambda _: "8.0")
    keys.append(key())
    monkeypatch.setattr(saved_boot, "source_digest", lambda _: "another first boot")
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_the_machine_in_the_key_is_what_qemu_is_told(tmp_path: Path, disk: Path) -> None:
    argv = json.loads(components(trial(tmp_path, disk, controller=Controller.IDE))["machine"])
    assert argv[argv.index("-machine") + 1] == "pc"
    assert "-incoming" not in argv
    assert not [word for word in argv if str(tmp_path) in word], "where files lie is no part of a machine"


def test_the_build_machines_processor_counts_under_kvm_only(tmp_path: Path, disk: Path) -> None:
    kvm = Accelerator(name="kvm", slowness=1, reason="")
    assert components(trial(tmp_path, disk))["builder"] == ""
    assert components(trial(tmp_path, disk, accelerator=kvm))["builder"]
    cpuinfo = tmp_path / "cpuinfo"
    digests = []
    for model, clock in (("EPYC", "2000"), ("EPYC", "3000"), ("Xeon", "2000")):
        cpuinfo.write_text(f"processor\t: 0\nmodel name\t: {model}\ncpu MHz\t\t: {clock}\n\nprocessor\t: 1\n")
        digests.append(builder_processor(cpuinfo))
    assert digests[0] == digests[1] != digests[2]


# --- kept and taken ---


def test_a_copy_lies_on_the_disk_of_its_trial_with_a_key_that_only_its_owner_reads(
    tmp_path: Path, disk: Path, saved: SavedBoots
) -> None:
    moved = disk.rename(tmp_path / "unpacked again.raw")
    work = tmp_path / "work"
    work.mkdir()
    taken = SavedBoots(tmp_path / "saved", trial(tmp_path, moved)).take(work)
    assert taken is not None
    assert disk_image.info(taken.files.overlay)["full-backing-filename"] == str(moved)
    assert (taken.files.variables.read_text(), taken.key.read_text()) == ("variables", PRIVATE_KEY)
    assert taken.files.seed is not None
    assert (taken.expected, taken.phases) == (trials.EXPECTED, {"ssh": 60.0})
    for file in (*work.iterdir(), *saved.directory.iterdir()):
        if file.suffix != ".qcow2":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert {stat.S_IMODE(place.stat().st_mode) for place in (saved.directory, saved.directory.parent)} == {
        0o700
    }


@pytest.mark.parametrize("name", [PACKED, KEY, BOOT, "variables.qcow2.zst", "seed.iso"])
@pytest.mark.parametrize("how", ["cut", "lost"])
def test_what_is_not_whole_is_never_used(tmp_path: Path, saved: SavedBoots, name: str, how: str) -> None:
    assert saved.there()
    file = saved.directory / name
    if how == "cut":
        os.truncate(file, file.stat().st_size - 1)
    else:
        file.unlink()
    assert not saved.there()
    assert saved.take(tmp_path) is None


def test_a_key_that_others_could_read_is_not_used(saved: SavedBoots) -> None:
    (saved.directory / KEY).chmod(0o640)
    assert not saved.there()


def test_damage_that_no_size_tells_is_an_error(tmp_path: Path, saved: SavedBoots) -> None:
    packed = saved.directory / PACKED
    packed.write_bytes(bytes(packed.stat().st_size))
    (tmp_path / "work").mkdir()
    with pytest.raises(BuildError, match="zstd"):
        saved.take(tmp_path / "work")


def test_a_save_that_is_killed_leaves_what_was_there(
    tmp_path: Path, disk: Path, saved: SavedBoots, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read(saved.directory)

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "sync_tree", killed)
    with pytest.raises(KeyboardInterrupt):
        saved.keep(frozen(tmp_path, disk), tmp_path / "guest" / "id", trials.EXPECTED, {"ssh": 9.0})
    assert read(saved.directory) == before
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {saved.directory.name, LOCKS}


def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path, disk: Path, saved: SavedBoots) -> None:
    with pytest.raises(BuildError, match="the first boot cannot be saved"):
        saved.keep(frozen(tmp_path, disk), tmp_path / "no key", trials.EXPECTED, {})
    assert saved.there()


# --- when they go ---


def test_a_saved_boot_goes_with_its_artifact(tmp_path: Path, disk: Path, saved: SavedBoots) -> None:
    assert collect(tmp_path / "saved") == 0
    assert saved.there()
    disk.unlink()
    assert collect(tmp_path / "saved") > 0
    assert not saved.directory.exists()
    assert collect(tmp_path / "nothing") == 0


def test_what_nobody_used_for_long_and_what_is_damaged_goes(tmp_path: Path, saved: SavedBoots) -> None:
    damaged = saved.directory.with_name("0" * 32)
    damaged.mkdir()
    (damaged / PACKED).write_bytes(b"x")
    assert collect(tmp_path / "saved") > 0
    assert saved.there()
    assert not damaged.exists()
    long_ago = time.time() - (saved_boot.UNUSED_DAYS + 1) * DAY
    os.utime(saved.directory, (long_ago, long_ago))
    assert collect(tmp_path / "saved") > 0
    assert not saved.directory.exists()


def test_one_that_does_not_come_back_is_removed(saved: SavedBoots) -> None:
    saved.discard()
    assert not saved.directory.exists()
    saved.discard()


# --- what is tested on one ---


def test_which_criteria_boot_nothing_is_said_by_their_records() -> None:
    nothing = {name for name, record in CRITERIA.items() if record.boots_nothing}
    assert {"containers-run", "the-disk-grows", "cloud-init-runs-the-user-script"} <= nothing
    for name, record in CRITERIA.items():
        boots = record.asks is not Asks.FIRST_BOOT or record.boots or record.last or record.firmware_bound
        assert (name not in nothing) == boots, name
    plain = CRITERIA["containers-run"]
    changes: list[dict[str, Any]] = [
        {"boots": True},
        {"firmware_bound": True},
        {"last": True},
        {"asks": Asks.JOURNEY},
    ]
    for changed in changes:
        assert not replace(plain, **changed).boots_nothing
