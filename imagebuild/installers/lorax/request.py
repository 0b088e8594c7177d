"""What lorax is asked for: keywords of its library, and the same as options of its command."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuild.installers.installer import Request
from imagebuild.installers.lorax.options import LoraxConfig

GIB = 1 << 30
PLAIN = re.compile(r"[A-Za-z0-9_@+=:.,/-]+")
# what the installer itself takes of its root file system
INSTALLER_SIZE = 2 * GIB
LEAST_ROOTFS = 3
# an interrupted lorax unmounts, with pauses between its tries: 18 s were seen
CLEAN_UP_SECONDS = 40
PATIENCE_SECONDS = CLEAN_UP_SECONDS + 5.0


@dataclass(frozen=True, kw_only=True)
class Templates:
    """Templates that run in the installer's root, those that run before the architecture's, and what both are
    given.
    """

    runtime: Sequence[Path]
    arch: Sequence[Path]
    variables: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where lorax works: `tmp` has everything temporary, `outputs` is made by lorax itself."""

    tmp: Path
    logs: Path
    outputs: Path
    sharedir: str | None

    @property
    def work(self) -> Path:
        return self.tmp / "work"

    @property
    def install_root(self) -> Path:
        return self.work / "installtree"

    @property
    def dnf(self) -> Path:
        return self.work / "dnf"

    @property
    def cache(self) -> Path:
        return self.work / "cache"


def child_request(
    request: Request, work: Path, made: Path, templates: Templates, *, place: Path | None = None
) -> dict[str, Any]:
    """Return the request for the child: every directory is new, since a reused cache serves stale metadata.

    `place` is the directory for everything temporary (not given: `work`), `made` the output directory, which
    lorax makes itself.
    """
    options = request.config.options(LoraxConfig)
    tmp = place or work
    places = _Places(
        tmp=tmp,
        logs=plain(work / "logs", tmp, "logs"),
        outputs=plain(made.parent, tmp, "out") / made.name,
        sharedir=str(plain(Path(options.sharedir), tmp, "share")) if options.sharedir else None,
    )
    run, dnf = _run_keywords(request, options, places, templates), _dnf_keywords(request, options, places)
    return {
        "configure": {
            "conf_file": _absolute(options.conf_file),
            "logdir": str(places.logs),
            "sharedir": places.sharedir,
        },
        "tmp": str(places.tmp),
        "directories": list(map(str, (places.work, places.install_root, places.dnf, places.cache))),
        "dnf": dnf,
        "run": run,
        "rootfs_type": options.rootfs_type,
        "command": command_options(run, dnf, options, places.tmp, places.logs, places.sharedir),
        # 24 makes 2 GiB whatever is wanted (src/sbin/lorax of 24.22): what was not asked for by hand is not
        # insisted on
        "dispensable": [] if options.rootfs_size else ["--rootfs-size"],
        "patience": CLEAN_UP_SECONDS,
    }


def _run_keywords(
    request: Request, options: LoraxConfig, places: _Places, templates: Templates
) -> dict[str, Any]:
    """Return the keywords of pylorax.Lorax.run."""
    return {
        # version doubles as dnf's releasever; what is built goes into release
        "product": request.product,
        "version": request.release,
        "release": request.tree.version,
        "variant": request.config.variant,
        "bugurl": options.bugurl,
        "isfinal": options.final,
        "workdir": str(places.work),
        "outputdir": str(places.outputs),
        "buildarch": options.buildarch,
        "volid": request.config.volume_id,
        # it wants hfsplus-tools, which nobody has
        "domacboot": False,
        "doupgrade": options.upgrade,
        "remove_temp": True,
        "installpkgs": list(options.installpkgs),
        "excludepkgs": list(options.excludepkgs),
        "size": options.rootfs_size or rootfs_size(request.tree.size),
        "add_templates": [str(file) for file in templates.runtime],
        "add_template_vars": dict(templates.variables),
        "add_arch_templates": [str(file) for file in templates.arch],
        "add_arch_template_vars": dict(templates.variables),
        "verify": options.verify,
        "user_dracut_args": list(options.dracut_args),
        "skip_branding": options.skip_branding,
    }


