"""What lorax's ISO depends on: repositories, mirror lists, repo files."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from imagebuild.config.installer import LoraxConfig
from imagebuild.errors import BuildError, UsageError
from imagebuild.tools import web
from tests.installers.lorax.lab import REPOMD, contents, repository

# the shape of what MirrorManager answers: the newest file's hashes, then those that mirrors may still have,
# as mm0:alternates
METALINK = """<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files><file name="repomd.xml"><size>1</size>
  <verification><hash type="md5">m</hash><hash type="sha256">{newest}</hash></verification>
  <mm0:alternates><mm0:alternate><verification><hash type="sha256">old</hash></verification></mm0:alternate></mm0:alternates>
  <resources maxconnections="1"><url protocol="https">https://mirror.example.org/repodata/repomd.xml</url></resources>
 </file></files>
</metalink>
"""  # noqa: E501


# --- repositories -------------------------------------------------------------------------------------------


def test_new_packages_are_other_content_and_nothing_else_is(tmp_path: Path) -> None:
    url = repository(tmp_path / "os dir")
    url = url.replace(" ", "%20")
    before = contents(sources=[url])
    assert list(before) == [f"packages of {url}"]
    # made again of the same packages, with other errata
    repository(tmp_path / "os dir", revision=2, updateinfo="33")
    assert contents(sources=[url, url]) == before
    assert contents(sources=[url + "/"]) == before
    repository(tmp_path / "os dir", primary="12")
    assert contents(sources=[url]) != before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        ("", "is not XML"),
        ("<html><body>404</body></html>", "names no packages"),
        ("<repomd/>", "names no packages"),
        ('<?xml version="1.0" encoding="x-none"?><repomd/>', "is not XML: unknown encoding"),
        ('<!DOCTYPE repomd [<!ENTITY a "b">]><repomd>&a;</repomd>', "has a document type"),
        ("x" * (9 << 20), "larger than 8 MiB"),
    ],
)
def test_a_source_that_cannot_be_read_is_an_error_with_its_url(
    tmp_path: Path, text: str | None, why: str
) -> None:
    url = repository(tmp_path)
    file = tmp_path / "repodata" / "repomd.xml"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(BuildError, match="cannot be read") as caught:
        contents(sources=[url])
    assert f"{url}/repodata/repomd.xml" in caught.value.message
    assert why in caught.value.message
    assert "installer.backend: live" in caught.value.hint


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, bytes]], str]]:
    """Servers with answers, which return their URLs."""
    # whatever proxy this machine has
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with contextlib.ExitStack() as open_until_the_end:

        def start(answers: dict[str, bytes]) -> str:
            def look(path: str) -> web.Found | None:
                return ("text/plain", answers[path]) if path in answers else None

            return f"http://127.0.0.1:{open_until_the_end.enter_context(web.serving(look))}"

        yield start


def repomd(primary: str = "11") -> bytes:
    return REPOMD.format(primary=primary, revision=1, updateinfo="22").encode()


def test_a_mirror_list_is_its_first_mirror_that_answers(serve: Callable[[dict[str, bytes]], str]) -> None:
    mirror = serve({"/good/repodata/repomd.xml": repomd()})
    mirrors = f"# repo = fedora-26\n{mirror}/gone/\n{mirror}/good/\n".encode()
    server = serve({"/list": mirrors})
    found = contents(mirrors=[f"{server}/list?repo=fedora-26&arch=x86_64"])
    assert list(found.values()) == list(contents(sources=[f"{mirror}/good"]).values())
    # not one address; then another
    half = serve({"/list": f"http://[half/\n{mirror}/good\n".encode()})
    assert list(contents(mirrors=[f"{half}/list"]).values()) == list(found.values())
    empty = serve({"/list": b"# no mirrors\n"})
    with pytest.raises(BuildError, match="lists no mirror"):
        contents(mirrors=[f"{empty}/list"])
    with pytest.raises(BuildError, match="the server says 404"):
        contents(mirrors=[f"{empty}/none"])


def test_a_metalink_has_the_checksum_itself(serve: Callable[[dict[str, bytes]], str]) -> None:
    server = serve({"/metalink": METALINK.format(newest="new").encode()})
    assert list(contents(mirrors=[f"{server}/metalink"]).values()) == ["new"]
    broken = serve({"/metalink": b"<metalink/>"})
    with pytest.raises(BuildError, match="is not a metalink"):
        contents(mirrors=[f"{broken}/metalink"])


def test_nothing_is_said_of_passwords(serve: Callable[[dict[str, bytes]], str]) -> None:
    server = serve({"/os/repodata/repomd.xml": repomd()})
    secret = server.replace("http://", "http://me:secret@")
    assert list(contents(sources=[f"{secret}/os"])) == [f"packages of {server}/os"]
    with pytest.raises(BuildError) as caught:
        contents(sources=["http://me:secret@127.0.0.1:1/os"])
    assert "secret" not in caught.value.message


def test_a_server_that_does_not_answer_costs_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[[dict[str, bytes]], str]
) -> None:
    asked: dict[str, Any] = {}

    def get(url: str, **options: Any) -> None:
        asked.update(options)
        raise requests.ConnectTimeout("it took too long")

    monkeypatch.setattr(requests, "get", get)
    with pytest.raises(BuildError, match="it took too long"):
        contents(sources=["https://example.org/os"], proxy="proxy.example.org:3128", ssl_verify=False)
    assert asked["timeout"] == (10.0, 30.0)
    assert asked["proxies"] == {
        "http": "http://proxy.example.org:3128",
        "https": "http://proxy.example.org:3128",
    }
    assert asked["verify"] is False


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("[a]\nbaseurl=@/26/x86_64\n", {}, ["a"]),
        ("[a]\nbaseurl=@/$releasever/${basearch}\n[b]\nbaseurl = @/none\n    @/26/x86_64\n", {}, ["a", "b"]),
        ("[a]\nbaseurl=@/$releasever_major/$basearch\n", {}, ["a"]),
        ("[a]\nbaseurl=@/none, @/26/x86_64\nenabled=1\n[b]\nbaseurl=@/none\nenabled = 0\n", {}, ["a"]),
        ("[main]\ngpgcheck=0\n[a]\nbaseurl=@/26/x86_64\nenabled=0\n", {"enable_repos": ["a"]}, ["a"]),
        (
            "[a]\nbaseurl=@/26/x86_64\n[b-debuginfo]\nbaseurl=@/none\n",
            {"disable_repos": ["b-debuginfo"]},
            ["a"],
        ),
        (
            "[a]\nbaseurl=@/26/x86_64\n[b-debuginfo]\nbaseurl=@/none\n",
            {"disable_repos": ["*-debuginfo"]},
            ["a"],
        ),
        (
            "[copr:h.org:u:p]\nbaseurl=@/26/x86_64\nenabled=0\n[b]\nbaseurl=@/none\n",
            {"enable_repos": ["copr:*"], "disable_repos": ["[!c]"]},
            ["copr:h.org:u:p"],
        ),
        ("[a]\nmetalink=@/none\nbaseurl=@/26/x86_64\n", {}, ["a"]),
        ("[a]\nbaseurl=@/none\nskip_if_unavailable=True\n", {}, ["a"]),
        ("[a]\nbaseurl=@/26/$arch\nname=100% of it; %(x)s\n", {}, ["a"]),
    ],
)
def test_repo_files_are_read_as_dnf_does(
    tmp_path: Path, text: str, options: dict[str, Any], expected: list[str]
) -> None:
    repository(tmp_path / "26" / "x86_64")
    file = tmp_path / "mine.repo"
    file.write_text(text.replace("@", f"file://{tmp_path}"))
    assert list(contents(repos=[str(file)], **options)) == [
        f"packages of [{name}] of mine.repo" for name in expected
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("baseurl=x\n", "cannot be read as a .repo file"),
        ("", "no package source is enabled in mine.repo"),
        ("[a]\nbaseurl=https://example.org/os\nenabled=0\n", "no package source is enabled in mine.repo"),
        ("[a]\nname=b\n", r"\[a\] has neither baseurl, mirrorlist nor metalink"),
        ("\xff\xfe", "cannot be read as a .repo file"),
        ("[a]\nbaseurl=ftp://example.org/os\n", "only http, https and file"),
        ("[a]\nbaseurl=https://example.org/$unknown/os\n", r"example.org/\$unknown/os"),
        ("[a]\nbaseurl=http://u:p@[half/os\n", r"http://\[half/os: Invalid IPv6 URL"),
        ("[a]\nmirrorlist=http://[half/list\n", r"http://\[half/list"),
    ],
)
def test_a_repo_file_that_is_none_is_said(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "get", lambda *_, **__: (_ for _ in ()).throw(OSError("offline")))
    file = tmp_path / "mine.repo"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BuildError, match=message):
        contents(repos=[str(file)])
    with pytest.raises(UsageError, match="cannot be read"):
        contents(repos=[str(tmp_path / "none.repo")])


def test_lorax_without_a_source_is_said_before_anything() -> None:
    with pytest.raises(UsageError, match="no package source is configured"):
        contents()


@pytest.mark.parametrize("key", ["sources", "mirrors"])
def test_what_lorax_would_skip_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="silently skips"):
        LoraxConfig.model_validate({key: ["https://example.org/mirrorlist?repo=updates-srpm"]})
