"""Drives the lorax library, as the `lorax` command does; run as a program of its own, by whichever interpreter has it.

It calls sys.exit, needs root and sets global state, so it never shares a process with the pipeline. Nothing but the standard library
and pylorax is imported, and the syntax is that of Python 3.6: the interpreter may be as old as the release.

The request is a JSON file with `configure` (conf_file, logdir, sharedir), `dnf` (keywords of get_dnf_base_object), `run` (keywords of
Lorax.run), `rootfs_type` and `command` (the same as options of the command line). Exit status: 0 made, 1 lorax's own failure,
3 this lorax cannot do what the request asks.
"""

import importlib
import importlib.util
import inspect
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

CANNOT = 3
LOGGERS = ("lorax", "pylorax", "program", "dnf")
# generations of the root file system's option: lorax 41.2 and newer, 29.28 … 41.1, older
FLAT = "squashfs"


class CannotError(Exception):
    """This lorax has no way to do what was asked."""


def adapt(parameters: Any, wanted: Any, rootfs_type: Any) -> Any:
    """Return the keywords of Lorax.run that this lorax knows. The one place where its generations differ (the order differs too: keywords only).

    Raises CannotError when something was asked that it would silently leave out.
    """
    found = {name: value for name, value in wanted.items() if name in parameters}
    lost = [name for name, value in wanted.items() if name not in parameters and value not in (None, [], "", False)]
    if "rootfs_type" in parameters:
        found["rootfs_type"] = rootfs_type or FLAT
    elif "squashfs_only" in parameters:
        if rootfs_type not in (None, FLAT, "squashfs-ext4"):
            raise CannotError("this lorax makes no root file system of type %s" % rootfs_type)
        found["squashfs_only"] = rootfs_type != "squashfs-ext4"
    elif rootfs_type not in (None, "squashfs-ext4"):
        raise CannotError("this lorax makes the root file system squashfs-ext4 only, not %s" % rootfs_type)
    if lost:
        raise CannotError("this lorax knows no %s" % ", ".join(sorted(lost)))
    return found


def dnf_keywords(parameters: Any, wanted: Any) -> Any:
    """Return the keywords of get_dnf_base_object that this lorax knows."""
    return {name: value for name, value in wanted.items() if name in parameters}


def command_line(options: Any, help_text: str) -> Any:
    """Return lorax's arguments, for a lorax whose library cannot be driven (24 … 27). Raises CannotError for an option it does not have."""
    argv: Any = []
    for name, values in options:
        if name not in help_text.replace(",", " ").replace("=", " ").split():
            raise CannotError("this lorax has no option %s" % name)
        argv += [name] if values is True else [word for value in values for word in (name, value)]
    return argv


def set_up_logging(logdir: str) -> None:
    """Send everything to standard output, where the pipeline follows it, and each logger to its file."""
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        file = logging.FileHandler(os.path.join(logdir, name + ".log"), "w")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(file)
        if name != "program":  # every command's output: in its file
            logger.addHandler(console)


def drive(request: Any) -> None:
    """Make the ISO through the library."""
    pylorax = importlib.import_module("pylorax")
    dnfbase = importlib.import_module("pylorax.dnfbase")
    settings = request["configure"]
    set_up_logging(settings["logdir"])
    tempfile.tempdir = request["tmp"]
    for directory in request["directories"]:
        os.makedirs(directory)
    lorax = pylorax.Lorax()
    run = adapt(inspect.signature(lorax.run).parameters, request["run"], request["rootfs_type"])
    dbo = dnfbase.get_dnf_base_object(**dnf_keywords(inspect.signature(dnfbase.get_dnf_base_object).parameters, request["dnf"]))
    if dbo is None:
        raise RuntimeError("the package sources cannot be used: see dnf.log")
    lorax.configure(conf_file=settings["conf_file"])
    lorax.conf.set("lorax", "logdir", settings["logdir"])
    if settings["sharedir"]:
        lorax.conf.set("lorax", "sharedir", settings["sharedir"])
    lorax.run(dbo, **run)


def main() -> int:
    """Read the request, make the ISO; say what went wrong as the last lines."""
    # lorax cleans up when it is interrupted, not when it is terminated
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(sys.argv[1], encoding="utf-8") as stream:
        request = json.load(stream)
    try:
        if importlib.util.find_spec("pylorax.dnfbase") is None:
            said = subprocess.run(["lorax", "--help"], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
            argv = command_line(request["command"], said)
            return subprocess.run(["lorax"] + argv + [request["run"]["outputdir"]], check=False).returncode
        drive(request)
    except CannotError as error:
        print("ERROR: %s" % error)
        return CANNOT
    except SystemExit as error:
        print("ERROR: lorax ended with %s: its last errors are above and in %s" % (error.code, request["configure"]["logdir"]))
        return 1
    except KeyboardInterrupt:
        print("ERROR: interrupted")
        return 130
    except Exception as error:
        print("ERROR: %s: %s" % (type(error).__name__, error))
        output = getattr(error, "output", None)
        if output:
            print(str(output)[-2000:])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
