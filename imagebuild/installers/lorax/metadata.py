"""What a package repository holds now, as told by repomd.xml, or by the metalink that has its checksum.

Read when a build is planned: one small file, `CONNECT_SECONDS` to reach the server, `READ_SECONDS` for each
answer, `TOTAL_SECONDS` for one file, `MOST_MIRRORS` mirrors of a list.
"""

import contextlib
import hashlib
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit
from xml.etree import ElementTree

import requests
from urllib3.exceptions import InsecureRequestWarning

from imagebuild.errors import BuildError
from imagebuild.tools import answers

CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 10.0, 30.0, 60.0
MOST_MIRRORS = 3
MOST_BYTES = 8 << 20
# of repomd.xml (createrepo_c, src/createrepo_c.c: cr_repomd_record_new): what says which packages there are;
# changelogs, errata and copies for sqlite do not
DECIDING = frozenset(
    {"primary", "filelists", "group", "group_gz", "group_zck", "modules", "primary_zck", "filelists_zck"}
)


@dataclass(frozen=True, kw_only=True)
class PackageSource:
    """One package source: URLs of which one is enough, or of a list of them; how to reach it; `optional` ones
    may be out of reach.
    """

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


def shown(url: str) -> str:
    """Return a URL without name and password."""
    # not by urlsplit, which refuses some: this is what errors are said with
    return re.sub(r"(?<=://)[^/?#\s]*@", "", url)


def content(source: PackageSource) -> str:
    """Return a digest of what a source holds now. Raises BuildError with each URL that was tried, and why it
    cannot be read.
    """
    unread = _Unread()
    for digest in _digests(source, unread):
        return digest
    if source.optional:
        return "out of reach, and may be"
    raise BuildError(
        f"the package source {source.name} cannot be read: {'; '.join(unread.reasons)}",
        hint=(
            "lorax needs it, too: check installer.lorax, the network and installer.lorax.proxy;"
            " `installer.backend: live` needs no packages"
        ),
    )


def _digests(source: PackageSource, unread: _Unread) -> Iterator[str]:
    """Yield what can be read of a source, the first is enough."""
    for url in source.lists:
        text = _tried(source, url, unread)
        if text is None:
            continue
        if text.lstrip().startswith(b"<"):
            yield from _noted(unread, url, _of_metalink, text)
        else:
            mirrors = [
                line.strip()
                for line in text.decode("utf-8", "replace").splitlines()
                if re.match(r"^\s*(https?|file)://", line)
            ]
            if not mirrors:
                unread.reasons.append(f"{shown(url)} lists no mirror")
            yield from _first(source, mirrors[:MOST_MIRRORS], unread)
    yield from _first(source, source.urls, unread)


def _first(source: PackageSource, urls: Sequence[str], unread: _Unread) -> Iterator[str]:
    for url in urls:
        try:
            # a query stays behind the path
            parts = urlsplit(url)
        except ValueError as error:
            unread.reasons.append(f"{shown(url)}: {error}")
            continue
        address = urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/repodata/repomd.xml"))
        text = _tried(source, address, unread)
        if text is not None:
            yield from _noted(unread, address, _of_repomd, text)


def _noted(unread: _Unread, url: str, read: Callable[[bytes], str], text: bytes) -> Iterator[str]:
    try:
        yield read(text)
    except ValueError as error:
        unread.reasons.append(f"{shown(url)} {error}")


def _tried(source: PackageSource, url: str, unread: _Unread) -> bytes | None:
    try:
        return _fetched(source, url)
    except (OSError, ValueError) as error:
        # requests' errors are OSErrors; they may quote the URL with its password
        said = " ".join(str(error).split()).replace(url, shown(url))
        unread.reasons.append(f"{shown(url)}: {said[:200] or type(error).__name__}")
        return None


def _fetched(source: PackageSource, url: str) -> bytes:
    """Return a small file. Raises OSError, ValueError."""
    if url.startswith(("/", "file://")):
        with Path(unquote(urlsplit(url).path)).open("rb") as stream:
            return _bounded(stream.read(MOST_BYTES + 1))
    if not url.startswith(("http://", "https://")):
        raise ValueError("only http, https and file can be read here")
    deadline = time.monotonic() + TOTAL_SECONDS
    proxies = {"http": source.proxy, "https": source.proxy} if source.proxy else None
    with (
        _nothing_said_of(source.verify),
        requests.get(
            url,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            stream=True,
            proxies=proxies,
            auth=source.login,
            verify=source.verify,
            cert=_certificate(source),
            headers={"Accept-Encoding": "identity"},
        ) as answer,
    ):
        if answer.status_code != requests.codes.ok:
            raise ValueError(f"the server says {answer.status_code} {answer.reason}")
        content = b""
        for block in answers.blocks(answer, slowest=0, seconds=TOTAL_SECONDS):
            content = _bounded(content + block)
            if time.monotonic() > deadline:
                raise ValueError(f"it took more than {TOTAL_SECONDS:.0f} s")
        return content


def _certificate(source: PackageSource) -> str | tuple[str, str] | None:
    # a certificate may have its key in the same file
    if source.certificate is None or source.certificate[1]:
        return source.certificate
    return source.certificate[0]


@contextlib.contextmanager
def _nothing_said_of(verify: bool | str) -> Iterator[None]:
    """Have requests not warn of each certificate that the configuration says is not to be checked."""
    with warnings.catch_warnings():
        if verify is False:
            warnings.simplefilter("ignore", InsecureRequestWarning)
        yield


def _bounded(text: bytes) -> bytes:
    if len(text) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
    return text


def _xml(text: bytes) -> ElementTree.Element:
    """Return a document of somebody else's. Raises ValueError for what is none, and for one with entities of
    its own.
    """
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError("has a document type")
    try:
        return ElementTree.fromstring(text)  # noqa: S314  # no document type, so no entities
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"is not XML: {error}") from error


def _of_repomd(text: bytes) -> str:
    """Return a digest of the checksums of what says which packages there are; the time of its making does not
    count.
    """
    checksums = []
    for data in _xml(text).findall(".//{*}data"):
        checksum = data.find("{*}checksum")
        if data.get("type") in DECIDING and checksum is not None and checksum.text:
            checksums.append(f"{data.get('type')} {checksum.get('type')} {checksum.text.strip()}")
    if not any(line.startswith("primary") for line in checksums):
        raise ValueError("is not a repomd.xml: it names no packages")
    return hashlib.sha256("\n".join(sorted(checksums)).encode()).hexdigest()


def _of_metalink(text: bytes) -> str:
    """Return the checksum of repomd.xml that a metalink has (metalink 3.0, as MirrorManager writes it)."""
    for file in _xml(text).findall(".//{*}file"):
        # the newest one's; those that mirrors may still have lie deeper
        newest = file.find("{*}verification")
        digests = (
            {each.get("type"): each.text.strip() for each in newest if each.text}
            if newest is not None
            else {}
        )
        if file.get("name") == "repomd.xml" and digests:
            return digests.get("sha512") or digests.get("sha256") or min(digests.values())
    raise ValueError("is not a metalink of a repository")
