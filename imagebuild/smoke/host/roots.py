"""How the host's root file system was put together: what its tree asked for, and what is mounted."""

import configparser
from dataclasses import dataclass

from imagebuild.smoke.host.remotes import Remotes

# where ostree-prepare-root reads it from, the second over the first (ostree-prepare-root(1), "Configuration")
CONFIGURATIONS = ("/usr/lib/ostree/prepare-root.conf", "/etc/ostree/prepare-root.conf")
# an older place of sysroot.readonly alone (ostree.repo-config(5), "[sysroot]")
REPO_CONFIG = "/sysroot/ostree/repo/config"
TRUE = ("true", "1", "yes")
REPO = "/sysroot/ostree/repo"
# another file takes the object's place, and the object comes back: an inode that is open is not changed
REPLACE = """printf changed > "$1.new" && chmod --reference="$1" "$1.new"
mv "$1" "$1.kept" && mv "$1.new" "$1" """
RESTORE = """mv "$1.kept" "$1" """
SMALL_FILES = """find "$1" -xdev -type f -size +0 -size -16 | sort | tail -n 1"""


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
        for path in CONFIGURATIONS:
            parsed.read_string(self.read(path) or "")
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

    def reads_changed_object(self, commit: str) -> str | None:
        """Change the object of a file of the commit, and read the file: return its path when that can be
        done, None when it is an error. The object is as it was in the end.
        """
        path = self.succeeds("sh", "-c", SMALL_FILES, "sh", "/usr/share").strip()
        # -C prints the object's checksum before the path (ostree-ls(1))
        line = self.succeeds("ostree", f"--repo={REPO}", "ls", "-C", commit, path)
        checksum = line.split()[-2]
        place = f"{REPO}/objects/{checksum[:2]}/{checksum[2:]}.file"
        self._in_sysroot("sh", "-c", REPLACE, "sh", place)
        try:
            self.succeeds("sh", "-c", "echo 3 > /proc/sys/vm/drop_caches")
            answer = self.run("cat", path, quiet=True)
        finally:
            self._in_sysroot("sh", "-c", RESTORE, "sh", place)
        return path if answer.status == 0 else None
