"""Package sources of an installer, as lorax hands them to dnf: URLs, mirror lists and .repo files; what they
hold now belongs into the key.

A source that cannot be read is an error before anything is built: lorax could not read it, either.
"""

import configparser
import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from imagebuild.errors import UsageError
from imagebuild.installers.lorax.metadata import PackageSource, content, shown
from imagebuild.installers.lorax.options import LoraxConfig

TRUE = ("1", "yes", "true", "on", "enabled")


def contents(options: LoraxConfig, *, release: str, arch: str) -> dict[str, str]:
    """Return what each package source holds now, name -> digest. Raises BuildError with the URL of one that
    cannot be read, UsageError.
    """
    found = {}
    for source in sources(options, release=release, arch=arch):
        found[f"packages of {source.name}"] = content(source)
    if not found:
        what = (
            f"enabled in {', '.join(Path(name).name for name in options.repos)}"
            if options.repos
            else "configured"
        )
        raise UsageError(
            f"no package source is {what}",
            hint="installer.lorax.sources has their URLs; enable_repos names those of .repo files",
        )
    return found


def sources(options: LoraxConfig, *, release: str, arch: str) -> Iterator[PackageSource]:
    """Yield every package source that lorax is given, in its order. Raises UsageError for a .repo file that
    is none.
    """
    proxy = _proxy(options.proxy or "")
    for url in options.sources:
        yield PackageSource(name=shown(url), urls=(url,), proxy=proxy, verify=options.ssl_verify)
    for url in options.mirrors:
        yield PackageSource(name=shown(url), lists=(url,), proxy=proxy, verify=options.ssl_verify)
    for file in options.repos:
        yield from _of_file(Path(file), options, _variables(release, arch))


def _variables(release: str, arch: str) -> dict[str, str]:
    """Return what $variables mean (dnf.conf(5)); a dnf that does not know the parts of a release says so
    itself.
    """
    major, _, minor = release.partition(".")
    return {
        "releasever": release,
        "releasever_major": major,
        "releasever_minor": minor,
        "basearch": arch,
        "arch": arch,
    }


def without_logins(text: str, urls: Sequence[str]) -> str:
    """Return a text without names and passwords of these URLs, wherever they stand, and of any other (.repo
    files have some, too).
    """
    for login in {
        re.split("[/?#]", _proxy(url).partition("://")[2])[0].rpartition("@")[0] for url in urls
    } - {""}:
        text = text.replace(f"{login}@", "")
    return re.sub(r"(?<=://)[^/?#\s]*@", "", text)


def _proxy(given: str) -> str:
    return given if "://" in given or not given else f"http://{given}"


# --- .repo files (dnf.conf(5)) ------------------------------------------------------------------------------


def _of_file(file: Path, options: LoraxConfig, variables: Mapping[str, str]) -> Iterator[PackageSource]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(file.read_text())
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        said = " ".join(str(error).split())
        raise UsageError(
            f"{file} cannot be read as a .repo file: {said}", hint="installer.lorax.repos names such files"
        ) from error
    for name in parser.sections():
        section = {key: _filled(value, variables) for key, value in parser[name].items()}
        if name != "main" and _enabled(name, section, options):
            yield _of_section(file, name, section, options)


def _enabled(name: str, section: Mapping[str, str], options: LoraxConfig) -> bool:
    on = section.get("enabled", "1").strip().lower() in TRUE
    on = on or any(fnmatch.fnmatchcase(name, pattern) for pattern in options.enable_repos)
    return on and not any(fnmatch.fnmatchcase(name, pattern) for pattern in options.disable_repos)


def _of_section(file: Path, name: str, section: Mapping[str, str], options: LoraxConfig) -> PackageSource:
    lists = tuple(section[key] for key in ("metalink", "mirrorlist") if section.get(key))
    urls = (
        tuple(re.split(r"[\s,]+", section["baseurl"].strip())) if section.get("baseurl", "").strip() else ()
    )
    if not lists and not urls:
        raise UsageError(
            f"{file}: [{name}] has neither baseurl, mirrorlist nor metalink",
            hint="dnf.conf(5) says what a repository needs",
        )
    checked = section.get("sslverify", "1").strip().lower() in TRUE and options.ssl_verify
    proxy = section.get("proxy") or options.proxy or ""
    login = (section["username"], section.get("password", "")) if section.get("username") else None
    certificate = (
        (section["sslclientcert"], section.get("sslclientkey", "")) if section.get("sslclientcert") else None
    )
    return PackageSource(
        name=f"[{name}] of {file.name}",
        urls=urls,
        lists=lists,
        proxy="" if proxy == "_none_" else _proxy(proxy),
        login=login,
        certificate=certificate,
        verify=checked and (section.get("sslcacert") or True),
        optional=section.get("skip_if_unavailable", "0").strip().lower() in TRUE,
    )


def _filled(value: str, variables: Mapping[str, str]) -> str:
    """Return a value with its $variables; those that nobody knows stay, as with dnf."""
    return re.sub(
        r"\$(?:\{(\w+)\}|(\w+))", lambda match: variables.get(match[1] or match[2], match[0]), value
    )
