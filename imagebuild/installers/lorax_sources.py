"""Package sources of an installer, as far as they decide what is made: what their repositories hold now, told by repomd.xml.

Read when a build is planned: one small file a source, `CONNECT_SECONDS` to reach the server, `READ_SECONDS` for each answer,
`TOTAL_SECONDS` for one file, `MOST_MIRRORS` mirrors of a list. A source that cannot be read is an error: lorax could not, either.
"""

import configparser
import fnmatch
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit
from xml.etree import ElementTree

import requests

from imagebuild.config import LoraxConfig
from imagebuild.errors import BuildError, UsageError

CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 10.0, 30.0, 60.0
MOST_MIRRORS = 3
MOST_BYTES = 8 << 20
# of repomd.xml (createrepo_c 0.20, src/repomd.c): what says which packages there are; changelogs, errata and copies for sqlite do not
DECIDING = frozenset({"primary", "filelists", "group", "group_gz", "group_zck", "modules", "primary_zck", "filelists_zck"})
TRUE = ("1", "yes", "true", "on", "enabled")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One package source: URLs of which one is enough, or of a list of them; how to reach it; `optional` ones may be out of reach."""

    name: str
    urls: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    proxy: str = ""
    verify: bool | str = True
    login: tuple[str, str] | None = None
    certificate: tuple[str, str] | None = None
    optional: bool = False


@dataclass(kw_only=True)
class _Unread:
    """Why nothing could be read so far, URL by URL."""

    reasons: list[str] = field(default_factory=list)


def contents(options: LoraxConfig, *, release: str, arch: str) -> dict[str, str]:
    """Return what each package source holds now, name -> digest. Raises BuildError with the URL of one that cannot be read, UsageError."""
    found = {}
    for source in sources(options, release=release, arch=arch):
        found[f"packages of {source.name}"] = _content(source)
    return found


def sources(options: LoraxConfig, *, release: str, arch: str) -> Iterator[Source]:
    """Yield every package source that lorax is given, in its order. Raises UsageError for a .repo file that is none."""
    proxy = _proxy(options.proxy or "")
    for url in options.sources:
        yield Source(name=shown(url), urls=(url,), proxy=proxy, verify=options.ssl_verify)
    for url in options.mirrors:
        yield Source(name=shown(url), lists=(url,), proxy=proxy, verify=options.ssl_verify)
    for file in options.repos:
        yield from _of_file(Path(file), options, _variables(release, arch))


def _variables(release: str, arch: str) -> dict[str, str]:
    """Return what $variables mean (dnf.conf(5)); a dnf that does not know the parts of a release says so itself."""
    major, _, minor = release.partition(".")
    return {"releasever": release, "releasever_major": major, "releasever_minor": minor, "basearch": arch, "arch": arch}


def shown(url: str) -> str:
    """Return a URL without name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def without_logins(text: str, urls: Sequence[str]) -> str:
    """Return a text without names and passwords of these URLs."""
    for login in {urlsplit(_proxy(url)).netloc.rpartition("@")[0] for url in urls} - {""}:
        text = text.replace(f"{login}@", "")
    return text


def _proxy(given: str) -> str:
    return given if "://" in given or not given else f"http://{given}"


# --- .repo files (dnf.conf(5)) --------------------------------------------------------------------------------------------


def _of_file(file: Path, options: LoraxConfig, variables: Mapping[str, str]) -> Iterator[Source]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(file.read_text())
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{file} cannot be read as a .repo file: {said}", hint="installer.lorax.repos names such files") from error
    for name in parser.sections():
        section = {key: _filled(value, variables) for key, value in parser[name].items()}
        if name != "main" and _enabled(name, section, options):
            yield _of_section(file, name, section, options)


def _enabled(name: str, section: Mapping[str, str], options: LoraxConfig) -> bool:
    on = section.get("enabled", "1").strip().lower() in TRUE
    on = on or any(fnmatch.fnmatchcase(name, pattern) for pattern in options.enable_repos)
    return on and not any(fnmatch.fnmatchcase(name, pattern) for pattern in options.disable_repos)


def _of_section(file: Path, name: str, section: Mapping[str, str], options: LoraxConfig) -> Source:
    lists = tuple(section[key] for key in ("metalink", "mirrorlist") if section.get(key))
    urls = tuple(re.split(r"[\s,]+", section["baseurl"].strip())) if section.get("baseurl", "").strip() else ()
    if not lists and not urls:
        raise UsageError(f"{file}: [{name}] has neither baseurl, mirrorlist nor metalink", hint="dnf.conf(5) says what a repository needs")
    checked = section.get("sslverify", "1").strip().lower() in TRUE and options.ssl_verify
    proxy = section.get("proxy") or options.proxy or ""
    login = (section["username"], section.get("password", "")) if section.get("username") else None
    certificate = (section["sslclientcert"], section.get("sslclientkey", "")) if section.get("sslclientcert") else None
    return Source(
        name=f"[{name}] of {file.name}", urls=urls, lists=lists, proxy="" if proxy == "_none_" else _proxy(proxy), login=login, certificate=certificate,
        verify=checked and (section.get("sslcacert") or True), optional=section.get("skip_if_unavailable", "0").strip().lower() in TRUE,
    )  # fmt: skip


