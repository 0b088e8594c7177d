"""The store of another imagebuild: an older one is used as it lies there, a newer one is left alone."""

from pathlib import Path

import pytest

from imagebuild.engine import planning
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.layout import LAYOUT
from imagebuild.engine.steps import step
from imagebuild.errors import UsageError
from tests.engine.building import run
from tests.engine.sample_steps import calls, shout, write


def content_of(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def older_store(root: Path) -> dict[str, bytes]:
    """Make a store as imagebuild 0.1 left it, with one artifact and a file of its repo; return its files."""
    goal = step("text", write, "hello")
    run(goal, DirectoryStore(root))
    (root / "layout").unlink()
    (root / "repo").mkdir()
    (root / "repo" / "config").write_text("[core]\n")
    calls.clear()
    return content_of(root)


def test_a_new_store_has_our_layout(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    assert (tmp_path / "store" / "layout").read_text() == f"{LAYOUT}\n"
    assert store.remark is None
    run(step("text", write, "hello"), store)
    assert DirectoryStore(tmp_path / "store").remark is None


def test_an_older_store_is_told_apart_and_what_is_valid_in_it_is_used(tmp_path: Path) -> None:
    before = older_store(tmp_path)
    store = DirectoryStore(tmp_path)
    assert store.remark is not None
    assert "layout of an older imagebuild (1, now 2)" in store.remark
    assert "nothing in it is lost" in store.remark
    goal = step("loud", shout, step("text", write, "hello"))
    assert run(goal, store).value(goal).file.read_text() == "HELLO"
    assert calls == ["shout"], "the artifact of the older imagebuild has the same key"
    after = content_of(tmp_path)
    assert {name: after.get(name) for name in before} == before
    assert DirectoryStore(tmp_path).remark is None, "told once: the store is ours since we wrote into it"


def test_looking_at_an_older_store_leaves_it_as_it_is(tmp_path: Path) -> None:
    before = older_store(tmp_path)
    store = DirectoryStore(tmp_path)
    assert [planned.todo for planned in planning.plan([step("text", write, "hello")], store)] == [False]
    assert content_of(tmp_path) == before
    assert DirectoryStore(tmp_path).remark is not None


def test_a_newer_store_is_refused_and_nothing_in_it_changes(tmp_path: Path) -> None:
    (tmp_path / "layout").write_text(f"{LAYOUT + 1}\n")
    (tmp_path / "artifacts").mkdir()
    with pytest.raises(UsageError, match=f"has layout {LAYOUT + 1}, and this imagebuild knows") as caught:
        DirectoryStore(tmp_path)
    assert "another store" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifacts", "layout"]


@pytest.mark.parametrize("text", [b"", b"two\n", b"-1\n", b"0\n", b"\xff\xfe", "²\n".encode()])
def test_what_is_not_the_number_of_a_layout_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "layout").write_bytes(text)
    with pytest.raises(UsageError, match=r"the layout of the store .* is not known: .*/layout: "):
        DirectoryStore(tmp_path)
    assert (tmp_path / "layout").read_bytes() == text
