"""On a disk that is larger than the image, the first boot takes all of it."""

from imagebuild.smoke.criterion import Group, Trait, criterion
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host

# what the partition table's copy, alignment and LVM's metadata may leave unused
SLACK = 16 << 20
# what a file system keeps for itself
OVERHEAD = 0.05


@criterion(
    group=Group.SYSTEM,
    about="On a disk that is larger than the image, the first boot takes all of it.",
    applies_to="images (an installation already has the whole disk)",
    needs=(Trait.LARGER_DISK,),
)
def test_the_disk_grows(host: Host, expected: Expected) -> None:
    if not expected.grown:
        raise NotApplicableError("installed on the disk it has: there is nothing to grow into")
    rows = [row.split() for row in _listing(host)]
    disk = next(int(size) for _, size, kind in rows if kind == "disk")
    used = sum(int(size) for _, size, kind in rows if kind == "part")
    assert disk - used < SLACK, f"the partitions have {used} bytes of a disk of {disk}: they were not grown"
    volume = host.run("pvs", "--noheadings", "--units", "b", "--nosuffix", "-o", "pv_size")
    if volume.status == 0 and volume.output.strip():
        size, last = (
            float(volume.output.split()[0]),
            max(int(size) for _, size, kind in rows if kind == "part"),
        )
        assert last - size < SLACK, (
            f"the physical volume has {size:.0f} bytes of a partition of {last}: it was not grown"
        )
    if host.root_takes_all(expected.terms.storage):
        root = int(host.succeeds("findmnt", "-b", "-n", "-o", "SIZE", "/sysroot"))
        last = max(int(size) for _, size, kind in rows if kind == "part")
        assert root > last * (1 - OVERHEAD), (
            f"the root file system has {root} bytes of a partition of {last}: it was not grown"
        )


def _listing(host: Host) -> list[str]:
    return host.succeeds(
        "lsblk", "--noheadings", "--list", "--bytes", "-o", "NAME,SIZE,TYPE", f"/dev/{host.root_disk()}"
    ).splitlines()
