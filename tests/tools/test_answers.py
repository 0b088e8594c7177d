"""Servers that misbehave, and what reads from them: real sockets, real libostree. Nothing hangs, and nothing
bad is taken.
"""

from pathlib import Path

import pytest
import requests

from imagebuild.destinations.source import AbsentError, Pace, WebSource, read
from imagebuild.errors import BuildError
from imagebuild.installers.lorax import metadata
from imagebuild.installers.lorax.metadata import PackageSource
from imagebuild.live import kickstarts
from imagebuild.tools import answers
from imagebuild.tools.access import Access
from imagebuild.tools.ostree import server as ostree_server
from imagebuild.tools.ostree import server_damage
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.server import Patience
from tests.faulty_server import Fault, misbehaving
from tests.origin_lab import make_authority, server_tls
from tests.tools.ostree.commits import FILES, REF, make_commit

QUICK = Patience(attempts=2, pause=0.01, longest_pause=0.02, low_speed_bytes=1000, low_speed_seconds=0.5)
PACE = Pace(attempts=3, pause=0.01, longest_pause=0.02, slowest=1000, seconds=0.5)
CONTENT = bytes(range(256)) * 40
# of every reader: faults that end in a sentence, and what it says
NEVER = [
    (Fault("status", status=500), "500"),
    (Fault("status", status=503, retry_after="9" * 5000), "503"),
    (Fault("status", status=429, retry_after="Fri, 31 Dec 9999 23:59:59 GMT"), "429"),
    (Fault("drop"), "IncompleteRead"),
    (Fault("short"), "IncompleteRead"),
    (Fault("long"), "IncompleteRead"),
    (Fault("stall"), "[Tt]imed out|timeout"),
    (Fault("drip"), "fewer than 1000 bytes/s"),
    (Fault("circle"), "redirects"),
    (Fault("file"), "file:"),
]
NAMES = [f"{fault.kind}{fault.status if fault.kind == 'status' else ''}" for fault, _ in NEVER]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def again(fault: Fault, times: int) -> Fault:
    return Fault(fault.kind, times, fault.status, fault.retry_after, fault.target)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "served"
    made.mkdir()
    (made / "file").write_bytes(CONTENT)
    return made


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repo, str]:
    """A repository as servers have it."""
    work = tmp_path_factory.mktemp("origin")
    (work / "tar").mkdir()
    repo = Repo.ensure(work / "repo")
    commit = make_commit(repo, work / "tar", FILES)
    repo.update_summary()
    return repo, commit


# --- refs and summaries -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "says"), NEVER, ids=NAMES)
def test_a_ref_is_read_or_refused(origin: tuple[Repo, str], fault: Fault, says: str) -> None:
    repo, commit = origin
    with misbehaving(repo.path) as (url, behaviour):
        behaviour.faults["/summary"] = again(fault, 1 << 20)
        with pytest.raises(BuildError, match=says):
            ostree_server.resolve(url, REF, patience=QUICK)
        asked = behaviour.asked.count("/summary")
        if fault.kind not in ("circle", "file"):
            assert asked == QUICK.attempts
            behaviour.faults["/summary"] = again(fault, 1)
            assert ostree_server.resolve(url, REF, patience=QUICK) == commit


def test_a_body_without_end_is_left(origin: tuple[Repo, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ostree_server, "LARGEST", 1 << 20)
    with (
        misbehaving(origin[0].path, faults={"/summary": Fault("endless")}) as (url, _),
        pytest.raises(BuildError, match="larger than 1048576 bytes"),
    ):
        ostree_server.resolve(url, REF, patience=QUICK)


def test_a_flipped_bit_of_a_commit_is_seen(origin: tuple[Repo, str]) -> None:
    repo, commit = origin
    with (
        misbehaving(repo.path, faults={"*": Fault("flip")}) as (url, _),
        pytest.raises(BuildError, match="damaged"),
    ):
        ostree_server.commit_object(url, commit, patience=QUICK)


def test_nobody_leads_from_a_server_that_proved_its_name_to_one_that_did_not(
    origin: tuple[Repo, str], tmp_path: Path
) -> None:
    repo, commit = origin
    authority = make_authority(tmp_path)
    tls = server_tls(authority.sign("server", "127.0.0.1"))
    with misbehaving(repo.path) as (plain, other), misbehaving(repo.path, tls) as (url, behaviour):
        access = Access(ca=authority.file)
        assert ostree_server.resolve(url, REF, patience=QUICK, access=access) == commit
        behaviour.faults["*"] = Fault("redirect", target=f"{plain}/summary")
        with pytest.raises(BuildError, match="redirects to http:, which is not followed"):
            ostree_server.resolve(url, REF, patience=QUICK, access=access)
        assert other.asked == []


# --- pulls --------------------------------------------------------------------------------------------------


def objects(repo: Repo, suffix: str) -> str:
    return next(
        f"/{file.relative_to(repo.path)}" for file in sorted((repo.path / "objects").rglob(f"*.{suffix}"))
    )


@pytest.mark.parametrize("kind", ["drop", "short", "flip", "status", "file"])
def test_a_pull_takes_nothing_bad(origin: tuple[Repo, str], tmp_path: Path, kind: str) -> None:
    repo, commit = origin
    mine = Repo.ensure(tmp_path / "mine")
    with misbehaving(repo.path) as (url, behaviour):
        remote = Remote(url=url, keys=(), verify=False)
        behaviour.faults[objects(repo, "filez")] = Fault(kind)
        with pytest.raises(BuildError) as caught:
            mine.pull(remote, commit, patience=QUICK)
        assert caught.value.hint
        behaviour.faults.clear()
        mine.pull(remote, commit, patience=QUICK)
    assert mine.fsck(commit) > len(FILES)


def test_looking_for_the_damaged_object_has_limits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_damage, "LARGEST", 1 << 20)
    commit = "ab" * 32
    file = ostree_server.object_url("", commit, "commit")
    (place / file[1:]).parent.mkdir(parents=True)
    (place / file[1:]).write_bytes(b"x")
    with misbehaving(place, faults={"*": Fault("endless")}) as (url, _):
        found = server_damage.find_damaged(url, commit, QUICK, has_file=lambda _: False)
    assert found is not None
    assert "larger than 1048576 bytes" in found


