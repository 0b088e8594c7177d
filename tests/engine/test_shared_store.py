"""A store of several machines: what one has made the others find, and fetch when they read it."""

import json
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagebuild.engine import planning, steps
from imagebuild.engine.results import beside
from imagebuild.engine.shared import SharedStore
from imagebuild.engine.steps import Step, gather, step
from imagebuild.engine.store import Store
from imagebuild.errors import BuildError
from tests.engine.building import Recorder, run
from tests.engine.remotes import finish, machine, serving, share
from tests.engine.sample_steps import Text, calls, join, shout, write


def texts() -> Step[Text]:
    return step("joined", join, gather([step("a", write, "one"), step("b", write, "two")]), "+")


def there(place: Path) -> set[str]:
    return {directory.parent.name.partition(".")[2] for directory in (place / "artifacts").glob("*/*")}


def test_a_second_machine_builds_nothing_and_fetches_only_what_it_reads(tmp_path: Path) -> None:
    url, goal = share(tmp_path), texts()
    run(goal, machine(tmp_path / "one", url))
    assert sorted(calls) == ["join", "write one", "write two"]
    two, recorder = machine(tmp_path / "two", url), Recorder()
    outcome = run(goal, two, recorder)
    assert len(calls) == 3
    assert recorder.events == ["cached joined"] or set(recorder.events) == {
        "cached joined",
        "cached a",
        "cached b",
    }
    assert there(tmp_path / "two") == set(), "a plan needs no files"
    loud = step("loud", shout, goal)
    assert run(loud, two).value(loud).file.read_text() == "ONE+TWO"
    assert there(tmp_path / "two") == {"join", "shout"}
    assert two.need(steps.kind_of(goal), steps.key_of(goal)).directory.is_relative_to(tmp_path / "two")
    assert outcome.value(goal).file.read_text() == "one+two"


def test_a_fetched_artifact_is_the_one_that_was_made(tmp_path: Path) -> None:
    url = share(tmp_path)
    one, two = machine(tmp_path / "one", url), machine(tmp_path / "two", url)
    with one.lock("kind", "key"):
        scratch = one.scratch("kind", "key")
        (scratch.out / "deep" / "er").mkdir(parents=True)
        (scratch.out / "empty").mkdir()
        (scratch.out / "large").write_bytes(bytes(range(256)) * 10_000)
        (scratch.out / "deep" / "er" / "program").write_text("#!/bin/sh\n")
        (scratch.out / "deep" / "er" / "program").chmod(0o755)
        (scratch.out / "link").symlink_to("deep/er/program")
        scratch.log.write_text("what was said\n")
        made = one.finish(scratch, "kind", "key", value={"a": [1]}, components={"b": "2"}, seconds=3.25)
    found = two.need("kind", "key")
    assert (found.value, found.components, found.seconds) == (made.value, made.components, 3.25)
    assert (found.directory / "artifact.json").read_bytes() == (made.directory / "artifact.json").read_bytes()
    assert found.log.read_text().startswith("what was said\n")
    assert (found.directory / "out" / "link").readlink() == Path("deep/er/program")
    assert (found.directory / "out" / "deep/er/program").stat().st_mode & 0o777 == 0o755
    assert (found.directory / "out" / "large").read_bytes() == bytes(range(256)) * 10_000
    assert (found.directory / "out" / "empty").is_dir()
    # whole, as DirectoryStore sees it
    assert two.directory.find("kind", "key") is not None
    assert not list((tmp_path / "two" / "scratch").iterdir())
    assert not list((tmp_path / "share" / "partial").iterdir())


def test_what_is_needed_beside_an_artifact_comes_with_it(tmp_path: Path) -> None:
    url = share(tmp_path)
    one, two = machine(tmp_path / "one", url), machine(tmp_path / "two", url)
    finish(one, "disk.install", "base", disk=b"base")
    with one.lock("disk.derive", "over"):
        scratch = one.scratch("disk.derive", "over")
        value = {"file": "out/disk", "base": {"store": "artifacts/disk.install/base/out/disk"}}
        one.finish(scratch, "disk.derive", "over", value=value, components={}, seconds=1.0)
    two.need("disk.derive", "over")
    assert (tmp_path / "two/artifacts/disk.install/base/out/disk").read_bytes() == b"base"
    assert beside({"title": "store", "x": [{"store": "artifacts/a/b/c"}]}) == [("a", "b")]
    assert beside({"x": {"store": "artifacts/../b/c"}, "y": {"store": "repo"}, "z": {"store": 1}}) == []


