"""A machine without a medium: firmware, GRUB, kernel and live root come over the network, and it installs
itself.

QEMU's own DHCP and TFTP servers hand out images/pxeboot as a release has it; everything else is fetched over
HTTP from this machine, which the guest sees as 10.0.2.2.
"""

from pathlib import Path

import pytest

from imagebuild.kinds import Firmware
from imagebuild.model import IsoImage
from imagebuild.publish.os_tree import NEEDED, NETWORK, OPTIONAL
from imagebuild.smoke.installation import InstallerBench, follow, powered_on
from imagebuild.tools import iso
from imagebuild.tools.qemu.machine import NetworkBoot
from tests.vm.serving import served
from tests.vm.wiring import Lab

PROGRAMS = {Firmware.BIOS: "grub-bios.0", Firmware.UEFI: "grub-uefi.efi"}


@pytest.mark.slow  # two installations under emulation
@pytest.mark.parametrize("firmware", PROGRAMS)
def test_a_machine_installs_itself_from_the_network(lab: Lab, tmp_path: Path, firmware: Firmware) -> None:
    (made,) = lab.pipeline.isos
    image: IsoImage = lab.must(made).value(made)
    tree = tmp_path / "os"
    wanted = [f"/{path}" for path in (*NEEDED, *OPTIONAL, *NETWORK)]
    assert set(wanted[:3]) <= set(iso.extract(image.file, wanted, tree))
    (tree / "my.ks").write_text(lab.text("debian-12-installer.ks"))
    pxeboot = tree / "images/pxeboot"
    with served(tree) as url:
        (pxeboot / "local.cfg").write_text(
            f'set tree={url}\nset arguments="inst.ks={url}/my.ks"\nset timeout=1\n'
        )
        bench = InstallerBench(
            iso=image.file,
            firmware=firmware,
            accelerator=lab.host.accelerator,
            cores=lab.host.accelerator.cores,
            isolated=False,
            network_boot=NetworkBoot(directory=pxeboot, file=PROGRAMS[firmware]),
        )
        disk = tmp_path / "disk.qcow2"
        with powered_on(bench, disk, tmp_path / "serial.log") as running:
            phases = follow(running, bench, tmp_path)
            assert "imagebuild: fetching" in running.console()
    assert "complete" in phases
    tree_commit = lab.must(lab.pipeline.tree).value(lab.pipeline.tree)
    with lab.booted(tree_commit, disk, tmp_path / "host", form="qcow2", firmware=firmware) as boot:
        assert boot.host is not None, boot.problem
        assert boot.host.booted().commit == tree_commit.commit
