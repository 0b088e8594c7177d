"""An OSTree repository on a server, looked at from outside: its refs and its commits.

Formats: ostree-core.h (OSTREE_COMMIT_GVARIANT_FORMAT, OSTREE_TREE_GVARIANT_FORMAT), ostree-repo.c (summary).
"""

import difflib
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import requests

from imagebuild import files
from imagebuild.errors import BuildError, UsageError
from imagebuild.tools import answers
from imagebuild.tools.access import DIRECT, Access
from imagebuild.tools.ostree.library import GLib

CHECKSUM = re.compile(r"[0-9a-f]{64}")
REF = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]*(/[A-Za-z0-9._][A-Za-z0-9._-]*)*")
# ostree-core.h, OstreeObjectType
COMMIT = 4
OBJECT_SUFFIX = {1: "file", 2: "dirtree", 3: "dirmeta", 4: "commit"}
FORMATS = {2: "(a(say)a(sayay))", 4: "(a{sv}aya(say)sstayay)"}
# OSTREE_SUMMARY_GVARIANT_STRING: refs with size, checksum and metadata of their commits; then what there is
# besides
SUMMARY = "(a(s(taya{sv}))a{sv})"
# HTTP: object stores say 403 for what is not there, unless its reader may list them; libostree takes all
# three for "not found" (ostree-fetcher-util.c, 2022.7: _ostree_fetcher_http_status_code_to_io_error)
NOT_THERE = (403, 404, 410)
NOT_ALLOWED = (401, 403)
# RFC 9110, 6585: time-out, too early, too many requests
TRY_AGAIN = (408, 425, 429)
# ostree-core.h has OSTREE_MAX_METADATA_SIZE, 10 MiB in 2022.7 and more since: of refs, summaries and commits
LARGEST = 128 << 20


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How hard to try: attempts in all, seconds before the second (doubled each time; a server that says
    `Retry-After` gets up to `longest_pause`), and the slowest transfer that is waited for.
    """

    attempts: int = 4
    pause: float = 1.0
    longest_pause: float = 120.0
    low_speed_bytes: int = 1000
    low_speed_seconds: float = 60.0


PATIENT = Patience()


class TransferError(BuildError):
    """The network or the server failed in a way that another attempt may get over."""


def resolve(
    url: str,
    ref: str,
    *,
    patience: Patience = PATIENT,
    access: Access = DIRECT,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """Return the commit a ref points at now, in the repository at an http(s):// or file:// URL.

    libostree takes the summary's word where there is a summary, and asks for `refs/heads/REF` only where
    there is none (ostree-repo-pull.c, 2022.7: lookup_commit_checksum_and_collection_from_summary,
    fetch_ref_contents): so do we, but in a repository of this machine, where a compose moves the ref and
    writes the summary later. `say` is told when the two disagree. Raises BuildError: unreachable (after all
    attempts), not allowed, no repository, or an unknown ref with the nearest names there are.
    """
    _check_ref(ref)
    told = _summary(url, patience, access)
    data = _get(f"{url.rstrip('/')}/refs/heads/{ref}", patience, access).content
    text = data.decode("ascii", "replace").strip() if data is not None else ""
    commit = told.get(ref, "") if told is not None else ""
    if not CHECKSUM.fullmatch(text):
        if commit:
            return commit
        if data is None or told is not None:
            raise _unknown_ref(url, ref, told, patience, access)
        raise BuildError(
            f"{url}: refs/heads/{ref} does not hold a checksum but {text[:80]!r}",
            hint="is tree.url the root of an OSTree repository?",
        )
    taken = text if url.startswith(files.FILE_URL) else commit or text
    if told is not None and commit != text:
        say(_disagreement(url, ref, commit, text, taken))
    return taken


def _check_ref(ref: str) -> None:
    if REF.fullmatch(ref) is None or ".." in ref.split("/"):
        raise UsageError(
            f"{ref!r} is not a ref", hint="a ref is words of letters, digits, '.', '_' and '-', joined by '/'"
        )


def _disagreement(url: str, ref: str, told: str, head: str, taken: str) -> str:
    advice = "`ostree summary --update` puts that right there"
    if not told:
        return (
            f"{url}: {ref} is {head} in refs/heads, which is taken, but the summary does not name it: hosts"
            f" would not find it; {advice}"
        )
    why = (
        "as hosts would take it"
        if taken == told
        else "as it was composed here, but hosts would take the summary's"
    )
    differ = f"{ref} is {told} in the summary, and {head} in refs/heads"
    return f"{url}: {differ}: {taken} is taken, {why}; {advice}"


def _unknown_ref(
    url: str, ref: str, told: Mapping[str, str] | None, patience: Patience, access: Access
) -> BuildError:
    known = sorted({*(told or {}), *_local_refs(url)} - {ref})
    near = difflib.get_close_matches(ref, known, n=3, cutoff=0.5)
    config = _get(f"{url.rstrip('/')}/config", patience, access)
    if config.content is None and not known:
        if config.status in NOT_ALLOWED:
            advice = access.blame_client() if url.startswith("https:") else "may this machine read it?"
            return BuildError(
                f"there is no OSTree repository at {url}, or it may not be read: HTTP {config.status}",
                hint=f"check tree.url; {advice}",
            )
        return BuildError(
            f"there is no OSTree repository at {url}",
            hint="check tree.url; a repository has a file `config` at its root",
        )
    hint = (
        f"similar names there: {', '.join(near)}"
        if near
        else f"it has {len(known)} refs" + (f", such as {known[0]}" if known else "")
    )
    return UsageError(f"no ref {ref} in {url}", hint=hint)


def _local_refs(url: str) -> set[str]:
    heads = files.path_of(url) / "refs" / "heads"
    return (
        {str(file.relative_to(heads)) for file in heads.rglob("*") if file.is_file()}
        if url.startswith(files.FILE_URL)
        else set()
    )


def _summary(url: str, patience: Patience, access: Access) -> dict[str, str] | None:
    """Return the refs that a repository's summary names, and their commits; None when it has no summary.
    Raises BuildError for a broken one.
    """
    data = _get(f"{url.rstrip('/')}/summary", patience, access).content
    if data is None:
        return None
    summary = GLib.Variant.new_from_bytes(GLib.VariantType.new(SUMMARY), GLib.Bytes.new(data), False)
    if not summary.is_normal_form():
        raise BuildError(
            f"{url}/summary is not a summary of an OSTree repository: libostree refuses it",
            hint=(
                "check tree.url; `ostree summary --update` writes it anew; a server must answer 404 for a"
                " file that it does not have"
            ),
        )
    return {
        ref: commit
        for ref, (_, checksum, _) in summary.unpack()[0]
        if CHECKSUM.fullmatch(commit := bytes(checksum).hex())
    }


@dataclass(frozen=True)
class _Answer:
    """What a URL has; nothing (`content` is None) with the HTTP status that said so."""

    content: bytes | None
    status: int = 404


def _get(url: str, patience: Patience, access: Access) -> _Answer:
    """Return what lies at a URL. Raises TransferError after all attempts, BuildError when others would not
    help.
    """
    if url.startswith(files.FILE_URL):
        file = files.path_of(url)
        return _Answer(file.read_bytes() if file.is_file() else None)
    for attempt in range(1, patience.attempts + 1):
        wanted = 0.0
        try:
            with access.get(url, seconds=patience.low_speed_seconds) as answer:
                if answer.ok:
                    return _Answer(_content(url, answer, patience), answer.status_code)
                if answer.status_code in NOT_THERE:
                    return _Answer(None, answer.status_code)
                problem = f"HTTP {answer.status_code}"
                _check_refusal(url, answer.status_code, access)
                wanted = answers.retry_after(answer, patience.longest_pause)
        except answers.RedirectError as error:
            raise BuildError(f"cannot read {url}: {error}", hint="check tree.url") from error
        except requests.RequestException as error:
            problem = str(error)
            advice = access.blame_tls(url, problem)
            if advice and not isinstance(error, requests.exceptions.ProxyError):
                raise BuildError(f"cannot reach {url}: {problem}", hint=advice) from error
        if attempt < patience.attempts:
            time.sleep(max(wanted, patience.pause * 2 ** (attempt - 1)))
    raise TransferError(
        f"cannot reach {url}: {problem}", hint=access.blame(url, problem) or "check the network and tree.url"
    )


def _check_refusal(url: str, status: int, access: Access) -> None:
    """Raise BuildError when a server (or a proxy) says that it will not, however often it is asked."""
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        raise BuildError(
            f"the proxy does not let {url} through: HTTP {status}",
            hint="check tree.proxy, or http_proxy in the environment",
        )
    if 400 <= status < 500 and status not in TRY_AGAIN:
        advice = access.blame_client() if url.startswith("https:") else "may this machine read it?"
        raise BuildError(f"the server refuses {url}: HTTP {status}", hint=f"check tree.url; {advice}")


def _content(url: str, answer: requests.Response, patience: Patience) -> bytes:
    content = bytearray()
    for block in answers.blocks(answer, slowest=patience.low_speed_bytes, seconds=patience.low_speed_seconds):
        content += block
        if len(content) > LARGEST:
            raise BuildError(
                f"{url} is larger than {LARGEST} bytes: it is not of an OSTree repository",
                hint="check tree.url",
            )
    return bytes(content)


def commit_object(
    url: str, commit: str, *, patience: Patience = PATIENT, access: Access = DIRECT
) -> bytes | None:
    """Return the commit object of the repository at a URL, serialised; None when it is not there. Raises
    BuildError when it is damaged.
    """
    data = _get(object_url(url, commit, "commit"), patience, access).content
    if data is not None and hashlib.sha256(data).hexdigest() != commit:
        raise BuildError(
            f"the commit object {commit} of {url} is damaged",
            hint="it must be repaired on the server (ostree fsck)",
        )
    return data


def object_url(url: str, checksum: str, suffix: str) -> str:
    """Return where a repository at a URL keeps an object."""
    return f"{url.rstrip('/')}/objects/{checksum[:2]}/{checksum[2:]}.{suffix}"