# --- releases -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "says"), NEVER, ids=NAMES)
def test_a_file_of_a_release_is_read_or_refused(place: Path, fault: Fault, says: str) -> None:
    with misbehaving(place) as (url, behaviour):
        behaviour.faults["/file"] = again(fault, 1 << 20)
        source = WebSource(url.replace("://", "://ada:secret@"), PACE)
        with pytest.raises(BuildError, match=says) as caught:
            read(source, "file")
        assert "secret" not in caught.value.message
        if fault.kind not in ("circle", "file"):
            behaviour.faults["/file"] = again(fault, 1)
            assert read(source, "file") == CONTENT


@pytest.mark.parametrize("resumes", [True, False])
def test_what_was_cut_off_goes_on_where_it_ended(place: Path, resumes: bool) -> None:
    with misbehaving(place, faults={"/file": Fault("short", 2)}) as (url, behaviour):
        behaviour.resumes = resumes
        assert read(WebSource(url, PACE), "file") == CONTENT
        half = len(CONTENT) // 2
        assert behaviour.ranges == ([f"bytes={half}-", f"bytes={half + half // 2}-"] if resumes else [])


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_is_not_there_is_asked_for_once(place: Path, status: int) -> None:
    with misbehaving(place, faults={"/file": Fault("status", status=status)}) as (url, behaviour):
        with pytest.raises(AbsentError, match=str(status)):
            read(WebSource(url, PACE), "file")
        assert len(behaviour.asked) == 1


def test_of_a_file_without_end_the_beginning_is_read(place: Path) -> None:
    with (
        misbehaving(place, faults={"/file": Fault("endless")}) as (url, _),
        pytest.raises(BuildError, match="larger than 100000 bytes"),
    ):
        read(WebSource(url, PACE), "file", 100_000)


# --- package repositories, kickstarts -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["status", "drop", "short", "long", "stall", "drip", "circle", "file"])
def test_a_package_source_is_read_or_refused(place: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(metadata, "READ_SECONDS", 0.5)
    monkeypatch.setattr(metadata, "TOTAL_SECONDS", 0.5)
    (place / "repodata").mkdir()
    (place / "repodata" / "repomd.xml").write_bytes(CONTENT)
    with misbehaving(place, faults={"*": Fault(kind)}) as (url, _):
        source = PackageSource(name="packages", urls=(url.replace("://", "://ada:secret@"),))
        with pytest.raises(BuildError, match="package source packages cannot be read") as caught:
            metadata.content(source)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("kind", "says"),
    [("drop", "ended after 0 of"), ("short", "ended after 5120 of"), ("drip", "took more than"),
     ("circle", "cannot be fetched"), ("file", "cannot be fetched"), ("status", "503")],
)  # fmt: skip
def test_half_a_kickstart_is_none(place: Path, monkeypatch: pytest.MonkeyPatch, kind: str, says: str) -> None:
    monkeypatch.setattr(kickstarts, "has_route", lambda: True)
    monkeypatch.setattr(kickstarts, "FETCH_SECONDS", 0.3)
    monkeypatch.setattr(kickstarts, "TRIES", 1)
    with misbehaving(place, faults={"/file": Fault(kind)}) as (url, behaviour):
        with pytest.raises(BuildError, match=says):
            kickstarts.fetch(f"{url}/file")
        behaviour.faults.clear()
        assert kickstarts.fetch(f"{url}/file") == CONTENT


# --- how long a server makes us wait ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("", 0), ("7", 7), ("86400", 30), ("9" * 5000, 30), ("-5", 0), ("soon", 0), ("\u0667", 0),
     ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 30)],
)  # fmt: skip
def test_a_server_may_ask_for_a_pause_with_a_limit(said: str, seconds: float) -> None:
    answer = requests.Response()
    answer.headers["Retry-After"] = said
    assert answers.retry_after(answer, 30) == seconds
