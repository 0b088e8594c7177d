"""A plain ostree host. Before ostree 2023 there is no JSON, so facts are read where libostree keeps them, not
from human text.
"""

import configparser
import re
from collections.abc import Sequence

from imagebuild.smoke.hosts.commands import (
    DEPLOY_SECONDS,
    Deployment,
    HostRecord,
    RootShell,
    UnavailableError,
    rows_of,
)
from imagebuild.tools.ssh import Answer

REPO = "--repo=/sysroot/ostree/repo"
NOTHING = 77
# `ostree admin set-default` is that old (tests/data/fedora/ostree-2022.7-measured.csv, set-default)
SET_DEFAULT = (2023, 6)
HISTORY = 20
# ostree(1), "Deployments": .../deploy/OSNAME/deploy/COMMIT.SERIAL
PLACE = re.compile(r"/deploy/[0-9a-f]{64}\.\d+$")
NO_LAYERING = "a plain ostree host cannot layer packages"
# what `set-default 1` does, through libostree's own API; `ostree admin deploy SHA` would make the origin a
# bare checksum
SWAP = """
import gi
gi.require_version("OSTree", "1.0")
from gi.repository import OSTree
sysroot = OSTree.Sysroot.new_default()
if hasattr(sysroot, "initialize_with_mount_namespace"):
    sysroot.initialize_with_mount_namespace(None)  # /sysroot may be read-only
sysroot.load(None)
found = sysroot.get_deployments()
if len(found) < 2:
    raise SystemExit("there is no deployment to go back to")
sysroot.write_deployments(found[1:] + found[:1], None)
"""


class OstreeHost:
    """Commands of a host that is upgraded with `ostree admin`."""

    @property
    def name(self) -> str:
        """What a person would type before the verb."""
        return "ostree admin"

    def deployments(self, shell: RootShell) -> Sequence[Deployment]:
        """Read the boot loader's entries (the highest `version` is the default one) and what their `ostree=`
        links lead to.
        """
        entries = shell.succeeds("sh", "-c", "cat /boot/loader/entries/*.conf")
        # every entry has one `version` and one `options` (tests/data/fedora/ostree-2022.7-measured.csv, bls-
        # entry)
        versions = [int(each) for each in re.findall(r"^version (\d+)$", entries, re.MULTILINE)]
        options = [
            _words(each).get("ostree", "") for each in re.findall(r"^options (.*)$", entries, re.MULTILINE)
        ]
        assert len(versions) == len(options), f"the boot loader's entries are not whole: {entries}"
        links = [
            f"/sysroot{link}" for _, link in sorted(zip(versions, options, strict=True), reverse=True) if link
        ]
        places = shell.succeeds("readlink", "-f", *links).split() if links else []
        running = _running(shell)
        return [_deployment(shell, place, booted=place == running) for place in places if PLACE.search(place)]

    def upgrade(self, shell: RootShell) -> Answer:
        """Upgrade; the exit status is 0 also when there is nothing to do, so deployments are compared."""
        before = self.deployments(shell)
        answer = shell.run("ostree", "admin", "upgrade", seconds=DEPLOY_SECONDS)
        if answer.status == 0 and self.deployments(shell) == before:
            return Answer(
                status=NOTHING, output=answer.output, complaint=answer.complaint, seconds=answer.seconds
            )
        return answer

    def stage(self, shell: RootShell) -> Answer:
        """Upgrade into a staged deployment (ostree-admin-upgrade(1), --stage)."""
        return shell.run("ostree", "admin", "upgrade", "--stage", seconds=DEPLOY_SECONDS)

    def rollback(self, shell: RootShell) -> None:
        """Swap the order of the deployments: nothing is deployed, the origins stay."""
        found = re.search(r"Version: '(\d+)\.(\d+)", shell.succeeds("ostree", "--version"))
        version = (int(found.group(1)), int(found.group(2))) if found else (0, 0)
        if version >= SET_DEFAULT:
            shell.succeeds("ostree", "admin", "set-default", "1", seconds=DEPLOY_SECONDS)
        else:
            shell.succeeds("python3", "-", stdin=SWAP.encode(), seconds=DEPLOY_SECONDS)

    def deploy(self, shell: RootShell, *, commit: str = "", version: str = "") -> None:
        """Deploy through the upgrader with an override: it pulls the commit, and the origin keeps the ref."""
        wanted = commit or self._find(shell, version)
        shell.succeeds(
            "ostree",
            "admin",
            "upgrade",
            f"--override-commit={wanted}",
            "--allow-downgrade",
            seconds=DEPLOY_SECONDS,
        )

    def _find(self, shell: RootShell, version: str) -> str:
        """Return the commit of a version in the history of the remote's ref."""
        refspec = self.deployments(shell)[0].origin
        for depth in range(1, HISTORY):
            shell.succeeds(
                "ostree", REPO, "pull", "--commit-metadata-only", f"--depth={depth}", *refspec.split(":")
            )
            commit = shell.succeeds("ostree", REPO, "rev-parse", refspec + "^" * depth).strip()
            if _version(shell, commit) == version:
                return commit
        raise AssertionError(f"{refspec} has no version {version} among its newest {HISTORY}")

    def switch(self, shell: RootShell, refspec: str) -> None:
        """Deploy another ref, older or newer (ostree-admin-switch(1); ot-admin-builtin-switch.c, 2022.7)."""
        shell.succeeds("ostree", "admin", "switch", refspec, seconds=DEPLOY_SECONDS)

    def discard(self, shell: RootShell) -> None:
        """Remove the first deployment, which is not the booted one."""
        shell.succeeds("ostree", "admin", "undeploy", "0", seconds=DEPLOY_SECONDS)

    def install(self, shell: RootShell, package: str) -> None:
        """There is no layering."""
        del shell
        raise UnavailableError(f"{NO_LAYERING}: {package}")

    def uninstall(self, shell: RootShell, package: str) -> None:
        """There is no layering."""
        del shell
        raise UnavailableError(f"{NO_LAYERING}: {package}")