def test_the_loser_compares_and_uses_what_the_first_one_made(tmp_path: Path) -> None:
    url = share(tmp_path)
    one, two, three = (machine(tmp_path / name, url) for name in ("one", "two", "three"))
    first = finish(one, "kind", "key", disk=b"first", same=b"same")
    assert first.remark is None
    other = finish(two, "kind", "key", disk=b"other", same=b"same")
    assert other.remark is not None
    assert "differs from what was made here: out/disk (that one is used)" in other.remark
    assert (other.directory / "out" / "disk").read_bytes() == b"first"
    assert f"warning: {other.remark}" in other.log.read_text()
    assert list((tmp_path / "two" / "differences").iterdir())
    same = finish(three, "kind", "key", disk=b"first", same=b"same")
    assert same.remark is None
    assert "the same, byte by byte" in same.log.read_text()


def test_evidence_of_guests_is_never_the_same_and_no_alarm(tmp_path: Path) -> None:
    url = share(tmp_path)
    finish(machine(tmp_path / "one", url, varying=("smoke",)), "smoke", "key", log=b"at noon")
    other = finish(machine(tmp_path / "two", url, varying=("smoke",)), "smoke", "key", log=b"at night")
    assert other.remark is None
    assert (other.directory / "out" / "log").read_bytes() == b"at noon"


def test_what_was_made_before_there_was_a_remote_is_sent_when_a_build_begins(tmp_path: Path) -> None:
    url, goal = share(tmp_path), texts()
    one = machine(tmp_path / "one", url)
    run(goal, one.directory)
    assert not (tmp_path / "share" / "results").exists()
    run(goal, machine(tmp_path / "one", url))
    two = machine(tmp_path / "two", url)
    assert two.need(steps.kind_of(goal), steps.key_of(goal)).log.exists()
    assert len(calls) == 3


def test_what_could_not_be_sent_is_finished_here_and_sent_later(tmp_path: Path) -> None:
    url, goal = share(tmp_path), step("a", write, "one")
    one = machine(tmp_path / "one", url)
    (tmp_path / "share" / "blobs").write_text("in the way")
    error = run(goal, one).failed[goal]
    assert "blobs" in error.message
    assert "is finished, and is sent when it can be" in error.hint
    assert error.log is not None
    assert "not sent" in error.log.read_text()
    (tmp_path / "share" / "blobs").unlink()
    assert not run(goal, machine(tmp_path / "one", url)).failed
    assert calls == ["write one"]
    assert machine(tmp_path / "two", url).need(steps.kind_of(goal), steps.key_of(goal))
    assert not list((tmp_path / "one" / "unsent").iterdir())


def test_a_damaged_artifact_of_a_machine_is_fetched_anew(tmp_path: Path) -> None:
    url = share(tmp_path)
    one = machine(tmp_path / "one", url)
    made = finish(one, "kind", "key", disk=b"first")
    (made.directory / "out" / "disk").write_bytes(b"cut")
    found = machine(tmp_path / "one", url).need("kind", "key")
    assert (found.directory / "out" / "disk").read_bytes() == b"first"


def test_what_was_finished_a_moment_ago_is_there(tmp_path: Path) -> None:
    url = share(tmp_path)
    one, two = machine(tmp_path / "one", url), machine(tmp_path / "two", url)
    # it has looked, and remembers for a while what was not there
    assert two.find("kind", "key") is None
    finish(one, "kind", "key", disk=b"x")
    assert two.need("kind", "key").directory.is_dir()


def test_what_nobody_has_is_a_sentence(tmp_path: Path) -> None:
    store = machine(tmp_path / "one", share(tmp_path))
    with pytest.raises(BuildError, match=r"kind-key is neither in .*/one nor in file://.*/share"):
        store.need("kind", "key")
    with pytest.raises(BuildError, match=r"kind-key is not in .*/one"):
        store.directory.need("kind", "key")


def test_what_a_build_comes_to_use_is_written_down_too(tmp_path: Path) -> None:
    diary = machine(tmp_path / "one", share(tmp_path)).remember({"a": ("kind", "key")})
    diary.uses("a", ("kind", "other"))
    (file,) = (tmp_path / "share" / "builds").iterdir()
    assert json.loads(file.read_text()) == {"a": ["kind", "other"]}
    diary.close("over")


def test_a_second_build_of_the_same_process_sends_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, goal = machine(tmp_path / "one", share(tmp_path)), texts()
    run(goal, one)
    monkeypatch.setattr("imagebuild.engine.shared.publish", lambda *_: pytest.fail("it was sent"))
    run(goal, one)


def test_plans_say_what_is_there_without_fetching(tmp_path: Path) -> None:
    url, goal = share(tmp_path), texts()
    run(goal, machine(tmp_path / "one", url))
    two = machine(tmp_path / "two", url)
    assert {planned.reason for planned in planning.plan([goal], two)} == {"finished"}
    shutil.rmtree(tmp_path / "share" / "results")
    assert {planned.todo for planned in planning.plan([goal], machine(tmp_path / "three", url))} == {True}


