"""An overlay names the disk that it reads from as any store has it beside it, whichever machine's."""

import shutil
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from imagebuild.engine.remote import Patience
from imagebuild.engine.steps import Step, Unkeyed, key_of, kind_of, step
from imagebuild.model import Disk
from imagebuild.stages.disk import _seen_from_beside
from imagebuild.tools import command
from imagebuild.tools.qemu import disk_image
from imagebuild.wiring.stores import open_store
from tests.engine.building import run

SIZE = 1 << 20


def make_base(out: Path, text: str) -> Disk:
    file = out / "disk.raw"
    file.write_bytes(text.encode().ljust(SIZE, b"\0"))
    return Disk(file=file, format="raw", size=SIZE, firmware=frozenset(), populated="test")


def make_overlay(out: Path, base: Disk, note: str) -> Disk:
    """Do what `derive_disk` does, without a system."""
    file = out / "disk.qcow2"
    disk_image.make_overlay(file, base.file, "raw")
    disk_image.name_backing(file, _seen_from_beside(out, base.file), "raw")
    return Disk(
        file=file,
        format="qcow2",
        size=SIZE,
        firmware=frozenset(),
        populated=note,
        derived=True,
        base=base.file,
    )


def read(disk: Path, place: Path) -> bytes:
    command.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, place / "read"])
    return (place / "read").read_bytes()


def needed(root: Path, remote: str, one: Step[Any]) -> Disk:
    record = open_store(root, remote, patience=Patience(attempts=1)).need(kind_of(one), key_of(one))
    return TypeAdapter(Disk).validate_python(record.value, context={"base": record.directory})


def test_an_overlay_is_of_use_in_another_machines_store(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    remote = f"file://{tmp_path}/share"
    base = step("base", make_base, "the base")
    over = step("over", make_overlay, base, Unkeyed("test"))
    made = run(over, open_store(tmp_path / "one", remote)).value(over)
    assert made.base == run(base, open_store(tmp_path / "one")).value(base).file
    shutil.rmtree(tmp_path / "one")
    there = needed(tmp_path / "two", remote, over)
    assert there.file.is_relative_to(tmp_path / "two")
    assert there.base is not None
    assert there.base.is_relative_to(tmp_path / "two")
    assert read(there.file, tmp_path).startswith(b"the base\0")
    assert disk_image.chain(there.file, "qcow2")[1].resolve() == there.base


def test_a_store_that_was_moved_is_still_of_use(tmp_path: Path) -> None:
    over = step("over", make_overlay, step("base", make_base, "the base"), Unkeyed("test"))
    run(over, open_store(tmp_path / "one"))
    (tmp_path / "one").rename(tmp_path / "moved")
    found = run(over, open_store(tmp_path / "moved")).value(over)
    assert read(found.file, tmp_path).startswith(b"the base\0")
    assert found.base is not None
    assert found.base.is_file()


def test_outside_of_a_store_the_disk_is_named_by_its_path(tmp_path: Path) -> None:
    for file in (tmp_path / "disk.raw", Path("/disk.raw"), tmp_path / "artifacts/kind/key/out/disk.raw"):
        assert _seen_from_beside(tmp_path / "elsewhere" / "out", file) == str(file)
