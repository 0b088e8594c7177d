"""The installer ISO through the lorax library (Fedora's own way), which runs in a child process: `lorax_child.py`.

The child has a mount namespace of its own, so that nothing it leaves mounted can be reached by whoever removes its directories; it is
interrupted before it is killed. What it made is looked into by the stage.
"""

import builtins
import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mako import parsetree
from mako.exceptions import MakoException
from mako.lexer import Lexer

from imagebuild import lorax_variables, steplog
from imagebuild.config import InstallerConfig, LoraxConfig, shared_directory
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.installers import Request, remaster
from imagebuild.tools import command, gpg

HINT = "dnf install lorax (the distribution's package; the `lorax` on PyPI is an unrelated project)"
GIB = 1 << 30
# what the installer itself takes of its root file system
INSTALLER_SIZE = 2 * GIB
LEAST_ROOTFS = 3
INTERRUPT_SECONDS = 60
CANNOT = 3
MINUTE = 60
GIVEN = lorax_variables.given(None)
MAKO = frozenset({"context", "loop", "caller", "self", "parent", "local", "next", "UNDEFINED", "capture", "pageargs"})


def has_source(config: InstallerConfig) -> bool:
    """Whether there is anywhere to take packages from."""
    return bool(config.lorax.sources or config.lorax.mirrors or config.lorax.repos)


def unavailable(config: InstallerConfig) -> str:
    """Return why lorax cannot be used here; empty when it can."""
    options = config.lorax
    if not Path(options.python).exists():
        return f"there is no interpreter {options.python}"
    probe = "import importlib.util as u; import sys; sys.exit(0 if u.find_spec('pylorax') else 4 if u.find_spec('lorax') else 5)"
    status, said = command.status([options.python, "-c", probe], env=_environment(options))
    if status == 4:
        return f"{options.python} has a package `lorax` that is not the distribution's (PyPI's is an unrelated project); {HINT}"
    if status != 0:
        return (
            f"lorax is not installed for {options.python}; {HINT}"
            if status == 5
            else f"{options.python} cannot be used: {said.strip()[-200:]}"
        )
    return "" if os.geteuid() == 0 else "lorax needs root"


def version(options: LoraxConfig) -> lorax_variables.Version | None:
    """Return the version of the interpreter's lorax, without importing it; None when it does not say."""
    probe = "import importlib.util as u, pathlib; print(pathlib.Path(u.find_spec('pylorax').origin).with_name('version.py').read_text())"
    status, said = command.status([options.python, "-c", probe], env=_environment(options))
    return lorax_variables.version_of(said) if status == 0 else None


def build(out: Path, request: Request) -> Path:
    """Run lorax, put the unattended kickstart on what it made, and return the ISO. Raises BuildError, MissingToolError."""
    options = request.config.lorax
    reason = unavailable(request.config)
    if reason:
        raise MissingToolError(f"lorax cannot be used: {reason}", hint=HINT)
    templates, arch_templates = _templates(options)
    work = out / "work"
    work.mkdir(exist_ok=True)
    variables = template_variables(request, _keys(request, work))
    known = version(options)
    check_templates(templates, lorax_variables.given(known) | set(variables), "installer.lorax.templates")
    check_templates(arch_templates, lorax_variables.given(known, arch=True) | set(variables), "installer.lorax.arch_templates")
    made = work / "lorax"
    asked = work / "request.json"
    told = child_request(request, work, made, templates, arch_templates, variables)
    asked.write_text(json.dumps(told, indent=1))
    try:
        _run_child(options, asked, work / "logs")
    finally:
        # what it had mounted there is gone with its namespace
        shutil.rmtree(told["run"]["workdir"], ignore_errors=True)
    treeinfo, image = made / ".treeinfo", made / "images" / "boot.iso"
    for file in (treeinfo, image, made / ".discinfo"):
        if not file.is_file():
            raise BuildError(f"lorax ended well, but made no {file.relative_to(made)}", hint="the step's log has what it said")
    shutil.copyfile(treeinfo, request.treeinfo)
    target = out / f"{request.name}.iso"
    if request.unattended is None:
        image.rename(target)
    else:
        remaster.add_kickstart(image, request.unattended.file, target, syntax=request.unattended.syntax, default=False, keep=True)
    return target


