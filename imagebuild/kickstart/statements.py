"""What a kickstart says that is asked before there is a Plan, by what chooses the disk and asks a person.

pykickstart 3.78, commands/*.py; versions differ in the commands and options that they have.
"""

from dataclasses import dataclass

from pykickstart.constants import CLEARPART_TYPE_ALL, KS_REBOOT, KS_SHUTDOWN

from imagebuild.kickstart import encryption, handlers
from imagebuild.kickstart.reading import Reading


@dataclass(frozen=True, kw_only=True)
class TreeSource:
    """What `ostreesetup` in that line installs, and from where."""

    url: str
    ref: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Statements:
    """What is said: `disks` are those that are named, without repetitions; `erases_all` is `clearpart --all`.

    `tells_log_in`: an account without a password is locked, so it says something too. `takes_ssh_keys`: this
    version of the language has `sshkey`. `ends_with`: reboot, poweroff, or empty for neither.
    `lacks_passphrase`: the lines of what is encrypted, and neither a passphrase nor a TPM opens.
    """

    source: TreeSource | None
    disks: tuple[str, ...]
    erases_all: bool
    names_host: bool
    tells_log_in: bool
    non_interactive: bool
    takes_ssh_keys: bool
    ends_with: str
    lacks_passphrase: tuple[int, ...] = ()


def statements_of(reading: Reading) -> Statements:
    """Return what a kickstart that was read says."""
    handler = reading.handler
    setup = handler.ostreesetup
    return Statements(
        source=TreeSource(url=setup.url, ref=setup.ref, line=setup.lineno) if setup.seen else None,
        disks=_disks(reading),
        erases_all=handler.clearpart.type == CLEARPART_TYPE_ALL,
        names_host=any(network.hostname for network in handlers.data(handler, "network")),
        tells_log_in=bool(
            handler.rootpw.seen or handlers.data(handler, "user") or handlers.data(handler, "sshkey")
        ),
        non_interactive=bool(getattr(handler.displaymode, "nonInteractive", False)),
        # Fedora's 21 and Red Hat's 7 have no such command
        takes_ssh_keys="sshkey" in handler.commands,
        ends_with={KS_REBOOT: "reboot", KS_SHUTDOWN: "poweroff"}.get(handler.reboot.action, ""),
        lacks_passphrase=tuple(encryption.lacking(handler)),
    )


def _disks(reading: Reading) -> tuple[str, ...]:
    """Return the disks of ignoredisk --only-use, clearpart --drives, part --ondisk, bootloader.

    Several of them are refused when the kickstart is planned (disk_names.py).
    """
    handler = reading.handler
    loader = handler.bootloader
    names = [
        *handler.ignoredisk.onlyuse,
        *handler.clearpart.drives,
        *(part.disk for part in handler.partition.partitions if part.disk),
        *([loader.bootDrive] if getattr(loader, "bootDrive", "") else []),
        *(getattr(loader, "driveorder", None) or []),
    ]
    return tuple(dict.fromkeys(names))
