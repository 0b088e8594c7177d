"""The installer's first line: who starts it is imagebuild-installer.service of the live system."""

import sys
from pathlib import Path

from imagebuild import steplog
from imagebuild.deploy.live_system import live_system
from imagebuild.deploy.local import INSTALL
from imagebuild.errors import BuildError
from imagebuild.live import arguments, install, shells
from imagebuild.live.terminal import Terminal
from imagebuild.tools import command

LOG = INSTALL / "install.log"


def main() -> int:
    """Install or offer a shell, then end the live system as the kickstart says. Returns only when that cannot
    be done.
    """
    if sys.argv[1:] == ["--check"]:
        # the build of the ISO asks whether the tree's own Python can run this
        return 0
    live = live_system()
    terminal = Terminal()
    with steplog.writing_to(LOG):
        try:
            asked = arguments.parse(Path("/proc/cmdline").read_text())
            if asked.sshd:
                shells.start_sshd(terminal)
            if asked.rescue:
                shells.rescue(terminal)
                return _end("reboot")
            return _end(install.run(live, asked, terminal) or _ask_how(terminal))
        except BuildError as error:
            _fail(terminal, error.message, error.hint)
        except Exception as error:  # a person must see it, whatever it is
            _fail(terminal, f"this is a bug: {error!r}", f"the log is {LOG}")
        try:
            shells.after_failure(terminal)
        except Exception as error:  # no console to ask on: it stays as it is, for whoever looks at the screen
            terminal.say(f"no shell can be offered: {error!r}")
            return 1
        return _end("reboot")


def _ask_how(terminal: Terminal) -> str:
    terminal.ask("Press Enter to reboot")
    return "reboot"


def _fail(terminal: Terminal, message: str, hint: str) -> None:
    terminal.say(f"INSTALLATION FAILED: {message}" + (f"\n{hint}" if hint else "") + f"\nThe log is {LOG}")


def _end(how: str) -> int:
    command.run(["systemctl", how])
    return 0


if __name__ == "__main__":
    sys.exit(main())
