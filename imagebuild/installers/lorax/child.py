"""Drives the lorax library, as the `lorax` command does; run as a program by itself, by whichever
interpreter has it.

It calls sys.exit, needs root and sets global state, so it never shares a process with the pipeline. Nothing
but the standard library and pylorax is imported, and the syntax is that of Python 3.6: the interpreter may be
as old as the release.

The request is a JSON file with `configure` (conf_file, logdir, sharedir), `dnf` (keywords of
get_dnf_base_object), `run` (keywords of Lorax.run), `rootfs_type`, `tmp` (where everything temporary goes),
`command` (the same as options of the command line), `dispensable` (those of them that an old command may
lack) and `patience` (seconds that an interrupted lorax may clean up). `--about` instead of a request says
what this interpreter's lorax is, as one line of JSON. Exit status: 0 made, 1 lorax's own failure, 3 this
lorax cannot do what the request asks, 130 interrupted.

An interrupt reaches lorax once, however often and to whomever it was sent: its clean-up unmounts, and would
be interrupted by the next.
"""

import contextlib
import importlib
import importlib.util
import inspect
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any

CANNOT = 3
INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# which file each logger writes, as the `lorax` command has them; Lorax.run opens pylorax.log itself
LOGS = {"lorax": "lorax.log", "pylorax": "lorax.log", "program": "program.log", "dnf": "dnf.log"}
# before what lorax does now; the same as imagebuild.steplog.STAGE
STAGE = "==> "
# what lorax says when it begins something long (Lorax.run and run_pkg_transaction of 24.22, 26.9, 33.11,
# 40.5.19 and 46.0)
STAGES = frozenset(
    [
        "Fetching metadata...",
        "installing runtime packages",
        "Checking dependencies",
        "Downloading packages",
        "Preparing transaction from installation source",
        "doing post-install configuration",
        "backing up installroot",
        "generating kernel module metadata",
        "cleaning unneeded files",
        "verifying the installroot",
        "creating the runtime image",
        "preparing to build output tree and boot images",
        "rebuilding initramfs images",
        "populating output tree and building boot images",
    ]
)
# generations of the root file system's option: lorax 41.2 and newer, 29.28 … 41.1, older
FLAT = "squashfs"


class CannotError(Exception):
    """This lorax has no way to do what was asked."""


# --- what there is ------------------------------------------------------------------------------------------


def about() -> Any:
    """Return what this interpreter's lorax is: `version`, `path`, whether its `library` can be driven,
    `error` (why it does not work), `other`.

    `other` is the unrelated project's package of that name. Everything is imported for real: a library that
    is found may lack its own.
    """
    facts = {
        "version": "",
        "path": "",
        "library": False,
        "error": "",
        "other": importlib.util.find_spec("lorax") is not None,
    }
    if importlib.util.find_spec("pylorax") is None:
        return facts
    try:
        pylorax = importlib.import_module("pylorax")
        facts["path"] = os.path.dirname(str(pylorax.__file__))
        facts["library"] = importlib.util.find_spec("pylorax.dnfbase") is not None
        if importlib.util.find_spec("pylorax.version") is not None:
            facts["version"] = str(importlib.import_module("pylorax.version").num)
        if facts["library"]:
            importlib.import_module("pylorax.dnfbase")
        else:
            _command_help()
    except (Exception, SystemExit) as error:
        facts["error"] = "%s: %s" % (type(error).__name__, error)
    return facts


