"""Arguments in, exit code out.

Exit codes: 0 all good; 1 a stage failed; 2 wrong usage or configuration; 3 only release criteria failed; 130
interrupted; `compare` and `verify` have some of their own.

What takes time to import is imported by the command that needs it: `imagebuild --help` is quick, and works on
a machine that cannot build.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from imagebuild import files
from imagebuild.cli import build, cluster, ending, image, machine, publish
from imagebuild.cli.showing import complaints, say, show_error
from imagebuild.errors import BuildError
from imagebuild.tools import temporary

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From an OSTree commit to a release you can trust.",
)
iso_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Installer ISOs.")
# what comes from the distribution, or with an extra
MODULES = {
    "gi": "apt-get install python3-gi gir1.2-ostree-1.0, or dnf install python3-gobject ostree-libs",
    "guestfs": "apt-get install python3-guestfs, or dnf install python3-libguestfs",
    "s3fs": "pip install 'imagebuild[s3]'",
    "distributed": "pip install 'imagebuild[cluster]'",
    "mako": "pip install 'imagebuild[lorax]'",
}
# in the list of commands, where the first sentence of a command's own help would be cut
SHORT = {
    "all": "Build, test and release a ref, or several.",
    "refs": "List the refs that the configurations build.",
    "release": "Release what was built and tested before.",
    "compose": "Make the next commit of a ref, if anything changed.",
    "audit": "Say which packages of a release are known to be vulnerable.",
    "promote": "Publish a release.",
    "demote": "Mark a release bad, with a signed reason.",
    "prune": "Remove releases, commits and artifacts that nothing needs.",
    "criteria": "List the release criteria.",
    "names": "Print the path of every file of a release.",
    "doctor": "Say what this machine can do, and what it lacks.",
    "status": "Show the last builds, and where the time went.",
    "head": "Be the head of a cluster.",
    "worker": "Work for a cluster's head: run steps on this machine.",
    "cluster-keys": "Make the certificates of a cluster.",
    "gc": "Remove old artifacts, and what killed builds left.",
}
# what was asked for before the command's name
_options: dict[str, bool] = {"debug": False}


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"imagebuild {version('imagebuild')}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[
        bool, typer.Option("--debug", help="show a traceback when the program itself is wrong")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """From an OSTree commit to a release you can trust."""
    del version
    _options["debug"] = debug


@iso_app.callback()
def _iso() -> None:
    """Installer ISOs."""


for _name, _command in (
    ("all", build.build_all), ("release", build.release), ("compose", build.compose),
    ("kickstart", build.kickstart), ("config", build.check_config),
    ("test", image.try_image), ("boot", image.boot), ("compare", image.compare),
    ("names", publish.names), ("verify", publish.verify), ("audit", publish.audit),
    ("promote", publish.promote),
    ("demote", publish.demote), ("prune", publish.prune),
    ("refs", build.show_refs), ("criteria", machine.show_criteria),
    ("doctor", machine.show_doctor), ("status", machine.show_status),
    ("gc", machine.collect), ("head", cluster.be_head), ("worker", cluster.be_worker),
    ("cluster-keys", cluster.make_keys), ("man", machine.show_manual),
):  # fmt: skip
    app.command(_name, short_help=SHORT.get(_name))(_command)
iso_app.command("add-kickstart", short_help="Turn an installer ISO into an unattended one.")(
    image.add_kickstart
)
app.add_typer(iso_app, name="iso")


def main() -> NoReturn:
    """Run the command line; never shows a traceback to the user, unless --debug asks for it."""
    ending.listen()
    try:
        temporary.sweep()
        temporary.adopt()
        code = _run()
    except KeyboardInterrupt:
        ending.end_everything()
        complaints.print(
            "imagebuild: interrupted; what was finished is kept, run the same command again to go on"
        )
        code = INTERRUPTED
    temporary.clear()
    sys.stdout.flush()
    sys.stderr.flush()
    # threads that wait for a killed program must not hold up the end
    os._exit(code)


def _run() -> int:
    """Run the command and return its exit code. Raises KeyboardInterrupt."""
    try:
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:  # typer swallows KeyboardInterrupt and returns this
            raise KeyboardInterrupt
        return int(code)
    except BuildError as error:
        show_error(complaints, error)
        return error.exit_code
    except (typer.Exit, SystemExit) as error:
        status: Any = getattr(error, "exit_code", None) or getattr(error, "code", 0) or 0
        return int(status)
    except Exception as error:  # the last line of defence
        return _explain(error)


def _explain(error: Exception) -> int:
    """Say what is wrong: the usage, the machine, or else the program. Returns the exit code."""
    if hasattr(error, "format_message"):
        complaints.print(f"imagebuild: {error.format_message()}", highlight=False, soft_wrap=True)
        return 2
    if isinstance(error, ModuleNotFoundError) and error.name in MODULES:
        message = f"the Python module {error.name} is not installed"
        show_error(complaints, BuildError(message, hint=MODULES[error.name]))
        return 1
    trouble = files.explained(error) if isinstance(error, OSError) else None
    if trouble is not None:
        show_error(complaints, trouble)
        return trouble.exit_code
    _report_bug(error)
    return 1


def _report_bug(error: Exception) -> None:
    """Say that the program itself is wrong, and where its traceback is kept."""
    if _options["debug"]:
        traceback.print_exception(error)
    where = _keep_traceback(error)
    kept = (
        f"its traceback is in {where}" if where is not None else "run it again with --debug for a traceback"
    )
    complaints.print(
        f"imagebuild: this is a bug: {error!r}; {kept}. Please report it with the command that you ran",
        highlight=False,
        soft_wrap=True,
    )


def _keep_traceback(error: Exception) -> Path | None:
    """Write a traceback to a file that is kept, and return it; None when it cannot be written."""
    import time

    from imagebuild.config.places import cache_directory

    file = cache_directory() / "bugs" / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
    text = "".join(traceback.format_exception(error))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{' '.join(sys.argv)}\n\n{text}")
    except OSError:
        return None
    return file
