"""An rpm-ostree host, driven by `rpm-ostree` itself or by `atomic host`, which passes on to it (measured on
rpm-ostree 2018.7).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imagebuild.smoke.hosts.commands import (
    DEPLOY_SECONDS,
    Deployment,
    HostRecord,
    RootShell,
    names_of,
    rows_of,
)
from imagebuild.tools.ssh import Answer

NOTHING = 77
# the first call after a boot may fail while D-Bus starts the daemon; another client may hold the transaction
AGAIN = ("Timeout was reached", "System transaction in progress", "Connection timed out")
ATTEMPTS, PAUSE_SECONDS = 4, 10.0


@dataclass(frozen=True)
class RpmOstreeHost:
    """Commands of a host that is upgraded with `rpm-ostree`; `client` begins a command that changes
    something.
    """

    name: str = "rpm-ostree"
    client: tuple[str, ...] = ("rpm-ostree",)

    def deployments(self, shell: RootShell) -> Sequence[Deployment]:
        """Read `rpm-ostree status --json`, whose deployments are in boot order."""
        answer = _patiently(shell, "rpm-ostree", "status", "--json")
        assert answer.status == 0, f"`rpm-ostree status --json` ended with {answer.status}: {_words(answer)}"
        return [
            _deployment(each) for each in rows_of(answer.output, "deployments", "rpm-ostree status --json")
        ]

    def upgrade(self, shell: RootShell) -> Answer:
        """Upgrade; the option is understood by every version (a hidden alias since it was renamed)."""
        # atomic's own parser wants what is not its own behind `--`
        separator = [] if self.client == ("rpm-ostree",) else ["--"]
        return _patiently(shell, *self.client, "upgrade", *separator, "--upgrade-unchanged-exit-77")

    def stage(self, shell: RootShell) -> Answer:
        """Upgrade: since 2018.8 that stages by itself."""
        return self.upgrade(shell)

    def rollback(self, shell: RootShell) -> None:
        """Swap the order of the deployments."""
        self._must(shell, "rollback")

    def deploy(self, shell: RootShell, *, commit: str = "", version: str = "") -> None:
        """Deploy a commit or version of the ref."""
        self._must(shell, "deploy", commit or version)

    def switch(self, shell: RootShell, refspec: str) -> None:
        """Rebase to another ref (rpm-ostree(1), rebase)."""
        self._must(shell, "rebase", refspec)

    def discard(self, shell: RootShell) -> None:
        """Remove the pending deployment."""
        answer = _patiently(shell, "rpm-ostree", "cleanup", "-p")
        assert answer.status == 0, f"`rpm-ostree cleanup -p` ended with {answer.status}: {_words(answer)}"

    def install(self, shell: RootShell, package: str) -> None:
        """Layer a package."""
        self._must(shell, "install", package)

    def uninstall(self, shell: RootShell, package: str) -> None:
        """Remove a layered package."""
        self._must(shell, "uninstall", package)

    def _must(self, shell: RootShell, *words: str) -> None:
        answer = _patiently(shell, *self.client, *words)
        command = " ".join((*self.client, *words))
        # `deploy` ended with 77 when nothing changed until rpm-ostree 2019.6
        assert answer.status != NOTHING, f"`{command}` found nothing to do"
        assert answer.status == 0, f"`{command}` ended with {answer.status}: {_words(answer)}"


def _patiently(shell: RootShell, *argv: str) -> Answer:
    for _ in range(ATTEMPTS - 1):
        answer = shell.run(*argv, seconds=2 * DEPLOY_SECONDS)
        if answer.status == 0 or not any(text in answer.complaint + answer.output for text in AGAIN):
            return answer
        time.sleep(PAUSE_SECONDS)
    return shell.run(*argv, seconds=2 * DEPLOY_SECONDS)


def _words(answer: Answer) -> str:
    return (answer.complaint or answer.output).strip()[-500:]


def _deployment(found: dict[str, Any]) -> Deployment:
    """Return what one entry says; with layered packages `checksum` is the client's own commit and
    `base-checksum` the tree's.
    """
    return Deployment(
        commit=str(found.get("base-checksum") or found.get("checksum") or ""),
        version=str(found.get("base-version") or found.get("version") or ""),
        # hosts of container images have no refspec
        origin=str(found.get("origin") or found.get("container-image-reference") or "").removeprefix(
            "ostree://"
        ),
        booted=bool(found.get("booted")),
        requested=names_of(found.get("requested-packages") or found.get("packages")),
    )


ATOMIC = RpmOstreeHost("atomic host", ("atomic", "host"))
RECORD = HostRecord(
    name="rpm-ostree",
    program="usr/bin/rpm-ostree",
    commands=RpmOstreeHost(),
    by_atomic=ATOMIC,
    page={
        "Upgrade": ("rpm-ostree upgrade", "systemctl reboot"),
        "Go back": ("rpm-ostree rollback", "systemctl reboot"),
        "Go to exactly this release": ("rpm-ostree deploy {version}", "systemctl reboot"),
    },
)
