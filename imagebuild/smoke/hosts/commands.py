"""What a kind of host is: its record, and the commands by which it does what a criterion asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from imagebuild import json_text
from imagebuild.tools.ssh import Answer

# seconds at native speed for what writes a deployment: it checks out a tree, merges /etc and writes the boot
# loader's menu
DEPLOY_SECONDS = 150.0


class UnavailableError(Exception):
    """This kind of host cannot do that at all; the text says why."""


class RootShell(Protocol):
    """A host that runs programs as root."""

    def run(self, *argv: str, stdin: bytes = b"", seconds: float = ...) -> Answer:
        """Run a program that may fail."""

    def succeeds(self, *argv: str, stdin: bytes = b"", seconds: float = ...) -> str:
        """Run a program that must succeed (AssertionError otherwise) and return what it printed."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployment of a host. `commit` is the tree's, also below layered packages; `requested` are those
    packages.
    """

    commit: str
    version: str
    origin: str
    booted: bool = False
    requested: tuple[str, ...] = ()


class HostCommands(Protocol):
    """What differs between kinds of host. What the host refuses is an AssertionError with its own words."""

    @property
    def name(self) -> str:
        """What a person would type before the verb."""

    def deployments(self, shell: RootShell) -> Sequence[Deployment]:
        """Return the deployments in the order in which they would be booted: the first is the next boot's."""

    def upgrade(self, shell: RootShell) -> Answer:
        """Upgrade to what the remote's ref points at now; `status` 77 means that there was nothing to do."""

    def rollback(self, shell: RootShell) -> None:
        """Make the deployment before this one the next boot's."""

    def deploy(self, shell: RootShell, *, commit: str = "", version: str = "") -> None:
        """Make a certain commit or version of the ref the next boot's, older ones too."""

    def stage(self, shell: RootShell) -> Answer:
        """Upgrade, but have the new deployment finished when the host goes down (ostree(1), "Staged
        deployments").
        """

    def switch(self, shell: RootShell, refspec: str) -> None:
        """Make what another ref (REMOTE:REF) points at the next boot's, and follow that ref from then on."""

    def discard(self, shell: RootShell) -> None:
        """Remove the deployment that waits for the next boot."""

    def install(self, shell: RootShell, package: str) -> None:
        """Layer a package. Raises UnavailableError."""

    def uninstall(self, shell: RootShell, package: str) -> None:
        """Remove a layered package. Raises UnavailableError."""


def booted(deployments: Sequence[Deployment]) -> Deployment:
    """Return the booted one; an empty deployment when the host runs none."""
    nothing = Deployment(commit="", version="", origin="")
    return next((deployment for deployment in deployments if deployment.booted), nothing)


@dataclass(frozen=True, kw_only=True)
class HostRecord:
    """A kind of host. `program` is a path of its tree that tells it from the kinds that come after it.

    `commands` is how it is told what to do, `by_atomic` how it is told through the `atomic` command where its
    tree has that. `page` maps a heading of the release's page to commands; `{version}` and `{commit}` are the
    release's. `cannot_layer` says why it cannot layer packages (None: it can).
    """

    name: str
    program: str
    commands: HostCommands
    page: Mapping[str, tuple[str, ...]]
    by_atomic: HostCommands | None = None
    cannot_layer: str | None = None

    def ways(self, *, atomic: bool = False) -> list[HostCommands]:
        """Return the ways in which it is told what to do, its own first; `atomic`: the tree has that command,
        too.
        """
        return [self.commands, *([self.by_atomic] if atomic and self.by_atomic is not None else [])]


# --- what its programs answer -------------------------------------------------------------------------------


def rows_of(text: str, name: str, program: str) -> list[dict[str, Any]]:
    """Return the objects in a list of an answer in JSON. Anything else is the host's failure, and is
    asserted.
    """
    try:
        answer = json_text.parse(text)
    except ValueError as error:
        raise AssertionError(f"`{program}` did not answer in JSON ({error}): {text[:200]!r}") from error
    rows = answer.get(name) if isinstance(answer, dict) else None
    assert isinstance(rows, list), f"`{program}` has no list of {name}: {text[:200]!r}"
    assert all(isinstance(row, dict) for row in rows), (
        f"`{program}` has other {name} than objects: {text[:200]!r}"
    )
    return rows


def names_of(value: object) -> tuple[str, ...]:
    """Return the names in a list of an answer; nothing for anything else."""
    return tuple(map(str, value)) if isinstance(value, list) else ()