def _command_help() -> Any:
    """Return the help of the `lorax` command. Raises CannotError when there is no such command, or when it
    does not even say that.
    """
    if shutil.which("lorax") is None:
        raise CannotError(
            "this lorax has no library that can be driven, and there is no program `lorax` in PATH"
        )
    said = subprocess.run(
        ["lorax", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        check=False,
    )
    if said.returncode != 0:
        lines = said.stderr.strip().splitlines() or ["exit status %d" % said.returncode]
        raise CannotError("`lorax --help` fails: %s" % lines[-1])
    return said.stdout


# --- generations --------------------------------------------------------------------------------------------


def adapt(parameters: Any, wanted: Any, rootfs_type: Any) -> Any:
    """Return the keywords of Lorax.run that this lorax knows. The one place where its generations differ (the
    order differs too: keywords only).

    Raises CannotError when something was asked that it would silently leave out.
    """
    arguments = {name: value for name, value in wanted.items() if name in parameters}
    lost = [
        name
        for name, value in wanted.items()
        if name not in parameters and value not in (None, [], "", False)
    ]
    if "rootfs_type" in parameters:
        arguments["rootfs_type"] = rootfs_type or FLAT
    elif "squashfs_only" in parameters:
        if rootfs_type not in (None, FLAT, "squashfs-ext4"):
            raise CannotError("this lorax cannot make a root file system of type %s" % rootfs_type)
        arguments["squashfs_only"] = rootfs_type != "squashfs-ext4"
    else:
        nested_only(rootfs_type)
    if lost:
        raise CannotError("this lorax does not know %s" % ", ".join(sorted(lost)))
    return arguments


def nested_only(rootfs_type: Any) -> None:
    """Raise CannotError when a type of root file system is asked for that lorax has not always made."""
    if rootfs_type not in (None, "squashfs-ext4"):
        raise CannotError("this lorax makes the root file system squashfs-ext4 only, not %s" % rootfs_type)


def dnf_keywords(parameters: Any, wanted: Any) -> Any:
    """Return the keywords of get_dnf_base_object that this lorax knows. Raises CannotError when plugins are
    asked for that it cannot load.
    """
    if wanted.get("dnfplugins") and "dnfplugins" not in parameters:
        raise CannotError("this lorax does not know dnfplugins")
    return {name: value for name, value in wanted.items() if name in parameters}


def command_line(options: Any, help_text: str, dispensable: Any = ()) -> Any:
    """Return lorax's arguments, for a lorax whose library cannot be driven (before 29.20 and 30.6).

    Raises CannotError for an option it does not have, unless that is dispensable.
    """
    argv: Any = []
    words = help_text.replace(",", " ").replace("=", " ").split()
    for name, values in options:
        if name not in words:
            if name in dispensable:
                print("this lorax has no option %s: its own default is taken" % name)
                continue
            raise CannotError("this lorax has no option %s" % name)
        argv += [name] if values is True else [word for value in values for word in _words(name, value)]
    return argv


def _words(name: str, value: str) -> Any:
    """Return an option with its value: argparse takes a word that begins with `-` (dracut's --xz) for an
    option, unless it is joined to its name.
    """
    return ["%s=%s" % (name, value)] if value.startswith("-") else [name, value]


# --- what it says -------------------------------------------------------------------------------------------


class Stages(logging.Handler):
    """Prints what lorax does now as a line of its own, each once when it is said twice in a row (lorax' own
    handlers do that).
    """

    last = ""

    def emit(self, record: Any) -> None:
        """Look at one message of lorax."""
        self.look(record.getMessage())

    def look(self, message: str) -> None:
        """Print a message that is a stage."""
        if message in STAGES and message != self.last:
            self.last = message
            print(STAGE + message, flush=True)


def set_up_logging(logdir: str) -> None:
    """Send what matters to standard output, where the pipeline follows it, and everything to files."""
    console = logging.StreamHandler(sys.stdout)
    console.setLevel(logging.INFO)
    console.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    files = {name: logging.FileHandler(os.path.join(logdir, name), "w") for name in set(LOGS.values())}
    for name, file in LOGS.items():
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        files[file].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(files[file])
        if name != "program":  # every command's output: in its file
            logger.addHandler(console)
    logging.getLogger("pylorax").addHandler(Stages())


# --- doing it -----------------------------------------------------------------------------------------------


def interrupt_once() -> None:
    """Let the first signal that ends programs be a KeyboardInterrupt, and all that come after it be
    nothing.
    """

    def interrupted(*_: Any) -> None:
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    for number in SIGNALS:
        signal.signal(number, interrupted)


def drive(request: Any) -> None:
    """Make the ISO through the library."""
    pylorax = importlib.import_module("pylorax")
    dnfbase = importlib.import_module("pylorax.dnfbase")
    settings = request["configure"]
    set_up_logging(settings["logdir"])
    for directory in request["directories"]:
        os.makedirs(directory)
    lorax = pylorax.Lorax()
    run = adapt(inspect.signature(lorax.run).parameters, request["run"], request["rootfs_type"])
    dbo = dnfbase.get_dnf_base_object(
        **dnf_keywords(inspect.signature(dnfbase.get_dnf_base_object).parameters, request["dnf"])
    )
    if dbo is None:
        raise RuntimeError("the package sources cannot be used")
    lorax.configure(conf_file=settings["conf_file"])
    lorax.conf.set("lorax", "logdir", settings["logdir"])
    if settings["sharedir"]:
        lorax.conf.set("lorax", "sharedir", settings["sharedir"])
    lorax.run(dbo, **run)


def run_command(argv: Any, patience: int) -> int:
    """Run the `lorax` command to its end, in a session of its own: only one SIGINT of ours reaches it, and it
    dies with this process.

    Nothing that it started is left. An interrupted one may clean up for `patience` seconds, then it is
    killed.
    """
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--"] + argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    told: Any = []

    def forward(*_: Any) -> None:
        if not told:
            told.append(True)
            signal.alarm(patience)
            os.kill(process.pid, signal.SIGINT)

    signal.signal(signal.SIGALRM, lambda *_: _kill_session(process.pid))
    for number in SIGNALS:
        signal.signal(number, forward)
    reader = threading.Thread(target=_show, args=(process.stdout,), daemon=True)
    reader.start()
    status = process.wait()
    signal.alarm(0)
    _kill_session(process.pid)
    reader.join(5)
    return INTERRUPTED if told else status if status >= 0 else 128 - status


def _kill_session(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _show(stream: Any) -> None:
    stages = Stages()
    for line in stream:
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
        # its console handler writes "date time,ms: message"
        stages.look(line.decode("utf-8", "replace").strip().partition(": ")[2])


def make(request: Any) -> int:
    """Make the ISO in the way that this lorax has; return the exit status. Raises CannotError and whatever
    lorax raises.
    """
    os.environ["TMPDIR"] = tempfile.tempdir = request["tmp"]
    if importlib.util.find_spec("pylorax.dnfbase") is not None:
        drive(request)
        return 0
    nested_only(request["rootfs_type"])
    argv = command_line(request["command"], _command_help(), request["dispensable"])
    return run_command(["lorax"] + argv + [request["run"]["outputdir"]], request["patience"])


def main() -> int:
    """Read the request, make the ISO; say what went wrong as the last lines."""
    # our own modules lie beside this one, and one of them is called lorax
    sys.path[:] = [
        path for path in sys.path if os.path.abspath(path) != os.path.dirname(os.path.abspath(__file__))
    ]
    if sys.argv[1] == "--about":
        print(json.dumps(about()))
        return 0
    interrupt_once()
    try:
        with open(sys.argv[1], encoding="utf-8") as stream:
            request = json.load(stream)
        return make(request)
    except CannotError as error:
        print("ERROR imagebuild: %s" % error)
        return CANNOT
    except SystemExit as error:
        print("ERROR imagebuild: lorax ended with status %s" % error.code)
        return 1
    except KeyboardInterrupt:
        print("ERROR imagebuild: interrupted")
        return INTERRUPTED
    except Exception as error:
        print("ERROR imagebuild: %s: %s" % (type(error).__name__, error))
        output = getattr(error, "output", None)
        if output:
            print(str(output)[-2000:])
        return 1


if __name__ == "__main__":
    sys.exit(main())
