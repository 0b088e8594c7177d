"""Small kickstarts, read."""

from pathlib import Path

from imagebuild.kickstart import plan
from imagebuild.kickstart.mount_points import TreeFiles
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Firmware
from imagebuild.release_line import reading as config
from imagebuild.stages import kickstart
from tests.data import ROOT

MIB = 1024 * 1024
GIB = 1024 * MIB
BOTH = frozenset(Firmware)
BIOS = frozenset({Firmware.BIOS})


def rendered(name: str, variant: str = "cloud") -> tuple[str, str]:
    loaded = config.load(ROOT / "configs" / f"{name}.yaml", Path("/store"))
    template = loaded.kickstarts[variant]
    return (
        kickstart.render(
            template, kickstart.values(loaded.the_ref(), loaded.tree, loaded.arch) | template.values
        ),
        template.syntax,
    )


def read(
    text: str,
    *,
    size: int = 6 * GIB,
    firmware: frozenset[Firmware] = BIOS,
    syntax: str = "F28",
    tree: TreeFiles | None = None,
) -> Plan:
    return plan.read(
        text, syntax, disk_size=size, firmware=firmware, seed="commit", name="test.ks", tree=tree
    )


SMALL = """text
bootloader --timeout=1 --append="quiet"
clearpart --all
part /boot --size=300 --fstype=ext4
part pv.01 --grow
volgroup vg pv.01
logvol / --size=3000 --fstype=xfs --name=root --vgname=vg
ostreesetup --osname=os --remote=os --url=https://example.org/ --ref=a/b
"""
