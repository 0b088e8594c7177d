"""What hosts of each storage profile say, and what they say when their storage is broken."""

import json

GIB = 1024**3
UNIT_FINE = (
    "LoadState=loaded\nConditionResult=yes\nExecMainStartTimestampMonotonic=12345\n"
    "Result=success\nExecMainStatus=0\n"
)

UNIT_FAILED = UNIT_FINE.replace("success", "exit-code").replace("Status=0", "Status=1")


def _volumes(**sizes: tuple[str, int]) -> str:
    rows = [
        {"lv_name": name.replace("_", "-"), "lv_attr": kind, "lv_size": str(size)}
        for name, (kind, size) in sizes.items()
    ]
    return json.dumps({"report": [{"lv": rows}]})


def _free(size: int) -> str:
    return json.dumps({"report": [{"vg": [{"vg_free": str(size)}]}]})


def _docker(driver: str, **status: str) -> str:
    return json.dumps(
        {
            "Driver": driver,
            "DriverStatus": [
                [name.replace("_", " ").replace("d type", "d_type"), value] for name, value in status.items()
            ],
        }
    )


ROOT = ("-wi-ao----", 3000 << 20)
UNIT = "systemctl show docker-storage-setup.service"
_SET_UP: dict[str, str | None] = {
    UNIT: UNIT_FINE,
    "findmnt -n -o SOURCE /sysroot": "/dev/mapper/atomicos-root\n",
    "lvs --noheadings": " atomicos\n",
}
# what a host of each profile says (tests/data/fedora/storage.yaml), and what it says when that is broken
STORAGE: dict[str, dict[str, str | None]] = {
    "devicemapper": (
        _SET_UP
        | {
            "lvs --reportformat": _volumes(root=ROOT, docker_pool=("twi-a-t---", 2 * GIB)),
            "vgs": _free(700 << 20),
            "docker info": _docker("devicemapper", Pool_Name="atomicos-docker--pool"),
        }
    ),
    "overlay2-volume": (
        _SET_UP
        | {
            "lvs --reportformat": _volumes(root=ROOT, docker_root_lv=("-wi-ao----", 400 * 4 << 20)),
            "vgs": _free(600 * 4 << 20),
            "findmnt -n -o SOURCE,FSTYPE -T /var/lib/docker": "/dev/mapper/atomicos-docker--root--lv xfs\n",
            "docker info": _docker("overlay2", Supports_d_type="true"),
        }
    ),
    "overlay2-root": (
        _SET_UP
        | {
            "lvs --reportformat": _volumes(root=("-wi-ao----", 5 * GIB)),
            "vgs": _free(0),
            "findmnt -b -n -o SIZE /sysroot": f"{5 * GIB - 10_000_000}\n",
            "findmnt -n -o SOURCE,FSTYPE -T": "/dev/mapper/atomicos-root[/ostree/deploy/x/var] xfs\n",
            "docker info": _docker("overlay2", Supports_d_type="true"),
        }
    ),
}
BROKEN_STORAGE: list[tuple[str, dict[str, str | None], str]] = [
    ("devicemapper", {UNIT: "LoadState=not-found\n"}, "is not-found: nothing sets"),
    (
        "devicemapper",
        {UNIT: UNIT_FAILED, "journalctl": "docker-storage-setup: ERROR: too small\nFailed\n"},
        "has failed .*ERROR: too small",
    ),
    (
        "devicemapper",
        {UNIT: UNIT_FINE.replace("=12345", "=0").replace("yes", "no")},
        "did not run: its condition did not hold",
    ),
    (
        "devicemapper",
        {"lvs --reportformat": _volumes(root=ROOT)},
        "has no thin pool docker-pool; it has root",
    ),
    (
        "devicemapper",
        {"lvs --reportformat": _volumes(docker_pool=("-wi-a-----", 2 * GIB))},
        "not an active thin pool",
    ),
    (
        "devicemapper",
        {"lvs --reportformat": _volumes(docker_pool=("twi-a-t---", GIB))},
        "less than container-storage-setup's MIN_DATA_SIZE",
    ),
    (
        "devicemapper",
        {"docker info": _docker("devicemapper", Data_loop_file="/var/lib/docker/x")},
        "loopback file",
    ),
    (
        "devicemapper",
        {"docker info": _docker("devicemapper", Pool_Name="docker-253:0-pool")},
        "not in docker-pool",
    ),
    ("devicemapper", {"docker info": _docker("overlay2")}, "'overlay2', not 'devicemapper'"),
    ("overlay2-volume", {"lvs --reportformat": _volumes(root=ROOT)}, "has no docker-root-lv"),
    ("overlay2-volume", {"vgs": _free(GIB)}, "not 40 % of"),
    (
        "overlay2-volume",
        {"findmnt -n -o SOURCE,FSTYPE -T /var/lib/docker": "/dev/mapper/atomicos-root xfs\n"},
        "lies on /dev/mapper/atomicos-root",
    ),
    (
        "overlay2-volume",
        {"findmnt -n -o SOURCE,FSTYPE -T /var/lib/docker": "/dev/mapper/atomicos-docker--root--lv ext4\n"},
        "is ext4, not xfs",
    ),
    ("overlay2-volume", {"docker info": _docker("overlay2", Supports_d_type="false")}, "d_type"),
    ("overlay2-root", {"vgs": _free(GIB)}, "root volume was not grown"),
    ("overlay2-root", {"findmnt -b -n -o SIZE /sysroot": f"{3 * GIB}\n"}, "was not grown with it"),
    (
        "overlay2-root",
        {"findmnt -n -o SOURCE,FSTYPE -T /var/lib/docker": "/dev/mapper/atomicos-docker xfs\n"},
        "not on the root volume",
    ),
    ("overlay2-root", {"docker info": _docker("vfs")}, "'vfs', not 'overlay2'"),
]
