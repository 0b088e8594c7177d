"""%onerror: what a kickstart has run when its installation fails, in the live system and nowhere else.

As under Anaconda outside of the installed system, before anybody is asked (pykickstart 3.78, sections.py,
OnErrorScriptSection); here in the tree's userland without the disk, and without the capabilities that could
reach it. The log so far is /run/install/install.log; what the scripts print is recorded there.
"""

import contextlib
from collections.abc import Iterator

from imagebuild import steplog
from imagebuild.deploy.configure import run_script
from imagebuild.deploy.live_system import LiveSystem
from imagebuild.deploy.local import local_target
from imagebuild.deploy.prescript import without_includes
from imagebuild.errors import BuildError
from imagebuild.kickstart import source as language
from imagebuild.kickstart.scripts import error_scripts
from imagebuild.live.terminal import Terminal


@contextlib.contextmanager
def executed(live: LiveSystem, text: str, syntax: str, name: str, terminal: Terminal) -> Iterator[None]:
    """Run the %onerror sections of a kickstart when the block fails; the failure goes on."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            _run(live, text, syntax, name, terminal)
        raise


def _run(live: LiveSystem, text: str, syntax: str, name: str, terminal: Terminal) -> None:
    """Run the sections one after the other; what fails in them hides nothing of what failed before."""
    # what could not be read has its sections all the same
    scripts = error_scripts(language.read(without_includes(text), syntax, name, complete=False))
    if not scripts:
        return
    terminal.say(f"the installation failed: running {len(scripts)} %onerror section(s) of {name}")
    try:
        with local_target(live, None, None) as place:
            for script in scripts:
                run_script(script, place, None, "%onerror")
    except BuildError as error:
        steplog.note(f"%onerror failed itself: {error.message}")
        terminal.say(f"%onerror failed itself: {error.message}")
