"""A remote in an object store: moto's S3 server, asked as a real one is, and everything that goes wrong."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagebuild.engine import planning, steps
from imagebuild.engine.remote import Remote
from imagebuild.engine.steps import Step, gather, step
from imagebuild.errors import BuildError, UsageError
from tests.engine.building import Recorder, run
from tests.engine.remotes import QUICK, Server, machine, serving
from tests.engine.sample_steps import Text, calls, join, shout, write

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch) as running:
        yield running


def goal() -> Step[Text]:
    return step("joined", join, gather([step("a", write, "one"), step("b", write, "two")]), "+")


def pair(one: Step[Any]) -> tuple[str, str]:
    return steps.kind_of(one), steps.key_of(one)


def test_an_empty_worker_builds_nothing_and_fetches_nothing_twice(tmp_path: Path, server: Server) -> None:
    run(goal(), machine(tmp_path / "one", server.url))
    assert len(calls) == 3
    server.requests.clear()
    two, recorder = machine(tmp_path / "two", server.url), Recorder()
    wanted = goal()
    run(wanted, two, recorder)
    assert len(calls) == 3
    assert all(event.startswith("cached") for event in recorder.events)
    assert not server.count("GET", "/blobs/"), "a plan fetches no files"
    for number in range(3):
        loud = step(f"loud {number}", shout, wanted)
        assert run(loud, two).value(loud).file.read_text() == "ONE+TWO"
    assert set(server.count("GET", "/blobs/").values()) == {1}
    assert set(server.count("GET", r"/results/sample_steps\.(write|join)/").values()) == {1}
    # of what was read, one pack; of the others none
    assert len(server.count("GET", "/blobs/")) == 1


def test_a_plan_asks_for_every_result_once_and_for_several_at_a_time(tmp_path: Path, server: Server) -> None:
    texts = gather([step(f"text {number}", write, f"{number}") for number in range(12)])
    wanted = step("joined", join, texts, "+")
    run(wanted, machine(tmp_path / "one", server.url))
    server.requests.clear()
    waiting, most = [0], [0]

    def fault(method: str, path: str, environ: dict[str, Any]) -> None:
        waiting[0] += 1
        most[0] = max(most[0], waiting[0])
        time.sleep(0.05)
        waiting[0] -= 1

    server.fault = fault
    two = machine(tmp_path / "two", server.url)
    assert {planned.reason for planned in planning.plan([wanted], two)} == {"finished"}
    assert set(server.count("GET", r"/results/\w+\.\w+/").values()) == {1}
    assert len(server.count("GET", r"/results/\w+\.\w+/")) == 13
    assert most[0] > 3


def test_of_two_writers_the_first_wins(tmp_path: Path, server: Server) -> None:
    remote = Remote(server.url, QUICK)
    assert remote.create("results/kind/key.json", b"first") == b"first"
    assert remote.create("results/kind/key.json", b"second") == b"first"
    # not seen when it was looked for: the condition decides
    assert remote._drive.create("results/kind/key.json", b"third") is False
    assert remote.read("results/kind/key.json") == b"first"
    assert remote.creates() is None


def deaf(method: str, path: str, environ: dict[str, Any]) -> None:
    """Do as services that do not know conditional writes: leave the condition out."""
    environ.pop("HTTP_IF_NONE_MATCH", None)


def test_a_service_that_ignores_conditions_is_found_out(tmp_path: Path, server: Server) -> None:
    server.fault = deaf
    assert Remote(server.url, QUICK).creates() == "it accepts conditional writes, and ignores the condition"
    # what is there already is still respected, and what was written is read back
    one, two = machine(tmp_path / "one", server.url), machine(tmp_path / "two", server.url)
    first, other = step("a", write, "one"), step("a", write, "one")
    run(first, one)
    assert run(other, two).records[other].remark is None
    assert len(calls) == 1


def test_a_writer_that_was_overwritten_gives_way(server: Server) -> None:
    """The service lies, and another machine writes between our write and our look."""
    remote, written = Remote(server.url, QUICK), []

    def fault(method: str, path: str, environ: dict[str, Any]) -> None:
        environ.pop("HTTP_IF_NONE_MATCH", None)
        if method == "PUT":
            written.append(path)
        elif written and len(written) == 1:
            written.append("other")
            Remote(server.url, QUICK).write("results/kind/key.json", b"theirs")

    server.fault = fault
    assert remote.create("results/kind/key.json", b"ours") == b"theirs"


def test_a_service_without_conditional_writes_is_written_to_plainly(server: Server) -> None:
    def fault(method: str, path: str, environ: dict[str, Any]) -> tuple[str, bytes] | None:
        if "HTTP_IF_NONE_MATCH" in environ:
            return "501 Not Implemented", b"<Error><Code>NotImplemented</Code><Message>no</Message></Error>"
        return None

    server.fault = fault
    remote = Remote(server.url, QUICK)
    assert remote.create("results/kind/key.json", b"first") == b"first"
    assert remote.create("results/kind/key.json", b"second") == b"first"
    assert remote.creates() == "it has no conditional writes (NotImplemented)"


def test_a_busy_service_is_asked_again_up_to_a_limit(tmp_path: Path, server: Server) -> None:
    refused: list[str] = []

    def fault(method: str, path: str, environ: dict[str, Any]) -> tuple[str, bytes] | None:
        if "/results/" in path and len(refused) < 2:
            refused.append(path)
            return "503 Slow Down", SLOW_DOWN
        return None

    server.fault = fault
    remote = Remote(server.url, QUICK)
    assert remote.create("results/kind/key.json", b"first") == b"first"
    assert len(refused) == 2

    server.requests.clear()
    server.fault = lambda *_: ("503 Slow Down", SLOW_DOWN)
    with pytest.raises(
        BuildError, match=r"does not work: reading results/kind/key\.json: .*3 attempts"
    ) as caught:
        remote.read("results/kind/key.json")
    assert "goes on from here when it answers again" in caught.value.hint
    assert len(server.requests) == 3


def test_a_service_that_is_down_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as server:
        store = machine(tmp_path / "one", server.url)
    with pytest.raises(
        BuildError, match=r"the remote store s3://shared/store does not work: listing results/"
    ):
        store.find("kind", "key")


def test_refused_credentials_are_not_tried_again(server: Server) -> None:
    server.fault = lambda *_: (
        "403 Forbidden",
        b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
    )
    with pytest.raises(BuildError, match=r"s3://shared/store: reading x: ") as caught:
        Remote(server.url, QUICK).read("x")
    assert len(server.requests) == 1
    assert "credentials" in caught.value.hint


def test_a_bucket_that_is_not_there_is_a_sentence(server: Server) -> None:
    with pytest.raises(BuildError, match="s3://nothing/store: creating x: "):
        Remote("s3://nothing/store", QUICK).create("x", b"data")


def test_a_truncated_object_is_read_again_and_then_refused(tmp_path: Path, server: Server) -> None:
    wanted = step("a", write, "text " * 1000)
    run(wanted, machine(tmp_path / "one", server.url))
    remote = Remote(server.url, QUICK)
    (name,) = remote.listing("blobs/")
    whole = remote.read(name)
    assert whole is not None
    remote.write(name, whole[:-5])
    server.requests.clear()
    with pytest.raises(BuildError, match=r"bytes instead of \d+: it was cut \(3 attempts\)"):
        machine(tmp_path / "two", server.url).need(*pair(wanted))
    assert set(server.count("GET", "/blobs/").values()) == {3}
    # whole again: the same worker goes on
    remote.write(name, whole)
    assert machine(tmp_path / "two", server.url).need(*pair(wanted)).directory.is_dir()


def test_a_poisoned_object_is_refused(tmp_path: Path, server: Server) -> None:
    wanted = step("a", write, "text " * 1000)
    run(wanted, machine(tmp_path / "one", server.url))
    remote = Remote(server.url, QUICK)
    (name,) = remote.listing("blobs/")
    whole = remote.read(name)
    assert whole is not None
    remote.write(name, whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
    two = machine(tmp_path / "two", server.url)
    with pytest.raises(BuildError, match=r"of sample_steps\.write-\w+, is not used: ") as caught:
        two.need(*pair(wanted))
    assert "results/sample_steps.write/" in caught.value.hint
    assert not list((tmp_path / "two" / "artifacts").glob("*/*"))


def test_a_large_object_is_gone_on_with_where_it_broke_off(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagebuild.engine.remote.PART", 1000)
    one = machine(tmp_path / "one", server.url)
    with one.lock("kind", "key"):
        scratch = one.scratch("kind", "key")
        (scratch.out / "noise").write_bytes(random.Random(7).randbytes(4500))
        one.finish(scratch, "kind", "key", value=None, components={}, seconds=1.0)
    asked: list[str] = []

    def fault(method: str, path: str, environ: dict[str, Any]) -> tuple[str, bytes] | None:
        if "/blobs/" in path and method == "GET":
            asked.append(environ["HTTP_RANGE"])
            if len(asked) == 1:
                return "503 Slow Down", SLOW_DOWN
        return None

    server.fault = fault
    machine(tmp_path / "two", server.url).need("kind", "key")
    assert asked[:2] == ["bytes=0-999", "bytes=0-999"]
    assert len(asked) == len(set(asked)) + 1, "what was read is not asked for again"


@pytest.mark.parametrize(
    "url",
    [
        "s3:///path",
        "file://host/path",
        "http://host/path",
        "/path",
        "s3://name:word@bucket/x",
        "s3://b/x?y",
        "file://",
    ],
)
def test_what_is_no_address_is_a_sentence(url: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a remote store"):
        Remote(url)


def test_a_share_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not there: there is no directory .*/share"):
        Remote(f"file://{tmp_path}/share")
    assert not (tmp_path / "share").exists()
