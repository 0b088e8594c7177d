"""What an installation says, and how far it got by that: its console, and Anaconda's log beside it."""

from imagebuild.tools import anaconda_log
from imagebuild.tools.console import installer_phase
from imagebuild.tools.qemu.running import Running

# in the evidence: the console, beside it Anaconda's log, and how the entry was started
SERIAL, LOG, KEYS = "serial.log", "anaconda.log", "menu.txt"


def said(running: Running) -> str:
    """Return all that an installation says: its console, then what Anaconda logged."""
    log = running.places.serial.with_name(LOG)
    return running.console() + (f"\n{log.read_bytes().decode('utf-8', 'replace')}" if log.exists() else "")


def phase(text: str) -> str:
    """Return the last phase that console and log show."""
    return anaconda_log.phase(text) or installer_phase(text)
