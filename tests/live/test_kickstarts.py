"""Where a kickstart comes from: what was asked for and is not there stops the installation."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.live import kickstarts
from imagebuild.live.arguments import KickstartSource, parse


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/run/install, elsewhere; no disk is labelled OEMDRV, and there is a network."""
    monkeypatch.setattr(kickstarts, "IN_USE", tmp_path / "ks.cfg")
    monkeypatch.setattr(kickstarts, "MEDIUM", tmp_path / "repo")
    monkeypatch.setattr(kickstarts, "resolve", lambda _: None)
    monkeypatch.setattr(kickstarts, "has_route", lambda: True)
    monkeypatch.setattr(kickstarts, "DEVICE_SECONDS", 0)
    (tmp_path / "repo").mkdir()
    (tmp_path / "defaults.ks").write_text("text\n")
    return tmp_path


@contextlib.contextmanager
def served(answers: dict[str, bytes]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def find(install: Path, asked: KickstartSource | None) -> kickstarts.Found:
    return kickstarts.find(asked, install / "defaults.ks", lambda _: None)


def test_without_a_kickstart_the_defaults_are_used_and_nobody_gave_them(install: Path) -> None:
    found = find(install, None)
    assert (found.text, found.given) == ("text\n", False)
    assert (install / "ks.cfg").read_text() == "text\n"
    assert (install / "ks.cfg").stat().st_mode & 0o777 == 0o600


def test_http(install: Path) -> None:
    with served(
        {"/ks.cfg": b"text # http\n", "/large": b"#" * ((1 << 20) + 1), "/binary": b"\xff\xfe"}
    ) as url:
        assert find(install, parse(f"inst.ks={url}/ks.cfg").kickstart).text == "text # http\n"
        with pytest.raises(BuildError, match=r"cannot be fetched: 404"):
            find(install, parse(f"inst.ks={url}/other.cfg").kickstart)
        with pytest.raises(BuildError, match="larger than 1 MiB"):
            find(install, parse(f"inst.ks={url}/large").kickstart)
        with pytest.raises(BuildError, match="not text"):
            find(install, parse(f"inst.ks={url}/binary").kickstart)


def test_a_byte_order_mark_is_skipped_wherever_the_kickstart_is_from(install: Path) -> None:
    marked = b"\xef\xbb\xbftext # marked\n"
    (install / "repo" / "ks.cfg").write_bytes(marked)
    (install / "defaults.ks").write_bytes(marked)
    with served({"/ks.cfg": marked}) as url:
        for asked in (
            f"inst.ks={url}/ks.cfg",
            "inst.ks=cdrom:/ks.cfg",
            f"inst.ks=file:{install}/repo/ks.cfg",
            "",
        ):
            assert find(install, parse(asked).kickstart).text == "text # marked\n", asked


def test_no_network_is_a_sentence(install: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kickstarts, "has_route", lambda: False)
    monkeypatch.setattr(kickstarts, "NETWORK_SECONDS", -1)
    with pytest.raises(BuildError, match="there is no network to fetch http"):
        find(install, parse("inst.ks=http://10.0.2.2/ks.cfg").kickstart)


def test_the_medium_and_files(install: Path) -> None:
    (install / "repo" / "ks.cfg").write_text("text # medium\n")
    assert find(install, parse("inst.ks=cdrom:/ks.cfg").kickstart).text == "text # medium\n"
    assert find(install, parse(f"inst.ks=file:{install}/repo/ks.cfg").kickstart).text == "text # medium\n"
    for asked in ("cdrom:/other.cfg", f"file:{install}/other.cfg"):
        with pytest.raises(BuildError, match=r"other\.cfg that was asked for is not there"):
            find(install, parse(f"inst.ks={asked}").kickstart)


def test_the_mediums_own_label_is_read_from_the_medium(
    install: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (install / "repo" / "ks.cfg").write_text("text # medium\n")
    monkeypatch.setattr(kickstarts, "resolve", lambda _: Path("/dev/null"))
    monkeypatch.setattr(kickstarts, "disk_of", lambda _: "sda")
    found = find(install, parse("inst.ks=hd:LABEL=MEDIUM:/ks.cfg").kickstart)
    assert (found.text, found.device) == ("text # medium\n", "")
    with pytest.raises(BuildError, match=r"lost\.cfg that was asked for is not there"):
        find(install, parse("inst.ks=hd:LABEL=MEDIUM:/lost.cfg").kickstart)


def test_a_device_that_is_not_there_stops(install: Path) -> None:
    with pytest.raises(BuildError, match="the kickstart's device LABEL=NOWHERE is not there"):
        find(install, parse("inst.ks=hd:LABEL=NOWHERE:/ks.cfg").kickstart)


def test_a_disk_labelled_oemdrv_is_used_and_remembered(
    install: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (install / "disk").mkdir()
    monkeypatch.setattr(
        kickstarts, "resolve", lambda device: Path("/dev/null") if device == "LABEL=OEMDRV" else None
    )
    monkeypatch.setattr(kickstarts, "mounted", lambda _: contextlib.nullcontext(install / "disk"))
    assert find(install, None).given is False, "a disk without ks.cfg says nothing"
    (install / "disk" / "ks.cfg").write_text("text # oem\n")
    found = find(install, None)
    assert (found.text, found.given, found.device) == ("text # oem\n", True, "1:3")
    (install / "repo" / "ks.cfg").write_text("text # medium\n")
    assert find(install, parse("inst.ks=cdrom:/ks.cfg").kickstart).text == "text # medium\n", (
        "what was asked for comes first"
    )