def _words(line: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in line.split())


def _running(shell: RootShell) -> str:
    """Return the deployment that / is: the same directory, as libostree finds it (ostree-sysroot.c); the
    kernel's link may be gone by now.
    """
    listing = shell.succeeds(
        "sh", "-c", 'stat -L -c "%d:%i %n" / /sysroot/ostree/deploy/*/deploy/*.*'
    ).splitlines()
    rows = [line.partition(" ")[::2] for line in listing]
    found = [name for identity, name in rows[1:] if identity == rows[0][0] and PLACE.search(name)]
    if found:
        return found[0]
    # / is an overlay (composefs): what its initramfs, or a soft reboot, has noted is known to ostree itself,
    # since 2025.3 for programs, too
    status = shell.run("ostree", "admin", "status", "--json")
    if status.status == 0:
        return _noted(status.output)
    # then nothing has been deployed since, or nobody can tell
    link = _words(shell.succeeds("cat", "/proc/cmdline")).get("ostree", "")
    return shell.run("readlink", "-f", f"/sysroot{link}").output.strip() if link else ""


def _noted(status: str) -> str:
    """Return the deployment that ostree says is booted, from its status in JSON; empty for none (2026.4,
    ot-admin-builtin-status.c, deployment_write_json).
    """
    return next(
        (
            f"/sysroot/ostree/deploy/{each['stateroot']}/deploy/{each['checksum']}.{each['serial']}"
            for each in rows_of(status, "deployments", "ostree admin status --json")
            if each.get("booted") and {"stateroot", "checksum", "serial"} <= set(each)
        ),
        "",
    )


def _deployment(shell: RootShell, place: str, *, booted: bool) -> Deployment:
    commit = place.rpartition("/")[2].partition(".")[0]
    origin = configparser.ConfigParser()
    origin.read_string(shell.succeeds("cat", f"{place}.origin"))
    return Deployment(
        commit=commit,
        version=_version(shell, commit),
        origin=origin.get("origin", "refspec", fallback=""),
        booted=booted,
    )


def _version(shell: RootShell, commit: str) -> str:
    # printed as GVariant text, in quotes; a commit without one is an error
    answer = shell.run("ostree", REPO, "show", "--print-metadata-key=version", commit)
    return answer.output.strip().strip("'") if answer.status == 0 else ""


RECORD = HostRecord(
    name="ostree",
    program="usr/bin/ostree",
    commands=OstreeHost(),
    cannot_layer=NO_LAYERING,
    page={
        "Upgrade": ("ostree admin upgrade", "systemctl reboot"),
        "Go back (OSTree 2023.6 and later; or choose the second entry of the boot menu)": (
            "ostree admin set-default 1",
            "systemctl reboot",
        ),
        "Go to exactly this release": (
            "ostree admin upgrade --override-commit={commit} --allow-downgrade",
            "systemctl reboot",
        ),
    },
)
