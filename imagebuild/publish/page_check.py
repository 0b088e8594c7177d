"""What the page of a release must be like. Defects of published pages that are checked for: links of another
compose, swapped or duplicated links, dead links (seen in published announcements).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from imagebuild.publish.facts import DownloadFacts


@dataclass
class _Seen(HTMLParser):
    """What is in a page: links in order with their text, ids, and the downloads it shows."""

    links: list[tuple[str, str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    downloads: list[dict[str, Any]] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    scripts: int = 0
    _row: dict[str, Any] | None = None
    _open: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def read(self, text: str) -> str | None:
        """Read a page; return what is wrong with its language, None for nothing."""
        try:
            self.feed(text)
            self.close()
        except AssertionError as error:  # for a declaration that html.parser does not know (CPython 3.11)
            return f"it is not HTML: {error}"
        return None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of links, ids, rows of downloads, scripts."""
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "script" or any(name.startswith("on") for name in given):
            self.scripts += 1
        if tag == "meta" and "name" in given:
            self.meta[given["name"]] = given.get("content", "")
        if tag == "tr" and "data-path" in given:
            self._row = {
                "path": given["data-path"],
                "sha256": given.get("data-sha256", ""),
                "links": [],
                "text": "",
            }
            self.downloads.append(self._row)
        for name in ("href", "src", "action", "data", "poster", "srcset", "xlink:href"):
            if name in given and not given[name].startswith("data:,"):
                self.links.append((given[name], ""))
                self._open = tag == "a"
                if self._row is not None:
                    self._row["links"].append(given[name])

    def handle_endtag(self, tag: str) -> None:
        """End a link or a row."""
        if tag == "a":
            self._open = False
        if tag == "tr":
            self._row = None

    def handle_data(self, data: str) -> None:
        """Collect what a link says, and what a row says."""
        if self._open:
            href, text = self.links[-1]
            self.links[-1] = (href, text + data)
        if self._row is not None:
            self._row["text"] += data


def problems(
    text: str, *, compose_id: str, listed: Iterable[str], manifest: str, downloads: Iterable[DownloadFacts]
) -> list[str]:
    """Return what is wrong with the page of a release, a sentence each. `listed` are the paths in its signed
    CHECKSUM files, of which `manifest` is the one that no other lists.
    """
    seen = _Seen()
    if (problem := seen.read(text)) is not None:
        return [problem]
    known = set(listed) | {manifest}
    found = (
        []
        if seen.meta.get("compose") == compose_id
        else [f"it is the page of {seen.meta.get('compose', 'nothing')!r}, not of {compose_id}"]
    )
    if seen.scripts:
        found.append("it has scripts")
    checksums, wrong = _links(seen, known)
    found += wrong
    found += [
        f"{path} is linked {checksums.count(path)} times"
        for path in dict.fromkeys(checksums)
        if checksums.count(path) != 1
    ]
    missing = sorted({path for path in known if path.endswith("-CHECKSUM")} - set(checksums))
    found += [f"there is no link to {path}" for path in missing]
    return found + _download_problems(seen, downloads)


def _links(seen: _Seen, known: set[str]) -> tuple[list[str], list[str]]:
    """Return the lists that a page links to, as often as it does, and what is wrong with its links."""
    checksums, found = list[str](), list[str]()
    for href, said in seen.links:
        parts = _split(href)
        if parts is None:
            found.append(f"the link {href[:200]!r} is not an address")
            continue
        if not parts.path and not parts.netloc and not parts.scheme:
            if parts.fragment and parts.fragment not in seen.ids:
                found.append(f"the link #{parts.fragment} leads nowhere")
            continue
        path = unquote(parts.path)
        if parts.scheme or parts.netloc or path.startswith("/") or ".." in PurePosixPath(path).parts:
            found.append(f"the link {href} leads out of this compose")
        elif path not in known:
            found.append(f"the link {href} is in no CHECKSUM of this compose")
        elif path.endswith("-CHECKSUM"):
            checksums.append(path)
            if said.strip() != path.rpartition("/")[2]:
                found.append(f"the link to {path} says {said.strip()!r}: swapped?")
    return checksums, found


def _split(href: str) -> SplitResult | None:
    """Return the parts of an address; None for what is none (half an IPv6 number, say)."""
    try:
        return urlsplit(href)
    except ValueError:
        return None


def _download_problems(seen: _Seen, downloads: Iterable[DownloadFacts]) -> list[str]:
    shown = [row["path"] for row in seen.downloads]
    expected = {each.path: each for each in downloads}
    found = [f"{path} is shown {shown.count(path)} times" for path in expected if shown.count(path) != 1]
    for row in seen.downloads:
        fact = expected.get(row["path"])
        if fact is None:
            found.append(f"it shows {row['path']}, which this compose does not have")
            continue
        if [unquote(link) for link in row["links"]] != [fact.path]:
            found.append(f"the row of {fact.path} links to {', '.join(row['links']) or 'nothing'}: swapped?")
        if (
            row["sha256"] != fact.sha256
            or fact.sha256 not in row["text"]
            or fact.path.rpartition("/")[2] not in row["text"]
        ):
            found.append(f"the row of {fact.path} shows another name or checksum")
    return found
