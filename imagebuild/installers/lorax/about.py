"""What lorax there is on this host: asked of its interpreter, which imports it for real; and whether it is
the one of a release.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from imagebuild.installers.lorax.options import LoraxConfig
from imagebuild.tools import command

HINT = "dnf install lorax (the distribution's package; the `lorax` on PyPI is an unrelated project)"
CHILD = Path(__file__).with_name("child.py")
# lorax is branched with each Fedora, under its number; these are the branches of Red Hat's releases
# (weldr/lorax: rhel7-branch … rhel10-branch)
ENTERPRISE = {"7": 19, "8": 28, "9": 34, "10": 40}
ENTERPRISE_NAMES = re.compile(r"red ?hat|rhel|centos|rocky|alma|oracle", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class About:
    """One lorax: version (`devel` or empty for a checkout), where its package lies, and why it does not work
    (None: it does).

    `library`: its Python functions can be driven; older ones only by their command.
    """

    version: str = ""
    path: str = ""
    library: bool = False
    error: str | None = None


def environment(options: LoraxConfig) -> dict[str, str]:
    """Return what the interpreter needs to find lorax and its programs."""
    # without UTF-8 mode lorax, which sets the C locale, dies of a file name that is not ASCII
    environment = {"PYTHONUTF8": "1"}
    if options.python_path:
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, options.python_path))
    if options.path:
        environment["PATH"] = os.pathsep.join([*map(os.path.abspath, options.path), command.search_path()])
    return environment


def about(options: LoraxConfig) -> About:
    """Ask the configured interpreter for its lorax."""
    if not Path(options.python).exists():
        return About(error=f"there is no interpreter {options.python}")
    status, said = command.status([options.python, CHILD, "--about"], env=environment(options))
    line = next((line for line in said.splitlines() if line.startswith("{")), "")
    if status != 0 or not line:
        return About(error=f"{options.python} cannot be used: {said.strip()[-200:]}")
    told = json.loads(line)
    if not told["path"] and not told["error"]:
        unrelated = "has a package `lorax` that is not the distribution's (PyPI's is an unrelated project)"
        missing = (
            f"{options.python} {unrelated}; {HINT}"
            if told["other"]
            else f"lorax is not installed for {options.python}; {HINT}"
        )
        return About(error=missing)
    error = None
    if told["error"]:
        why = " ".join(str(told["error"]).split())
        error = f"lorax {told['version']} of {options.python} does not work: {why}"
    return About(version=told["version"], path=told["path"], library=told["library"], error=error)


def misfit(lorax: About, product: str, release: str) -> str | None:
    """Return why a lorax is not the one of a release: its templates name packages that only its own has;
    None when it may be.
    """
    branch = re.match(r"\d+", lorax.version)
    major = re.match(r"\d+", release)
    # whichever edition: Fedora IoT, Fedora Silverblue
    wanted = int(major[0]) if re.match(r"fedora\b", product, re.IGNORECASE) and major is not None else None
    if ENTERPRISE_NAMES.search(product) and major is not None:
        wanted = ENTERPRISE.get(major[0])
    if branch is None or wanted is None or int(branch[0]) == wanted:
        return None
    return (
        f"lorax {lorax.version} is not that of {product} {release}: its templates are for lorax {branch[0]}'s"
        f" release, {wanted} is wanted"
    )


def reason_not_root() -> str | None:
    """Return why this user cannot run lorax, or None."""
    return None if os.geteuid() == 0 else "lorax needs root"
