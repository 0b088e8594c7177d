"""What a boot loader finds on a /boot is read from the disk, and whether it would get a kernel."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuild.smoke.boot_files import BootFiles, find_boot_files
from imagebuild.smoke.power_cuts import boot_problem
from tests.smoke.boot_disks import START, make_boot, make_disk


def default(boot: Path) -> Path:
    """Return the directory of the default entry's kernel."""
    text = (boot / "loader/entries/ostree-2-debian-atomic.conf").read_text()
    linux = next(line for line in text.splitlines() if line.startswith("linux "))
    return boot / linux.split()[1].lstrip("/").rpartition("/")[0]


def found(boot: Path, tmp_path: Path) -> BootFiles:
    """Return what is found on a disk with that /boot."""
    files = find_boot_files(make_disk(boot, tmp_path / "disk.raw"))
    assert files is not None
    return files


@pytest.mark.parametrize("menu", [True, False])
def test_a_whole_boot_has_no_problem(tmp_path: Path, menu: bool) -> None:
    files = found(make_boot(tmp_path / "boot", menu=menu), tmp_path)
    assert files.start == START
    first, second = files.entries()
    assert (first.ostree[:23], second.name != first.name) == ("/ostree/boot.1/debian-a", True)
    assert first.linux.endswith("/vmlinuz-6.1")
    assert files.problem() is None
    assert boot_problem(files, tmp_path) == (None, False)


def test_boot_may_be_a_directory_of_the_root(tmp_path: Path) -> None:
    make_boot(tmp_path / "root", prefix="boot")
    files = found(tmp_path / "root", tmp_path)
    assert files.prefix == "/boot"
    assert files.problem() is None


def cut_short(boot: Path) -> None:
    kernel = default(boot) / "vmlinuz-6.1"
    kernel.write_bytes(kernel.read_bytes()[:-1])


def empty(boot: Path) -> None:
    (default(boot) / "initramfs-6.1.img").write_bytes(b"")


def without_kernel(boot: Path) -> None:
    (default(boot) / "vmlinuz-6.1").unlink()


def without_entries(boot: Path) -> None:
    for file in (boot / "loader/entries").iterdir():
        file.unlink()
    (boot / "loader/grub.cfg").unlink(missing_ok=True)


def with_a_cut_menu(boot: Path) -> None:
    (boot / "loader/grub.cfg").write_text("")


def without_loader(boot: Path) -> None:
    (boot / "loader").unlink()


def with_a_strange_path(boot: Path) -> None:
    file = boot / "loader/entries/ostree-2-debian-atomic.conf"
    file.write_text(file.read_text().replace("linux /", 'linux /"; rm -rf /'))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut_short, "not what their checksum says"),
        (empty, "initramfs of"),
        (without_kernel, "the kernel of"),
        (without_entries, "has no entry"),
        (without_loader, "has no entry"),
    ],
)
@pytest.mark.parametrize("menu", [True, False])
def test_what_a_boot_loader_cannot_start_is_named(
    tmp_path: Path, damage: Callable[[Path], None], said: str, menu: bool
) -> None:
    boot = make_boot(tmp_path / "boot", menu=menu)
    damage(boot)
    files = found(boot, tmp_path)
    assert said in (files.problem() or "")
    assert said in (boot_problem(files, tmp_path)[0] or "")


def test_an_empty_menu_is_not_made_up_for_by_the_entries(tmp_path: Path) -> None:
    boot = make_boot(tmp_path / "boot")
    with_a_cut_menu(boot)
    assert "has no entry" in (found(boot, tmp_path).problem() or "")


def test_a_menu_that_reads_the_entries_has_them(tmp_path: Path) -> None:
    boot = make_boot(tmp_path / "boot")
    (boot / "loader/grub.cfg").write_text("insmod blscfg\nblscfg\n")
    files = found(boot, tmp_path)
    assert [entry.name for entry in files.entries()] == [
        "ostree-2-debian-atomic.conf",
        "ostree-1-debian-atomic.conf",
    ]
    assert files.problem() is None


def test_a_broken_second_entry_is_not_what_boots(tmp_path: Path) -> None:
    boot = make_boot(tmp_path / "boot")
    text = (boot / "loader/entries/ostree-1-debian-atomic.conf").read_text()
    (boot / text.partition("linux /")[2].splitlines()[0]).unlink()
    assert found(boot, tmp_path).problem() is None


def test_what_debugfs_would_take_as_a_command_is_a_problem(tmp_path: Path) -> None:
    boot = make_boot(tmp_path / "boot", menu=False)
    with_a_strange_path(boot)
    assert "cannot be asked for" in (found(boot, tmp_path).problem() or "")


def test_a_damaged_file_system_is_named(tmp_path: Path) -> None:
    files = found(make_boot(tmp_path / "boot"), tmp_path)
    with files.disk.open("r+b") as stream:
        # the free block count of the super block (ext4(5), s_free_blocks_count_lo) does not fit its checksum
        stream.seek(files.start + 1024 + 0x0C)
        stream.write(b"\xff\xff")
    assert boot_problem(files, tmp_path)[0] is not None


def test_a_disk_without_ext4_has_no_boot_files(tmp_path: Path) -> None:
    disk = make_disk(make_boot(tmp_path / "boot"), tmp_path / "disk.raw")
    with disk.open("r+b") as stream:
        stream.seek(START)
        stream.write(bytes(1 << 20))
    assert find_boot_files(disk) is None
