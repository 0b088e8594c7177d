"""Hosts on which the criteria of test_root.py fail, and how each says so."""

from collections.abc import Callable
from dataclasses import replace

from imagebuild.smoke.criteria import test_root as root
from imagebuild.smoke.host import roots
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.stops import ReadAgain
from tests.smoke.criteria.cases import Case, OnHost
from tests.smoke.trials import COMMIT

CONF = "cat /usr/lib/ostree/prepare-root.conf"
FINDMNT = "findmnt --noheadings --raw --mountpoint"
READONLY = "[sysroot]\nreadonly=true\n"
# findmnt of util-linux 2.38.1 on Debian 12 prints so
SYSROOT = "xfs /dev/mapper/atomicos-root ro,relatime,attr2\n"
ETC = "xfs /dev/mapper/atomicos-root[/ostree/deploy/o/deploy/x.0/etc] rw,relatime\n"
IMAGE = "overlay composefs ro,relatime,lowerdir+=x,datadir+=y,redirect_dir=on,metacopy=on,verity=require\n"
# a healthy one answers so
ASKED: dict[str, str | None] = {
    CONF: READONLY,
    f"{FINDMNT} /sysroot": SYSROOT,
    f"{FINDMNT} /etc": ETC,
    "sh -c file=$(mktemp": "",
}
DIGEST = "5f" * 32
BYTES = ", ".join(["byte 0x5f", *["0x5f"] * 31])
CFS = f"/sysroot/ostree/deploy/debian-atomic/deploy/{COMMIT}.0/.ostree.cfs"
SHOW_DIGEST = "ostree --repo=/sysroot/ostree/repo show --print-metadata-key=ostree.composefs.digest.v0"
VERITY: dict[str, str | None] = ASKED | {
    CONF: "[composefs]\nenabled=verity\n",
    f"{FINDMNT} / ": IMAGE,
    f"sh -c {roots.IMAGES}": f"{CFS}\n",
    "losetup": f"/usr/share/other.img\n{CFS}\n",
    f"python3 - {CFS}": f"{DIGEST}\n",
    SHOW_DIGEST: f"[{BYTES}]\n",
    "sh -c find": "/usr/share/zzz\n",
    f"ostree --repo=/sysroot/ostree/repo ls -C {COMMIT} ": f"-00644 0 0 7 {COMMIT} /usr/share/zzz\n",
    "cat /usr/share/zzz": None,
}


def read_on(host: Host) -> Callable[[str, str], ReadAgain]:
    """What a host of which the object was changed says of the file, as coreutils' cat does."""

    def read(path: str, checksum: str) -> ReadAgain:
        assert checksum == COMMIT, "the object of that file"
        answer = host.run("cat", path)
        complaint = f"cat: {path}: Input/output error\n" if answer.status else ""
        return ReadAgain(problem=None, answer=replace(answer, complaint=complaint))

    return read


CASES: dict[str, Case] = {
    "sysroot-is-read-only": OnHost(
        run=lambda host, _: root.test_sysroot_is_read_only(host),
        broken=[
            (ASKED | {f"{FINDMNT} /sysroot": None}, "nothing is mounted at /sysroot"),
            (ASKED | {f"{FINDMNT} /sysroot": SYSROOT.replace("ro,", "rw,")}, "/sysroot is writable"),
            (ASKED | {"sh -c file=$(mktemp": None}, "nothing can be written into /etc"),
        ],
    ),
    "etc-is-merged-or-transient": OnHost(
        run=lambda host, _: root.test_etc_is_merged_or_transient(host),
        broken=[
            (ASKED | {f"{FINDMNT} /etc": None}, "nothing is mounted at /etc"),
            (ASKED | {f"{FINDMNT} /etc": IMAGE}, "it loses its changes"),
            (ASKED | {CONF: READONLY + "[etc]\ntransient=true\n"}, "it keeps changes"),
        ],
    ),
    "a-changed-object-is-not-read": OnHost(
        run=lambda host, _: root.test_a_changed_object_is_not_read(host, read_on(host)),
        broken=[
            (VERITY | {f"{FINDMNT} / ": ETC}, "/ is xfs, not the commit's image"),
            (VERITY | {f"{FINDMNT} / ": IMAGE.replace(",verity=require", "")}, "without verity=require"),
            (VERITY | {f"sh -c {roots.IMAGES}": ""}, "there is no image of"),
            (VERITY | {"losetup": CFS.replace(COMMIT, "0" * 64) + "\n"}, "which is not that of"),
            (VERITY | {f"python3 - {CFS}": None}, "fs-verity is not on for"),
            (VERITY | {f"python3 - {CFS}": "6a" * 32 + "\n"}, "the commit was made with the image 5f5f"),
            (VERITY | {"cat /usr/share/zzz": "changed"}, "/usr/share/zzz was read, although"),
        ],
    ),
}
