"""An rpm-ostree host, with or without the `atomic` command (which passes `atomic host …` through to rpm-ostree)."""

import json

from imagebuild.hosts import Deployment, Run


class RpmOstreeHost:
    """Commands of a host that is upgraded with `rpm-ostree`."""

    def booted(self, run: Run) -> Deployment:
        """Return the booted deployment of `rpm-ostree status --json`; with layered packages `base-checksum` is the tree's commit."""
        deployments = json.loads(run(["rpm-ostree", "status", "--json"]))["deployments"]
        found: dict[str, str] = next((each for each in deployments if each.get("booted")), {})
        commit = found.get("base-checksum") or found.get("checksum", "")
        origin = found.get("origin") or found.get("container-image-reference", "")
        return Deployment(commit=commit, version=found.get("base-version") or found.get("version", ""), origin=origin)