def test_a_shared_store_is_a_store(tmp_path: Path) -> None:
    store: Store = machine(tmp_path / "one", share(tmp_path))
    assert isinstance(store, SharedStore)
    assert not store.at_work()
    with store.lock("kind", "key"):
        assert store.busy("kind", "key")
        assert store.at_work()


def test_of_many_that_finish_at_once_one_wins_and_all_have_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"machine {number}" for number in range(6)]

    def race(url: str, place: Path) -> None:
        stores = [machine(place / name, url) for name in names]
        gate = threading.Barrier(len(names))

        def end(store: SharedStore) -> bytes:
            gate.wait()
            record = finish(store, "kind", "key", disk=store.root.name.encode())
            return (record.directory / "out" / "disk").read_bytes()

        with ThreadPoolExecutor(len(names)) as pool:
            found = set(pool.map(end, stores))
        assert len(found) == 1
        late = machine(place / "late", url).need("kind", "key")
        assert {(late.directory / "out" / "disk").read_bytes()} == found

    race(share(tmp_path), tmp_path / "mounted")
    with serving(monkeypatch) as server:
        race(server.url, tmp_path / "bucket")


def test_a_builder_that_is_killed_while_it_sends_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, goal = share(tmp_path), step("a", write, "one")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("imagebuild.engine.shared.publish", killed)
        with pytest.raises(KeyboardInterrupt):
            finish(machine(tmp_path / "one", url), steps.kind_of(goal), steps.key_of(goal), text=b"one")
    one = machine(tmp_path / "one", url)
    assert one.directory.find(steps.kind_of(goal), steps.key_of(goal)) is not None
    # who is asked to build it now has it, and sends it
    with one.lock(steps.kind_of(goal), steps.key_of(goal)):
        pass
    assert calls == []
    assert machine(tmp_path / "two", url).need(steps.kind_of(goal), steps.key_of(goal))


def test_gc_leaves_what_is_being_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = machine(tmp_path / "one", share(tmp_path))
    spooled: list[Path] = []

    def publish(*arguments: object) -> None:
        spool = arguments[-1]
        assert isinstance(spool, Path)
        spool.mkdir()
        machine(tmp_path / "one", share(tmp_path)).collect(0)
        assert spool.is_dir()
        spooled.append(spool)
        raise BuildError("that is all")

    monkeypatch.setattr("imagebuild.engine.shared.publish", publish)
    with pytest.raises(BuildError, match="that is all"):
        finish(one, "kind", "key", disk=b"x")
    assert not spooled[0].exists()


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    url = share(tmp_path)
    one = machine(tmp_path / "one", url)
    finish(one, "kind", "key", disk=b"first")
    again: SharedStore = pickle.loads(pickle.dumps(one))
    assert again.root == one.root
    assert again.need("kind", "key").directory == one.need("kind", "key").directory


def test_what_a_build_uses_is_written_down_in_the_remote_before_it_begins(tmp_path: Path) -> None:
    url = share(tmp_path)
    one = machine(tmp_path / "one", url)
    diary = one.remember({"a": ("kind", "key")})
    (file,) = (tmp_path / "share" / "builds").iterdir()
    assert json.loads(file.read_text()) == {"a": ["kind", "key"]}
    diary.close("over")
    # the share is not mounted any more: what is below is not taken for it
    shutil.rmtree(tmp_path / "share")
    (tmp_path / "share").mkdir()
    with pytest.raises(BuildError, match=r"writing builds/.*: is .*/share still mounted\?"):
        one.remember({"a": ("kind", "key")})
    assert not list((tmp_path / "share").iterdir())
    assert one.builds()[-1].state == "interrupted"


def test_what_was_not_sent_gives_way_when_it_is_read(tmp_path: Path) -> None:
    """A worker dies between making something and sending it; another one makes it, and is first."""
    url = share(tmp_path)
    one, two = machine(tmp_path / "one", url), machine(tmp_path / "two", url)
    finish(one, "kind", "key", disk=b"ours")
    (tmp_path / "one" / "unsent" / "kind-key").touch()
    for file in [*(tmp_path / "share").rglob("key.json")]:
        file.unlink()
    finish(two, "kind", "key", disk=b"first")
    again = machine(tmp_path / "one", url)
    assert (again.need("kind", "key").directory / "out" / "disk").read_bytes() == b"first"
    assert not list((tmp_path / "one" / "unsent").iterdir())


def test_a_result_that_was_removed_before_a_build_began_is_built_again(tmp_path: Path) -> None:
    url, goal = share(tmp_path), texts()
    run(goal, machine(tmp_path / "one", url))
    two = machine(tmp_path / "two", url)
    assert two.find(steps.kind_of(goal), steps.key_of(goal)) is not None
    for file in [*(tmp_path / "share" / "results").rglob("*.json")]:
        file.unlink()
    assert not run(goal, two).failed
    assert two.directory.find(steps.kind_of(goal), steps.key_of(goal)) is not None