def _run_child(options: LoraxConfig, asked: Path, logs: Path) -> None:
    logs.mkdir()
    # a namespace of its own: what it leaves mounted is gone with it
    argv: list[str | Path] = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--",
        options.python,
        Path(__file__).with_name("lorax_child.py"),
        asked,
    ]
    process = command.Process(argv, env=_environment(options))
    try:
        status = process.wait(options.timeout_minutes * MINUTE)
    except BaseException as error:
        process.signal(signal.SIGINT)
        try:
            process.wait(INTERRUPT_SECONDS)
        except TimeoutError:
            process.end()
        if isinstance(error, TimeoutError):
            raise BuildError(
                f"lorax did not end within {options.timeout_minutes} minutes", hint="installer.lorax.timeout_minutes"
            ) from error
        raise
    if status != 0:
        raise _failure(process, status, logs)


def _failure(process: command.Process, status: int, logs: Path) -> BuildError:
    lines = (process.output() + process.complaint()).splitlines()
    errors = [line for line in lines if line.startswith(("ERROR", "CRITICAL"))][-5:] or lines[-5:]
    # its own files go with this try; what its programs said is kept with the step's log
    programs = _tail(logs / "program.log", 200)
    steplog.note("\n".join(programs))
    text = "\n".join(f"    {line}" for line in [*errors, *programs[-8:]])
    hint = "use another lorax, or change installer.lorax" if status == CANNOT else "the log has all that it and its programs said"
    return BuildError(f"lorax failed (exit status {status}):\n{text}", hint=hint, log=steplog.current())


def _tail(file: Path, count: int) -> list[str]:
    return file.read_text(errors="replace").splitlines()[-count:] if file.exists() else []


def _environment(options: LoraxConfig) -> dict[str, str]:
    # without UTF-8 mode lorax, which sets the C locale, dies of a file name that is not ASCII
    found = {"PYTHONUTF8": "1"}
    if options.python_path:
        found["PYTHONPATH"] = os.pathsep.join(options.python_path)
    if options.path:
        found["PATH"] = os.pathsep.join([*options.path, command.search_path()])
    return found


def _templates(options: LoraxConfig) -> tuple[list[Path], list[Path]]:
    own = shared_directory("templates").resolve() / "lorax"
    return [own / "embed-repo.tmpl", own / "interactive-defaults.tmpl", *map(Path, options.templates)], [*map(Path, options.arch_templates)]


def _keys(request: Request, work: Path) -> list[Path]:
    """Return the keys as Anaconda's libostree finds them: binary, each with the suffix .gpg."""
    found = []
    for number, key in enumerate(request.keys):
        found.append(work / f"{number:02}.gpg")
        gpg.dearmored(key, found[-1])
    return found


def template_variables(request: Request, keys: Sequence[Path] = ()) -> dict[str, str]:
    """Return what our templates and those of the configuration may use; the configuration's own come last."""
    return {
        "ostree_source": str(request.tree.repo),
        "ostree_ref": request.tree.follows,
        "ostree_commit": request.tree.commit,
        "ostree_osname": request.source.osname,
        "ostree_remote": request.source.remote,
        "ostree_update_url": request.source.update_url,
        "ostree_defaults": str(request.defaults.file),
        "ostree_keys": "\n".join(str(key) for key in keys),
        **request.config.lorax.variables,
    }


def check_templates(templates: Sequence[Path], known: frozenset[str] | set[str], key: str) -> None:
    """Check that templates exist, parse, and use only what they are given: lorax finds out after the whole package transaction. Raises BuildError."""
    for file in templates:
        if not file.is_absolute() or not file.is_file():
            raise BuildError(f"there is no lorax template {file}", hint=f"{key} wants absolute paths")
        try:
            root: Any = Lexer(file.read_text(), filename=str(file)).parse()
        except (MakoException, SyntaxError) as error:
            raise BuildError(f"{file} is no template: {error}") from error
        lost = sorted(_undeclared(root.nodes) - set(known) - set(dir(builtins)) - MAKO)
        if lost:
            own = lorax_variables.RESERVED & set(lost)
            hint = f"this lorax does not give templates {', '.join(sorted(own))}: write it without" if own else "installer.lorax.variables can"
            raise BuildError(f"{file} uses {', '.join(lost)}, which nobody gives it", hint=hint)


def _undeclared(nodes: Sequence[Any]) -> set[str]:
    used: set[str] = set()
    declared: set[str] = set()
    for node in nodes:
        if isinstance(node, parsetree.PageTag):
            continue  # its arguments are what the template wants, and it says no more than its body does
        used |= set(node.undeclared_identifiers()) if hasattr(node, "undeclared_identifiers") else set()
        declared |= set(node.declared_identifiers()) if hasattr(node, "declared_identifiers") else set()
        used |= _undeclared(getattr(node, "nodes", []))
    return used - declared


