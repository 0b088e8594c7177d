"""How the host's root file system was put together: what its tree asked for, and what is mounted."""

import configparser
import re
from dataclasses import dataclass

from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.host.remotes import Remotes

# where ostree-prepare-root reads it from: the second, where it is there, instead of the first
# (otcore-prepare-root.c, otcore_load_config: a key file is loaded over the one before, which empties it)
CONFIGURATIONS = ("/usr/lib/ostree/prepare-root.conf", "/etc/ostree/prepare-root.conf")
# an older place of sysroot.readonly alone (ostree.repo-config(5), "[sysroot]")
REPO_CONFIG = "/sysroot/ostree/repo/config"
TRUE = ("true", "1", "yes")
REPO = "/sysroot/ostree/repo"
# a file that nothing needs to boot: with content of its own, of less than 16 blocks of 512 bytes
SMALL_FILES = """find "$1" -xdev -type f -size +0 -size -16 | sort | tail -n 1"""
# what a deployment of a commit has as its image (ostree's otcore.h, OSTREE_COMPOSEFS_NAME)
IMAGES = """ls -d /sysroot/ostree/deploy/*/deploy/"$1".*/.ostree.cfs"""
# what kernels that need one mount it through (libcomposefs, lcfs-mount.c, setup_loopback)
LOOPS = "losetup --list --noheadings --output BACK-FILE"
# fsverity.rst, FS_IOC_MEASURE_VERITY: _IOWR('f', 134, struct fsverity_digest); the kernel's own word
MEASURE = """
import fcntl, os, struct, sys
answer = bytearray(struct.pack("HH", 0, 64) + bytes(64))
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0xC0046686, answer)
print(answer[4 : 4 + struct.unpack_from("HH", answer)[1]].hex())
"""
# ends well whatever the places do; the last one that is named proves that it looked at all
WRITE = """# what can be written
for place do
    if file=$(mktemp -p "$place" .imagebuild.XXXXXX 2>/dev/null); then rm -f "$file"; echo "$place"; fi
done
echo looked
"""
DIGEST_KEY = "ostree.composefs.digest.v0"


@dataclass(frozen=True, kw_only=True)
class Mount:
    """What is mounted at a place (findmnt(8)): kind of file system, source, and its options."""

    fstype: str
    source: str
    options: frozenset[str]


class Roots(Remotes):
    """What the tree asks of ostree-prepare-root, and what came of it."""

    def asked_of_root(self, group: str, key: str) -> str:
        """Return a value of the tree's prepare-root.conf, in small letters; empty where it says nothing."""
        parsed = configparser.ConfigParser(interpolation=None)
        texts = (self.read(path) for path in reversed(CONFIGURATIONS))
        parsed.read_string(next((text for text in texts if text is not None), ""))
        return parsed.get(group, key, fallback="").strip().lower()

    def wants_readonly_sysroot(self) -> bool:
        """Whether /sysroot is to be read-only: composefs makes that the default (ostree-prepare-root.c)."""
        asked = self.asked_of_root("sysroot", "readonly")
        if asked:
            return asked in TRUE
        parsed = configparser.ConfigParser(interpolation=None)
        parsed.read_string(self.read(REPO_CONFIG) or "")
        legacy = parsed.get("sysroot", "readonly", fallback="").lower() in TRUE
        return legacy or self.asked_of_root("composefs", "enabled") in ("verity", "signed", *TRUE)

    def has_transient_etc(self) -> bool:
        """Whether /etc is to begin as the tree's at every boot; without a read-only /sysroot nobody looks at
        that (ostree-prepare-root.c).
        """
        return self.asked_of_root("etc", "transient") in TRUE and self.wants_readonly_sysroot()

    def mount_at(self, place: str) -> Mount | None:
        """Return what is mounted at exactly this place; None for nothing."""
        answer = self.run(
            "findmnt", "--noheadings", "--raw", "--mountpoint", place, "-o", "FSTYPE,SOURCE,OPTIONS"
        )
        rows = [line.split(" ") for line in answer.output.splitlines() if line.strip()]
        if answer.status != 0 or not rows or len(rows[-1]) < 3:
            return None
        # the last one covers the others
        fstype, source, options = rows[-1][:3]
        return Mount(fstype=fstype, source=source, options=frozenset(options.split(",")))

    def can_write(self, directory: str) -> bool:
        """Whether root can make a file in a directory."""
        return (
            self.run(
                "sh", "-c", 'file=$(mktemp -p "$1" .imagebuild.XXXXXX) && rm "$file"', "sh", directory
            ).status
            == 0
        )

    def writable(self, *places: str) -> list[str]:
        """Return those directories of `places` in which root can make a file."""
        *found, looked = self.succeeds("sh", "-c", WRITE, "sh", *places).split() or [""]
        assert looked == "looked", "nobody could look which directories can be written"
        return [place for place in places if place in found]

    def small_file(self) -> str:
        """Return the path of a small file of the tree that nothing needs to boot."""
        return self.succeeds("sh", "-c", SMALL_FILES, "sh", "/usr/share").strip()

    def object_of(self, commit: str, path: str) -> str:
        """Return the checksum of the object that a file of a commit is."""
        # -C prints the object's checksum before the path (ostree-ls(1))
        return self.succeeds("ostree", f"--repo={REPO}", "ls", "-C", commit, path).split()[-2]

    def reason_not_the_image_of(self, commit: str) -> str | None:
        """Return what says that / is another image than the one that was made of a commit, or that nobody
        can tell; None when it is that one.
        """
        images = self.run("sh", "-c", IMAGES, "sh", commit).output.split()
        if not images:
            return f"there is no image of {commit} beside its deployment"
        # kernels that read it without a loop device show none; older ones show all that are in use
        shown = [
            line for line in self.run(*LOOPS.split()).output.splitlines() if line.endswith(".ostree.cfs")
        ]
        if shown and not any(f"/deploy/{commit}." in line for line in shown):
            return f"/ is the image {shown[-1].strip()}, which is not that of {commit}"
        measured = self.run("python3", "-", images[0], stdin=MEASURE.encode())
        if measured.status == 127:
            raise NotTestedError("the host has no python3, which asks the kernel for an image's digest")
        if measured.status != 0:
            return f"fs-verity is not on for {images[0]}: {measured.complaint.strip()[-200:]}"
        recorded = self.run("ostree", f"--repo={REPO}", "show", f"--print-metadata-key={DIGEST_KEY}", commit)
        # printed as GVariant text: [byte 0x12, 0x34, …]; a commit without one is an error
        digest = "".join(re.findall(r"0x([0-9a-f]{2})", recorded.output)) if recorded.status == 0 else ""
        if digest and digest != measured.output.strip():
            return (
                f"the commit was made with the image {digest}, and {images[0]} is {measured.output.strip()}"
            )
        return None
