"""Disks, volumes and mounts of the host, and container storage on them."""

import re

from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.host.programs import Programs
from imagebuild.smoke.storage.registry import PROFILES


class Disks(Programs):
    """What lies where."""

    def storage_problem(self, storage: str) -> str | None:
        """Return what is wrong with container storage as a profile promises it; None when nothing is."""
        profile = PROFILES.get(storage)
        if profile is None:
            raise NotTestedError(f"this imagebuild cannot check the storage profile {storage}")
        return profile.problem(lambda argv: self.succeeds(*argv))

    def root_takes_all(self, storage: str) -> bool:
        """Whether a profile keeps containers on the root file system, which takes the whole disk."""
        profile = PROFILES.get(storage)
        return profile is not None and profile.root_takes_all

    def storage_layout(self) -> str:
        """Return what volumes and mounts there are, for a comparison of two boots."""
        volumes = self.run(
            "lvs", "--noheadings", "--units", "b", "--nosuffix", "-o", "vg_name,lv_name,lv_size,vg_free"
        ).output
        disks = self.succeeds(
            "lsblk", "--noheadings", "--list", "--bytes", "-o", "NAME,SIZE,TYPE", "/dev/" + self.root_disk()
        )
        mounts = self.succeeds("findmnt", "--noheadings", "--raw", "-o", "TARGET,SOURCE,FSTYPE")
        # which deployment is mounted changes with every release, and what containers have mounted now is not
        # the host's layout
        rows = [re.sub(r"\[\S*\]", "", line) for line in sorted(mounts.splitlines()) if " /dev/" in line]
        kept = [row for row in rows if "/containers/" not in row and "/docker/" not in row]
        return "\n".join([*sorted(volumes.splitlines()), *sorted(disks.splitlines()), *kept])

    def root_disk(self) -> str:
        """Return the name of the disk that / lies on, such as vda (lsblk(8), --inverse)."""
        source = self.succeeds("findmnt", "--noheadings", "-o", "SOURCE", "/sysroot").split("[")[0].strip()
        rows = self.succeeds(
            "lsblk", "--noheadings", "--list", "--inverse", "-o", "NAME,TYPE", source
        ).splitlines()
        return next((row.split()[0] for row in rows if row.split()[1] == "disk"), "")