def _dnf_keywords(request: Request, options: LoraxConfig, places: _Places) -> dict[str, Any]:
    """Return the keywords of lorax' get_dnf_base_object."""
    return {
        "installroot": str(places.install_root),
        "sources": list(options.sources),
        "mirrorlists": list(options.mirrors),
        "repos": [_absolute(file) for file in options.repos],
        "enablerepos": list(options.enable_repos),
        "disablerepos": list(options.disable_repos),
        "tempdir": str(places.dnf),
        "proxy": options.proxy,
        "releasever": request.release,
        "cachedir": str(places.cache),
        "logdir": str(places.logs),
        "sslverify": options.ssl_verify,
        "dnfplugins": list(options.dnfplugins),
        "basearch": options.buildarch,
    }


def command_options(
    run: Mapping[str, Any],
    dnf: Mapping[str, Any],
    options: LoraxConfig,
    tmp: Path,
    logs: Path,
    sharedir: str | None,
) -> list[tuple[str, Any]]:
    """Return the same as options of the command, for generations whose library cannot be driven: name ->
    True, or a list of values.
    """
    variables = [f"{name}={value}" for name, value in run["add_template_vars"].items()]
    named: list[tuple[str, Any]] = [
        ("--product", [run["product"]]),
        ("--version", [run["version"]]),
        ("--release", [run["release"]]),
        ("--variant", [run["variant"]]),
        ("--volid", [run["volid"]]),
        ("--nomacboot", True),
        ("--source", dnf["sources"]),
        ("--mirrorlist", dnf["mirrorlists"]),
        ("--repo", dnf["repos"]),
        ("--enablerepo", dnf["enablerepos"]),
        ("--disablerepo", dnf["disablerepos"]),
        ("--installpkgs", run["installpkgs"]),
        ("--excludepkgs", run["excludepkgs"]),
        ("--add-template", run["add_templates"]),
        ("--add-template-var", variables),
        ("--add-arch-template", run["add_arch_templates"]),
        ("--add-arch-template-var", variables if run["add_arch_templates"] else []),
        ("--rootfs-size", [str(run["size"])]),
        ("--tmp", [str(tmp)]),
        ("--workdir", [run["workdir"]]),
        ("--logfile", [str(logs / "lorax.log")]),
        ("--config", [_absolute(options.conf_file)]),
        ("--sharedir", [sharedir] if sharedir else []),
        ("--bugurl", [run["bugurl"]] if run["bugurl"] else []),
        ("--proxy", [dnf["proxy"]] if dnf["proxy"] else []),
        ("--buildarch", [run["buildarch"]] if run["buildarch"] else []),
        ("--dracut-arg", run["user_dracut_args"]),
        ("--dnfplugin", dnf["dnfplugins"]),
    ]
    named += [("--isfinal", True)] if run["isfinal"] else []
    named += [("--noupgrade", True)] if not run["doupgrade"] else []
    named += [("--noverify", True)] if not run["verify"] else []
    named += [("--noverifyssl", True)] if not dnf["sslverify"] else []
    named += [("--skip-branding", True)] if run["skip_branding"] else []
    return [(name, values) for name, values in named if values]


def plain(path: Path, place: Path, name: str) -> Path:
    """Return a path that lorax bears: a link of that name in `place`, where it has what is lorax's own.

    Its configuration takes a `%` for an interpolation (configparser), its templates quote no blanks and
    expand braces (ltmpl.py, x86.tmpl).
    """
    if PLAIN.fullmatch(str(path.absolute())):
        return path.absolute()
    (place / name).symlink_to(path.absolute())
    return place / name


def _absolute(path: str) -> str:
    # lorax runs in a directory of its own; what the key was made of is meant
    return str(Path(path).absolute())


def rootfs_size(tree_size: int) -> int:
    """Return the GiB of the installer's root file system for a tree of that many bytes: the installer, the
    repository, a tenth more.
    """
    return max(LEAST_ROOTFS, -(-(INSTALLER_SIZE + tree_size * 11 // 10) // GIB))
