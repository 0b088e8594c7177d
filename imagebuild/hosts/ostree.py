"""A plain ostree host. Before ostree 2023 there is no JSON, so facts are read where libostree keeps them, not from human text."""

import configparser
import re

from imagebuild.hosts import Deployment, Run


class OstreeHost:
    """Commands of a host that is upgraded with `ostree admin`."""

    def booted(self, run: Run) -> Deployment:
        """Return the deployment that the kernel argument `ostree=` names (ostree(1), "Deployments")."""
        arguments = dict(word.partition("=")[::2] for word in run(["cat", "/proc/cmdline"]).split())
        boot_link = arguments.get("ostree", "")
        # .../deploy/OSNAME/deploy/COMMIT.SERIAL
        place = run(["readlink", "-f", f"/sysroot{boot_link}"]).strip() if boot_link else ""
        match = re.search(r"/deploy/([0-9a-f]{64})\.\d+$", place)
        if match is None:
            return Deployment(commit="", version="", origin="")
        origin = configparser.ConfigParser()
        origin.read_string(run(["cat", f"{place}.origin"]))
        version = run(["ostree", "--repo=/sysroot/ostree/repo", "show", "--print-metadata-key=version", match.group(1)])
        return Deployment(commit=match.group(1), version=version.strip().strip("'"), origin=origin.get("origin", "refspec", fallback=""))
