"""The wired graph: what is rebuilt when something changes, and what runs beside what."""

from datetime import date
from pathlib import Path

import pytest

from imagebuild.config.smoke import WaiverConfig
from imagebuild.engine import planning
from imagebuild.engine.steps import inputs, soft_inputs
from imagebuild.errors import UsageError
from imagebuild.release_line import reading as config
from imagebuild.release_line.model import Config
from tests.data import ROOT
from tests.wiring import changed, settings, wired


def iso_steps(demo: Config) -> set[str]:
    """Return the names of the steps that install from the ISO, and of those that test what came of it."""
    assert demo.installer is not None
    return {f"{what} iso {firmware}" for firmware in demo.installer.firmware for what in ("install", "smoke")}


def test_a_changed_vagrant_kickstart_rebuilds_its_branch_only() -> None:
    plain = settings()
    other = plain.kickstarts["vagrant"].model_copy(update={"values": {"x": "1"}})
    edited = plain.model_copy(update={"kickstarts": plain.kickstarts | {"vagrant": other}})
    found = changed(wired(plain), wired(edited))
    assert "disk vagrant" in found
    assert {name for name in found if "vagrant" not in name} == {"release"}


def test_a_changed_cloud_kickstart_rebuilds_everything_made_of_it() -> None:
    plain = settings()
    other = plain.kickstarts["cloud"].model_copy(update={"values": {"x": "1"}})
    found = changed(
        wired(plain), wired(plain.model_copy(update={"kickstarts": plain.kickstarts | {"cloud": other}}))
    )
    assert {"disk cloud", "disk vagrant", "qcow2 cloud", "vagrant-libvirt vagrant"} <= found
    assert not {"pull", "toolbox", "kickstart vagrant"} & found


def test_the_time_is_part_of_what_it_is_written_into() -> None:
    found = changed(wired(settings()), wired(settings(), epoch=1))
    assert {"disk cloud", "vagrant-virtualbox vagrant"} <= found
    assert not {"pull", "toolbox", "kickstart cloud"} & found


def test_every_download_is_booted_under_each_firmware_and_looked_into() -> None:
    demo = settings()
    pipeline = wired(demo)
    names = {one.name for one in planning.order([pipeline.release])}
    assert len(pipeline.images) == 6
    for image in pipeline.images:
        firmwares = demo.images[image.name.split()[-1]].firmware
        assert {f"smoke {image.name} {firmware}" for firmware in firmwares} <= names
        assert f"inspect {image.name}" in names
        assert image.cost.background, "compressing must not keep a guest from being tested"
    assert {
        f"smoke disk {name} {firmware}" for name in demo.images for firmware in demo.images[name].firmware
    } <= names, "the installed disk is tested while its downloads are compressed"


def test_fedoras_release_lines_are_wired_too() -> None:
    for file in sorted((ROOT / "configs").glob("fedora-*.yaml")):
        loaded = config.load(file, Path("/store"))
        names = {one.name for one in wired(loaded).images}
        assert names == {
            "qcow2 cloud",
            "raw.xz cloud",
            "vagrant-libvirt vagrant",
            "vagrant-virtualbox vagrant",
        }


def test_the_iso_is_installed_from_under_each_firmware_and_what_it_installed_is_booted() -> None:
    demo = settings()
    names = {one.name for one in planning.order([wired(demo).release])}
    assert iso_steps(demo) | {"installer iso"} <= names


def test_a_changed_installer_kickstart_rebuilds_the_iso_only() -> None:
    plain = settings()
    other = plain.kickstarts["installer"].model_copy(update={"values": {"x": "1"}})
    found = changed(
        wired(plain), wired(plain.model_copy(update={"kickstarts": plain.kickstarts | {"installer": other}}))
    )
    assert found == {"kickstart installer", "installer iso", "release"} | iso_steps(plain)


def test_the_program_on_the_medium_is_part_of_its_key() -> None:
    """The build of the ISO does not import it: without this a changed installer would keep the old ISO."""
    from imagebuild.stages.installer import InstallerSpec

    spec = InstallerSpec(backend="live", product="P", release="1", ways=("native",))
    assert len(spec.program) == 64
    assert spec != InstallerSpec(backend="live", product="P", release="1", ways=("native",), program="other")


def test_without_an_installer_none_is_made() -> None:
    pipeline = wired(settings().model_copy(update={"installer": None}))
    assert not pipeline.isos
    assert not [one.name for one in planning.order([pipeline.release]) if "iso" in one.name.split()]


def waivers(*names: str) -> Config:
    made = [WaiverConfig(criterion=name, who="Ada", why="known", until=date(2030, 1, 1)) for name in names]
    return settings().model_copy(update={"waivers": tuple(made)})


def test_what_is_waived_of_a_release_is_not_tested_again() -> None:
    assert not changed(wired(settings()), wired(waivers("tree-growth", "artifact-growth", "boot-growth")))
    assert "smoke disk cloud uefi" in changed(wired(settings()), wired(waivers("the-clock-is-right")))


def test_a_waiver_of_nothing_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"waivers\.0\.criterion: there is no criterion artefact-boots"
    ) as error:
        wired(waivers("artefact-boots"))
    assert error.value.hint == "do you mean artifact-boots?"


def test_a_disk_that_fails_its_test_does_not_stop_the_tests_of_its_downloads() -> None:
    demo = settings()
    pipeline = wired(demo)
    for name, image in demo.images.items():
        disks = [one for one in pipeline.verdicts if one.name.startswith(f"smoke disk {name} ")]
        assert len(disks) == len(image.firmware)
        # each other firmware goes on without the first, and the downloads without all of them
        assert all(soft_inputs(disk) == {disks[0]} for disk in disks[1:])
        downloads = [one for one in pipeline.verdicts if set(disks) <= set(inputs(one))]
        assert len(downloads) == sum(one.name.endswith(name) for one in pipeline.images) * len(image.firmware)
        for one in downloads:
            assert soft_inputs(one) == set(disks)
    # what is released needs everything
    assert soft_inputs(pipeline.release) == set()
    assert set(pipeline.verdicts) <= set(inputs(pipeline.release))


def test_guests_take_the_machines_slots() -> None:
    pipeline = wired(settings())
    # an emulated guest has one processor
    assert (
        {one.cost.guests for one in pipeline.verdicts}
        == {one.cost.guests for one in pipeline.installations}
        == {1}
    )
    two = settings().model_copy(update={"smoke": settings().smoke.model_copy(update={"cores": 2})})
    assert {(one.cost.cores, one.cost.guests) for one in wired(two).verdicts} == {(2, 2)}
    assert pipeline.disks["cloud"].cost.guests == 0
    assert wired(settings(), populate=("appliance",)).disks["cloud"].cost.guests == 2
