"""Anyone with the key can verify a release; whatever is wrong with it is said, with an exit code of its kind.
Over HTTP, and from a directory.
"""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from imagebuild.destinations.source import Pace, WebSource, open_source
from imagebuild.errors import UsageError
from imagebuild.publish import facts
from imagebuild.publish.findings import EXIT_CODES, ProblemKind
from imagebuild.publish.verify import verify
from imagebuild.tools import gpg, web
from tests.publish.releasing import checked, sign_again, trust
from tests.release_lab import FIRST, SECOND, Line

PROGRAM = str(Path(sys.executable).parent / "imagebuild")
Change = Callable[[Path, Line], None]

QUICK = Pace(attempts=2, pause=0.01)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, homedir: Path) -> tuple[Line, Path]:
    line = Line(tmp_path_factory.mktemp("verify") / "line", homedir)
    line.release(line.material(line.commit("12.1", FIRST)), day="20261112")
    return line, line.release(line.material(line.commit("12.2", SECOND)))


@pytest.fixture
def copy(made: tuple[Line, Path], tmp_path: Path) -> tuple[Line, Path]:
    line, place = made
    return line, Path(shutil.copytree(place, tmp_path / place.name))


def test_a_release_is_what_was_signed(made: tuple[Line, Path]) -> None:
    line, place = made
    found = checked(line, place)
    assert found.problems == []
    assert (found.compose_id, found.version, found.commit) == (place.name, "12.2", line.trees[1].commit)
    assert found.files == len([file for file in place.rglob("*") if file.is_file()]) - 1


def test_over_http_every_file_is_fetched_once(made: tuple[Line, Path]) -> None:
    line, place = made
    asked: list[str] = []
    look = web.directories({"/releases/": [line.output]})

    def counted(path: str) -> web.Found | None:
        asked.append(path)
        return look(path)

    with web.serving(counted) as port:
        found = verify(WebSource(f"http://127.0.0.1:{port}/releases/{place.name}"), trust(line))
    assert found.problems == []
    assert found.exit_code() == 0
    downloads = {f"/releases/{place.name}/{each.path}" for each in facts.read(place).downloads}
    assert all(asked.count(path) == 1 for path in downloads)


# --- what is wrong ------------------------------------------------------------------------------------------

IMAGES = "AtomicHost/x86_64/images"
QCOW2 = f"{IMAGES}/Debian-AtomicHost-12-20261126.0.x86_64.qcow2"
LIST = f"{IMAGES}/Debian-AtomicHost-12-20261126.0-x86_64-CHECKSUM"
MANIFEST = "Debian-Atomic-12-20261126.0-x86_64-CHECKSUM"