def child_request(
    request: Request, work: Path, made: Path, templates: Sequence[Path], arch_templates: Sequence[Path], variables: Mapping[str, str]
) -> dict[str, Any]:
    """Return the request for the child: every directory is new, since a reused cache serves stale metadata."""
    options, config = request.config.lorax, request.config
    temporary = Path(options.tmp) / f"imagebuild-lorax-{os.getpid()}-{request.tree.commit[:8]}"
    logs, install_root = work / "logs", temporary / "installtree"
    run: dict[str, Any] = {
        # version doubles as dnf's releasever; what is built goes into release
        "product": request.product, "version": request.release, "release": request.tree.version, "variant": config.variant, "bugurl": options.bugurl,
        "isfinal": options.final, "workdir": str(temporary), "outputdir": str(made), "buildarch": options.buildarch, "volid": config.volume_id,
        # it wants hfsplus-tools, which nobody has
        "domacboot": False, "doupgrade": options.upgrade, "remove_temp": True, "installpkgs": list(options.installpkgs),
        "excludepkgs": list(options.excludepkgs), "size": options.rootfs_size or rootfs_size(request.tree.size),
        "add_templates": [str(each) for each in templates], "add_template_vars": dict(variables),
        "add_arch_templates": [str(each) for each in arch_templates], "add_arch_template_vars": dict(variables), "verify": options.verify,
        "user_dracut_args": list(options.dracut_args), "skip_branding": options.skip_branding,
    }  # fmt: skip
    dnf: dict[str, Any] = {
        "installroot": str(install_root), "sources": list(options.sources), "mirrorlists": list(options.mirrors), "repos": list(options.repos),
        "enablerepos": list(options.enable_repos), "disablerepos": list(options.disable_repos), "tempdir": str(temporary / "dnf"),
        "proxy": options.proxy, "releasever": request.release, "cachedir": str(temporary / "cache"), "logdir": str(logs),
        "sslverify": options.ssl_verify, "dnfplugins": list(options.dnfplugins), "basearch": options.buildarch,
    }  # fmt: skip
    return {
        "configure": {"conf_file": options.conf_file, "logdir": str(logs), "sharedir": options.sharedir},
        "tmp": options.tmp, "directories": [str(temporary), str(install_root), str(temporary / "dnf"), str(temporary / "cache")],
        "dnf": dnf, "run": run, "rootfs_type": options.rootfs_type, "command": command_options(run, dnf, options, logs),
    }  # fmt: skip


def command_options(run: Mapping[str, Any], dnf: Mapping[str, Any], options: LoraxConfig, logs: Path) -> list[tuple[str, Any]]:
    """Return the same as options of the command, for generations whose library cannot be driven: name -> True, or a list of values."""
    variables = [f"{name}={value}" for name, value in run["add_template_vars"].items()]
    found: list[tuple[str, Any]] = [
        ("--product", [run["product"]]), ("--version", [run["version"]]), ("--release", [run["release"]]), ("--variant", [run["variant"]]),
        ("--volid", [run["volid"]]), ("--nomacboot", True), ("--source", dnf["sources"]), ("--mirrorlist", dnf["mirrorlists"]), ("--repo", dnf["repos"]),
        ("--enablerepo", dnf["enablerepos"]), ("--disablerepo", dnf["disablerepos"]), ("--installpkgs", run["installpkgs"]),
        ("--excludepkgs", run["excludepkgs"]), ("--add-template", run["add_templates"]), ("--add-template-var", variables),
        ("--add-arch-template", run["add_arch_templates"]), ("--add-arch-template-var", variables if run["add_arch_templates"] else []),
        ("--rootfs-size", [str(run["size"])]), ("--tmp", [options.tmp]), ("--logfile", [str(logs / "lorax.log")]), ("--config", [options.conf_file]),
        ("--sharedir", [options.sharedir] if options.sharedir else []), ("--bugurl", [run["bugurl"]] if run["bugurl"] else []),
        ("--proxy", [dnf["proxy"]] if dnf["proxy"] else []), ("--buildarch", [run["buildarch"]] if run["buildarch"] else []),
        ("--dracut-arg", run["user_dracut_args"]), ("--dnfplugin", dnf["dnfplugins"]),
    ]  # fmt: skip
    found += [("--isfinal", True)] if run["isfinal"] else []
    found += [("--noupgrade", True)] if not run["doupgrade"] else []
    found += [("--noverify", True)] if not run["verify"] else []
    found += [("--noverifyssl", True)] if not dnf["sslverify"] else []
    return [(name, values) for name, values in found if values]


def rootfs_size(tree_size: int) -> int:
    """Return the GiB of the installer's root file system for a tree of that many bytes: the installer, the repository, a tenth more."""
    return max(LEAST_ROOTFS, -(-(INSTALLER_SIZE + tree_size * 11 // 10) // GIB))