def _filled(value: str, variables: Mapping[str, str]) -> str:
    """Return a value with its $variables; those that nobody knows stay, as with dnf."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: variables.get(match[1] or match[2], match[0]), value)


# --- reading --------------------------------------------------------------------------------------------------------------


def _content(source: Source) -> str:
    unread = _Unread()
    for digest in _digests(source, unread):
        return digest
    if source.optional:
        return "out of reach, and may be"
    raise BuildError(
        f"the package source {source.name} cannot be read: {'; '.join(unread.reasons)}",
        hint="lorax needs it, too: check installer.lorax, the network and installer.lorax.proxy; `installer.backend: live` needs no packages",
    )


def _digests(source: Source, unread: _Unread) -> Iterator[str]:
    """Yield what can be read of a source, the first is enough."""
    for url in source.lists:
        text = _tried(source, url, unread)
        if text is None:
            continue
        if text.lstrip().startswith(b"<"):
            yield from _noted(unread, url, _of_metalink, text)
        else:
            mirrors = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if re.match(r"^\s*(https?|file)://", line)]
            if not mirrors:
                unread.reasons.append(f"{shown(url)} lists no mirror")
            yield from _first(source, mirrors[:MOST_MIRRORS], unread)
    yield from _first(source, source.urls, unread)


def _first(source: Source, urls: Sequence[str], unread: _Unread) -> Iterator[str]:
    for url in urls:
        # a query stays behind the path
        parts = urlsplit(url)
        place = urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/repodata/repomd.xml"))
        text = _tried(source, place, unread)
        if text is not None:
            yield from _noted(unread, place, _of_repomd, text)


def _noted(unread: _Unread, url: str, read: Callable[[bytes], str], text: bytes) -> Iterator[str]:
    try:
        yield read(text)
    except ValueError as error:
        unread.reasons.append(f"{shown(url)} {error}")


def _tried(source: Source, url: str, unread: _Unread) -> bytes | None:
    try:
        return _fetched(source, url)
    except (OSError, ValueError) as error:
        # requests' errors are OSErrors; they may quote the URL with its password
        said = " ".join(str(error).split()).replace(url, shown(url))
        unread.reasons.append(f"{shown(url)}: {said[:200] or type(error).__name__}")
        return None


def _fetched(source: Source, url: str) -> bytes:
    """Return a small file. Raises OSError, ValueError."""
    if url.startswith(("/", "file://")):
        with Path(unquote(urlsplit(url).path)).open("rb") as stream:
            return _bounded(stream.read(MOST_BYTES + 1))
    if not url.startswith(("http://", "https://")):
        raise ValueError("only http, https and file can be read here")
    deadline = time.monotonic() + TOTAL_SECONDS
    proxies = {"http": source.proxy, "https": source.proxy} if source.proxy else None
    # a certificate may have its key in the same file
    certificate = None if source.certificate is None else source.certificate if source.certificate[1] else source.certificate[0]
    with requests.get(
        url,
        timeout=(CONNECT_SECONDS, READ_SECONDS),
        stream=True,
        proxies=proxies,
        auth=source.login,
        verify=source.verify,
        cert=certificate,
    ) as answer:
        if answer.status_code != requests.codes.ok:
            raise ValueError(f"the server says {answer.status_code} {answer.reason}")
        found = b""
        for block in answer.iter_content(1 << 16):
            found = _bounded(found + block)
            if time.monotonic() > deadline:
                raise ValueError(f"it took more than {TOTAL_SECONDS:.0f} s")
        return found


def _bounded(text: bytes) -> bytes:
    if len(text) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
    return text


def _xml(text: bytes) -> ElementTree.Element:
    """Return a document of somebody else's. Raises ValueError for what is none, and for one with entities of its own."""
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError("has a document type")
    try:
        return ElementTree.fromstring(text)  # noqa: S314  # no document type, so no entities
    except ElementTree.ParseError as error:
        raise ValueError(f"is no XML: {error}") from error


def _of_repomd(text: bytes) -> str:
    """Return a digest of the checksums of what says which packages there are; the time of its making does not count."""
    found = []
    for data in _xml(text).findall(".//{*}data"):
        checksum = data.find("{*}checksum")
        if data.get("type") in DECIDING and checksum is not None and checksum.text:
            found.append(f"{data.get('type')} {checksum.get('type')} {checksum.text.strip()}")
    if not any(line.startswith("primary") for line in found):
        raise ValueError("is no repomd.xml: it names no packages")
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def _of_metalink(text: bytes) -> str:
    """Return the checksum of repomd.xml that a metalink has (metalink 3.0, as MirrorManager writes it)."""
    for file in _xml(text).findall(".//{*}file"):
        # the newest one's; those that mirrors may still have lie deeper
        newest = file.find("{*}verification")
        digests = {each.get("type"): each.text.strip() for each in newest if each.text} if newest is not None else {}
        if file.get("name") == "repomd.xml" and digests:
            return digests.get("sha512") or digests.get("sha256") or min(digests.values())
    raise ValueError("is no metalink of a repository")