def flipped(name: str) -> Change:
    def change(place: Path, _: Line) -> None:
        data = bytearray((place / name).read_bytes())
        data[len(data) // 2] ^= 1
        (place / name).write_bytes(data)

    return change


def replaced(name: str, old: str, new: str) -> Change:
    def change(place: Path, _: Line) -> None:
        text = (place / name).read_text()
        assert old in text
        (place / name).write_text(text.replace(old, new))

    return change


def resigned(*changes: Change) -> Change:
    """Change what is signed, and sign it again."""

    def change(place: Path, line: Line) -> None:
        for each in changes:
            each(place, line)
        sign_again(place, line)

    return change


def unlinked(name: str) -> Change:
    return lambda place, _: (place / name).unlink()


def unsigned_lines(place: Path, _: Line) -> None:
    text = (place / LIST).read_text()
    (place / LIST).write_text(f"# evil.qcow2: 1 bytes\nSHA256 (evil.qcow2) = {'6' * 64}\n{text}")


def linked_out(place: Path, _: Line) -> None:
    (place / QCOW2).unlink()
    (place / QCOW2).symlink_to("/etc/passwd")


def half_uploaded(place: Path, _: Line) -> None:
    (place / QCOW2).write_bytes((place / QCOW2).read_bytes()[:1000])
    shutil.rmtree(place / "evidence")


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        pytest.param(flipped(QCOW2), ProblemKind.CHANGED, "another SHA-256", id="a flipped bit"),
        pytest.param(unlinked(QCOW2), ProblemKind.MISSING, "not there", id="a dropped file"),
        pytest.param(
            lambda place, _: (place / QCOW2).write_bytes(b"x" * 9999999),
            ProblemKind.CHANGED,
            "more bytes",
            id="a longer file",
        ),
        pytest.param(half_uploaded, ProblemKind.MISSING, "not there", id="a half-uploaded mirror"),
        pytest.param(
            lambda place, _: (place / IMAGES / "more.qcow2").write_bytes(b"x"),
            ProblemKind.EXTRA,
            "in no CHECKSUM",
            id="an extra file",
        ),
        pytest.param(linked_out, ProblemKind.MISSING, "not there", id="a link to elsewhere"),
        pytest.param(
            replaced("index.html", "Downloads", "Download"),
            ProblemKind.CHANGED,
            "not what was signed",
            id="an edited page",
        ),
        pytest.param(
            unsigned_lines, ProblemKind.SIGNATURE, "nothing else", id="unsigned lines before the block"
        ),
        pytest.param(
            replaced(LIST, "qcow2", "qcow3"), ProblemKind.SIGNATURE, "was changed", id="an edited list"
        ),
        pytest.param(
            flipped("RELEASE-KEY.asc"), ProblemKind.CHANGED, "SHA-256", id="another key on the mirror"
        ),
        pytest.param(unlinked(MANIFEST), ProblemKind.MISSING, MANIFEST, id="no list at all"),
        pytest.param(
            unlinked("metadata/release.json"), ProblemKind.MISSING, "release.json", id="no description"
        ),
        pytest.param(
            lambda place, _: (place / "metadata/release.json").write_text("[]"),
            ProblemKind.UNREADABLE,
            "description",
            id="a description that is none",
        ),
        pytest.param(
            replaced("metadata/release.json", "Debian-Atomic-12-20261126.0", "../../x"),
            ProblemKind.UNREADABLE,
            "no such names",
            id="a name that leads out",
        ),
        pytest.param(
            resigned(replaced("metadata/images.json", "raw.xz", "qcow2")),
            ProblemKind.METADATA,
            "",
            id="type and format disagree",
        ),
        pytest.param(
            resigned(replaced("metadata/composeinfo.json", '"short": "Debian"', '"short": "debian"')),
            ProblemKind.METADATA,
            "release.short",
            id="another short name",
        ),
        pytest.param(
            resigned(replaced("COMPOSE_ID", "1126", "1125")),
            ProblemKind.METADATA,
            "COMPOSE_ID",
            id="another compose id",
        ),
        pytest.param(
            resigned(replaced("STATUS", "FINISHED", "DOOMED")),
            ProblemKind.METADATA,
            "FINISHED",
            id="a doomed compose",
        ),
        pytest.param(
            resigned(replaced("metadata/provenance.json", "in-toto.io", "example.org")),
            ProblemKind.METADATA,
            "provenance",
            id="no provenance",
        ),
        pytest.param(
            resigned(
                replaced(
                    "index.html",
                    'content="Debian-Atomic-12-20261126.0"',
                    'content="Debian-Atomic-12-20261112.0"',
                )
            ),
            ProblemKind.PAGE,
            "20261112",
            id="a stale compose id",
        ),
        pytest.param(
            resigned(replaced("index.html", f'href="{QCOW2}"', 'href="https://example.org/x"')),
            ProblemKind.PAGE,
            "out of this compose",
            id="a link to elsewhere on the page",
        ),
        pytest.param(
            resigned(flipped(QCOW2)),
            ProblemKind.METADATA,
            "not that of its CHECKSUM",
            id="an image that was not tested",
        ),
    ],
)
def test_what_is_wrong_is_said(copy: tuple[Line, Path], change: Change, kind: ProblemKind, says: str) -> None:
    line, place = copy
    change(place, line)
    found = checked(line, place)
    assert [each for each in found.problems if each.kind is kind and says in f"{each.path} {each.says}"], (
        found.problems
    )
    assert found.exit_code() >= EXIT_CODES[ProblemKind.SIGNATURE]


def test_a_release_in_the_place_of_another(copy: tuple[Line, Path]) -> None:
    line, place = copy
    found = checked(line, place.rename(place.with_name("Debian-Atomic-12-20261203.0")))
    assert found.exit_code() == EXIT_CODES[ProblemKind.SIGNATURE]
    assert "lies where Debian-Atomic-12-20261203.0 should be" in found.problems[0].says


