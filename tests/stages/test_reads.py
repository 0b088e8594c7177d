"""What a stage reads of the product's data is in its key: an audit hook tells, not a look at the code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagebuild.config.places import template
from imagebuild.engine import planning
from imagebuild.engine.steps import Step, key_of
from imagebuild.formats.format import Source
from imagebuild.formats.registry import FORMATS
from imagebuild.installers.live import initramfs, netboot, product
from imagebuild.installers.live.product import ProductFacts
from imagebuild.installers.registry import INSTALLERS
from imagebuild.kinds import Firmware
from imagebuild.model import Disk
from imagebuild.stages.kickstart import write_kickstart
from tests.opened import opened
from tests.stages.trees import TREE
from tests.wiring import changed, settings, wired

FACTS = ProductFacts(
    product="P", version="1", ref="r", commit="c" * 64, kernel="6.1", syntax="F28", signed=True
)


def test_the_hook_hears(tmp_path: Path) -> None:
    with opened() as files:
        template("vagrant/box.ovf").read_bytes()
        (tmp_path / "other").write_text("x")
    assert files == {template("vagrant/box.ovf").resolve()}


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_reads_is_declared(tmp_path: Path, name: str) -> None:
    disk = tmp_path / "disk.raw"
    # one for blocks of 4096 bytes has its GPT there
    disk.write_bytes((b"\0" * 4096 + b"EFI PART").ljust(1 << 20, b"\0"))
    (tmp_path / "out").mkdir()
    made = Disk(file=disk, size=1 << 20, firmware=frozenset({Firmware.BIOS}), format="raw", populated="x")
    source = Source(disk=made, title="T", os_id="debian", seed="0" * 64, epoch=0)
    options = {**settings().images["cloud"].formats, **settings().images["vagrant"].formats}
    with opened() as files:
        FORMATS[name].write(source, tmp_path / "out", "a", options.get(name, FORMATS[name].options()))
    assert files <= {template(read).resolve() for read in FORMATS[name].reads}


def test_what_the_live_installer_reads_is_declared() -> None:
    with opened() as files:
        product.files(FACTS, "", [])
        product.program_files()
        initramfs.build(lambda _: b"", "6.1", volume_id="ID", busybox=b"")
        netboot.menu("P")
    assert files
    assert files == {template(read).resolve() for read in INSTALLERS["live"].reads}


def test_what_the_kickstart_reads_is_a_parameter(tmp_path: Path) -> None:
    config = settings()
    with opened() as files:
        wired(config)
    declared = set(files)
    with opened() as files:
        write_kickstart(tmp_path, TREE, config.kickstarts["cloud"], config.tree, "")
    assert files
    assert files <= declared


def steps_that_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> set[str]:
    """Return the steps whose key is another when one of the product's files is, but not those that only read
    what they make.
    """
    before = wired(settings())
    edited = tmp_path / Path(name).name
    edited.write_text(template(name).read_text() + "\n# edited\n")
    real = template

    def instead(asked: str) -> Path:
        return edited if asked == name else real(asked)

    for module in ("disks", "installer"):
        monkeypatch.setattr(f"imagebuild.wiring.{module}.template", instead)
    after = wired(settings())
    direct = {step.name: step for step in planning.order([before.release])}
    return {step for step in changed(before, after) if _reads(direct[step], name)}


def _reads(step: Step[Any], name: str) -> bool:
    return any(read == template(name) for read in step.reads)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("vagrant/libvirt.Vagrantfile", {"vagrant-libvirt vagrant"}),
        ("vagrant/virtualbox.Vagrantfile", {"vagrant-virtualbox vagrant"}),
        ("vagrant/box.ovf", {"vagrant-virtualbox vagrant"}),
        ("live/init.sh", {"installer iso"}),
        ("live/imagebuild-installer.service", {"installer iso"}),
    ],
)
def test_an_edited_file_is_another_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, steps: set[str]
) -> None:
    assert steps_that_change(monkeypatch, tmp_path, name) == steps


def test_keys_are_strings_of_32_digits() -> None:
    order: Callable[..., list[Step[Any]]] = planning.order
    assert {len(key_of(step)) for step in order([wired(settings()).release])} == {32}
