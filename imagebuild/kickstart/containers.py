"""Kickstarts that install a container image: read, understood, and answered.

Anaconda has `ostreecontainer` since Fedora 38 and RHEL 9.2, `bootc` since Fedora 43 and RHEL 10 (pykickstart
3.78, commands/ostreecontainer.py, commands/bootc.py); what they install lies in a registry, an OCI archive or
a container storage, and not in an OSTree repository.
"""

from imagebuild.kickstart.problems import Problems
from imagebuild.kickstart.reading import Reading

COMMANDS = ("ostreecontainer", "bootc")
HINT = (
    "install the commit from an OSTree repository with `ostreesetup`; the Anaconda of an ISO that the lorax"
    " backend makes executes it (`imagebuild iso add-kickstart`)"
)


def lines(reading: Reading) -> list[tuple[str, int]]:
    """Return (command, line) of what installs a container image."""
    return [(written.name, written.line) for written in reading.commands if written.name in COMMANDS]


def refuse(reading: Reading, problems: Problems) -> None:
    """Answer each of them with its line: whether pykickstart could read it or not."""
    for name, line in lines(reading):
        problems.add(line, f"{name}: it installs from a registry: not by this executor yet", HINT)
