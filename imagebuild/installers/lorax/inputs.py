"""Everything outside of the configuration that decides what lorax makes: an ISO of other inputs is another
ISO.
"""

import configparser
import hashlib
from pathlib import Path

from imagebuild import files
from imagebuild.architectures.registry import ARCHITECTURES
from imagebuild.config.installer import InstallerConfig
from imagebuild.config.places import shared_directory
from imagebuild.errors import UsageError
from imagebuild.installers.lorax import sources as lorax_sources
from imagebuild.installers.lorax.about import CHILD, about
from imagebuild.installers.lorax.options import LoraxConfig
from imagebuild.tools.elsewhere import other_machine

DEFAULT_SHAREDIR = "/usr/share/lorax"
OWN_TEMPLATES = f"templates {DEFAULT_SHAREDIR}"
# pylorax.treebuilder: templatemap; not an architecture of hosts
I386 = {"i386": "x86.tmpl"}
ABSENT = "not there"


def inputs(config: InstallerConfig, release: str, arch: str) -> dict[str, str]:
    """Return all of it by name, for the step's key. Raises BuildError for a package source that cannot be
    read, UsageError for a file.
    """
    options = config.options(LoraxConfig)
    # what drives it is a program of its own: nobody imports it
    found = {CHILD.name: files.sha256(CHILD)}
    templates, arch_templates = paths(options)
    own = shared_directory("templates").resolve() / "lorax"
    for file in (*templates, *arch_templates):
        found[f"template {file.relative_to(own) if file.is_relative_to(own) else file}"] = _file(
            file, "installer.lorax.templates"
        )
    for name in options.repos:
        found[f"package sources {name}"] = _file(Path(name), "installer.lorax.repos")
    packages = lorax_sources.contents(options, release=release, arch=options.buildarch or arch)
    return found | _of_lorax(options) | packages


def _of_lorax(options: LoraxConfig) -> dict[str, str]:
    """Return what lorax itself is where it is to run: its version, configuration and templates."""
    there, configuration = other_machine(), f"configuration {options.conf_file}"
    required = options.conf_file != LoraxConfig().conf_file
    if there is not None and not required and not options.sharedir:
        return {name: there.value(name) for name in ("lorax", configuration, OWN_TEMPLATES)}
    found = {
        "lorax": _version(options),
        configuration: _file(Path(options.conf_file), "installer.lorax.conf_file", required=required),
    }
    sharedir = shared(options)
    if options.sharedir and not sharedir.is_dir():
        raise UsageError(
            f"installer.lorax.sharedir: there is no directory {sharedir}",
            hint="it is where lorax's own templates lie",
        )
    return found | {f"templates {sharedir}": tree_digest(sharedir)}


def _version(options: LoraxConfig) -> str:
    there = other_machine()
    if there is not None:
        return there.value("lorax")
    lorax = about(options)
    return f"{lorax.version or 'unknown'} ({lorax.path})"


def paths(options: LoraxConfig) -> tuple[list[Path], list[Path]]:
    """Return the templates that run in the installer's root, ours first, and those that run before the
    architecture's.
    """
    own = shared_directory("templates").resolve() / "lorax"
    return [own / "embed-repo.tmpl", own / "interactive-defaults.tmpl", *map(Path, options.templates)], [
        *map(Path, options.arch_templates)
    ]


def _file(file: Path, key: str, *, required: bool = True) -> str:
    try:
        return files.sha256(file)
    except OSError as error:
        if required:
            raise UsageError(f"{file} cannot be read: {error.strerror}", hint=f"{key} names it") from error
        return ABSENT


def shared(options: LoraxConfig) -> Path:
    """Return the directory of lorax's own templates: the configured one, or that of lorax.conf."""
    if options.sharedir:
        return Path(options.sharedir)
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(options.conf_file)
    except (configparser.Error, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise UsageError(
            f"{options.conf_file} cannot be read: {said}", hint="installer.lorax.conf_file names it"
        ) from error
    return Path(parser.get("lorax", "sharedir", fallback=DEFAULT_SHAREDIR))


def tree_digest(directory: Path) -> str:
    """Return a digest of all that lies below a directory: names, contents, links, and whether a file can be
    run.
    """
    if not directory.is_dir():
        return ABSENT
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            told = f"link {path.readlink()}"
        elif path.is_file():
            told = f"file {files.sha256(path)} {bool(path.stat().st_mode & 0o111)}"
        else:
            continue
        digest.update(f"{path.relative_to(directory)}\0{told}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def puts_discinfo(config: InstallerConfig, arch: str) -> bool:
    """Whether lorax puts /.discinfo on the medium, which its templates say: those of 30.13 and newer do
    (share/templates.d/99-generic/x86.tmpl).

    Its output directory has one in every generation.
    """
    directory = shared(config.options(LoraxConfig))
    # pylorax.find_templates: the first below templates.d, if there is one
    first = next(iter(sorted((directory / "templates.d").glob("[!.]*"))), directory)
    known = I386 | {name: record.lorax_template for name, record in ARCHITECTURES.items()}
    template = first / known.get(config.options(LoraxConfig).buildarch or arch, f"{arch}.tmpl")
    try:
        return ".discinfo=" in template.read_text(errors="replace")
    except OSError:
        return False