def test_keys(copy: tuple[Line, Path], tmp_path: Path) -> None:
    line, place = copy
    with gpg.signer(
        "other <o@example.org>", homedir=tmp_path / "home", key_file=None, generate=True
    ) as other:
        (tmp_path / "other.asc").write_text(other.public_key())
    wrong = (tmp_path / "other.asc",)
    found = verify(open_source(str(place)), trust(line, keys=wrong))
    assert found.exit_code() == EXIT_CODES[ProblemKind.SIGNATURE]
    assert "another key" in found.problems[0].says
    # the release is signed, the commit in it by somebody else
    found = verify(open_source(str(place)), trust(line, commit_keys=wrong))
    assert [(each.kind, "another key" in each.says) for each in found.problems] == [
        (ProblemKind.SIGNATURE, True)
    ]


def test_an_unsigned_commit(copy: tuple[Line, Path]) -> None:
    line, place = copy
    resigned(unlinked(f"metadata/ostree/{line.trees[1].commit}.commitmeta"))(place, line)
    assert "the commit is not signed" in checked(line, place).problems[0].says


def test_a_server_that_redirects_or_is_not_there(made: tuple[Line, Path]) -> None:
    line, _ = made
    found = verify(WebSource("http://127.0.0.1:9/Debian-Atomic-12-20261126.0", QUICK), trust(line))
    assert found.exit_code() == EXIT_CODES[ProblemKind.UNREADABLE]
    assert json.dumps([each.says for each in found.problems])


def test_a_connection_that_is_cut(made: tuple[Line, Path]) -> None:
    line, place = made
    cut = f"/{place.name}/{QCOW2}"

    class Cut(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = (line.output / self.path[1:]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: 1000 if self.path == cut else None])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Cut) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = WebSource(f"http://127.0.0.1:{server.server_port}/{place.name}", QUICK)
        found = verify(source, trust(line))
        server.shutdown()
    assert found.exit_code() == EXIT_CODES[ProblemKind.UNREADABLE]
    assert QCOW2 in found.problems[0].says
    assert "cannot be fetched" in found.problems[0].says


def test_a_disk_that_is_full(made: tuple[Line, Path]) -> None:
    """What cannot be written here is a sentence, too (a limit of file sizes stands for the full disk)."""
    line, place = made
    with web.serving(web.directories({"/": [line.output]})) as port:
        argv = ["prlimit", "--fsize=30000", PROGRAM, "verify", f"http://127.0.0.1:{port}/{place.name}"]
        finished = subprocess.run(
            [*argv, "--key", str(line.key), "--no-images"], capture_output=True, text=True, check=False
        )
    assert finished.returncode == EXIT_CODES[ProblemKind.UNREADABLE], finished.stderr
    assert "cannot be verified here: File too large" in finished.stdout


@pytest.mark.parametrize("address", ["http://[x/y", "ftp://example.org/x", "http://example.org/x?y"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a release"):
        open_source(address)


def test_an_old_release_under_a_new_name(copy: tuple[Line, Path]) -> None:
    """Its description is changed, its signed lists are not."""
    line, place = copy
    new = "Debian-Atomic-12-20261203.0"
    replaced(facts.FILE, place.name, new)(place, line)
    (place / MANIFEST).rename(place / f"{new}-x86_64-CHECKSUM")
    found = checked(line, place.rename(place.with_name(new)))
    assert (ProblemKind.CHANGED, facts.FILE) in [(each.kind, each.path) for each in found.problems]
    assert found.commit == ""


def test_a_description_that_is_not_signed(copy: tuple[Line, Path]) -> None:
    line, place = copy
    text = (place / facts.FILE).read_text()
    resigned(unlinked(facts.FILE))(place, line)
    (place / facts.FILE).write_text(text)
    found = checked(line, place)
    assert (ProblemKind.METADATA, "is not signed") in [(each.kind, each.says) for each in found.problems]


def test_a_mirror_that_redirects(made: tuple[Line, Path]) -> None:
    """Mirror lists redirect, and may pack what they send: what counts is what was signed."""
    line, place = made
    with web.serving(web.directories({"/": [line.output]})) as port:

        class Redirect(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1:{port}{self.path}")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            found = verify(WebSource(f"http://127.0.0.1:{server.server_port}/{place.name}"), trust(line))
            server.shutdown()
    assert found.problems == []
