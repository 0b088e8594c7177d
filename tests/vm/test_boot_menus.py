"""GRUB's two menus, under BIOS and UEFI: generated for each deployment, and boot loader entries that GRUB
reads itself. A host goes through upgrade, rollback and an entry that is booted once.
"""

import contextlib
from pathlib import Path

import pytest

from imagebuild.kinds import BootMenu, Firmware
from imagebuild.model import Disk, Tree
from imagebuild.smoke.first_boot import guest
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.releases import Releases, offering
from imagebuild.smoke.served import ServedRelease
from imagebuild.tools import temporary
from imagebuild.wiring.builder import Builder
from tests.vm import current
from tests.vm.power import trial_of
from tests.vm.wiring import Lab

pytestmark = pytest.mark.slow
MENU = "/boot/grub/grub.cfg"
FIRMWARE = (Firmware.BIOS, Firmware.UEFI)


@pytest.fixture(scope="module")
def forky(tmp_path_factory: pytest.TempPathFactory, build_host: Builder) -> Lab:
    """A tree with GRUB 2.14, the first with a module for entries outside of Fedora."""
    return current.lab("debian-14", tmp_path_factory.mktemp("forky"), build_host)


@pytest.mark.parametrize("firmware", FIRMWARE)
@pytest.mark.parametrize("menu", BootMenu)
def test_a_host_follows_its_deployments(
    forky: Lab, tmp_path: Path, menu: BootMenu, firmware: Firmware
) -> None:
    tree, disk = installed(forky, menu)
    trial = trial_of(forky, tree, disk.file, "raw", tmp_path / "evidence", firmware=firmware)
    candidate = ServedRelease(commit=tree.commit, version=tree.version)
    with temporary.directory("menus") as work, contextlib.ExitStack() as stack:
        offers = stack.enter_context(
            offering(work, lambda within: Releases(within, tree.repo, tree.ref, candidate, None))
        )
        releases = offers.releases
        assert releases is not None, offers.why_no_releases
        _, boot = stack.enter_context(guest(trial, trial.evidence, ports=offers.ports))
        host = boot.host
        assert host is not None, boot.problem
        before = host.succeeds("cat", MENU)
        assert ("\nblscfg\n" in before) is (menu is BootMenu.ENTRIES)

        host.point_remote(trial.promise.refspec.partition(":")[0], releases.url, releases.key)
        releases.publish(releases.next)
        answer = host.commands.upgrade(host)
        assert answer.status == 0, answer.complaint
        host.reboot("upgraded")
        assert host.booted().commit == releases.next.commit

        boot_once(host)
        host.reboot("once")
        assert host.booted().commit == tree.commit
        host.reboot("and-back")
        assert host.booted().commit == releases.next.commit

        host.commands.rollback(host)
        host.reboot("rolled-back")
        assert host.booted().commit == tree.commit
        assert (host.succeeds("cat", MENU) == before) is (menu is BootMenu.ENTRIES)


def installed(lab: Lab, menu: BootMenu) -> tuple[Tree, Disk]:
    text = f"{lab.text('debian-14-cloud.ks')}\n%addon org_imagebuild --boot-menu={menu}\n%end\n"
    # Debian's signed GRUB cannot read entries
    one = lab.disk(f"cloud {menu}", text, firmware=FIRMWARE)
    outcome = lab.must(one, lab.pipeline.tree)
    return outcome.value(lab.pipeline.tree), outcome.value(one)


def boot_once(host: Host) -> None:
    """Choose the entry of the older deployment for the next boot only, as grub-reboot(8) does."""
    entries = sorted(host.succeeds("ls", "/boot/loader/entries").split())
    assert len(entries) == 2, entries
    host.succeeds(
        "grub-editenv", "/boot/grub/grubenv", "set", f"next_entry={entries[0].removesuffix('.conf')}"
    )
