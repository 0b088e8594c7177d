"""Records of artifacts and builds that were cut, or are another program's: as if they were not there."""

import json
from pathlib import Path

import pytest

from imagebuild.engine.builds import remembered
from imagebuild.engine.directory import DirectoryStore
from imagebuild.report import history

NAME = "20261112T101010.000000001"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "1",
        '{"files": []}',
        '{"files": {}}',
        '{"files": {"a": "b"}, "value": 1}',
        "[" * 100_000,
        '{"files": {}, "value": 1, "components": 1, "seconds": 1}',
        '{"files": {}, "value": 1, "components": {}, "seconds": {}}',
    ],
)
def test_an_artifact_that_is_damaged_is_not_there(tmp_path: Path, text: str) -> None:
    place = tmp_path / "artifacts" / "kind" / "key"
    place.mkdir(parents=True)
    store = DirectoryStore(tmp_path)
    (place / "artifact.json").write_text(text)
    assert store.find("kind", "key") is None


@pytest.mark.parametrize("text", ["[]", "1", '"x"', '{"a": 1}', '{"a": ["b"]}', "[" * 100_000])
def test_a_build_that_is_damaged_is_not_there(tmp_path: Path, text: str) -> None:
    store = DirectoryStore(tmp_path)
    (tmp_path / "builds" / f"{NAME}.json").write_text(text)
    assert remembered(tmp_path / "builds" / f"{NAME}.json") is None
    assert history.builds_of(store, 5) == []
    store.collect(keep=1)


@pytest.mark.parametrize("kind", ["state", "timeline"])
@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "[1]",
        "null",
        '{"ended": 1e300, "how": "over", "there": [], "running": [], "pid": 1}',
        '{"step": "a", "begin": "x", "end": 1, "state": "done", "background": false}',
        '{"step": "a", "begin": 1e999, "end": 1, "state": "done", "background": false}',
    ],
)
def test_what_else_is_damaged_of_a_build_is_left_out(tmp_path: Path, kind: str, text: str) -> None:
    store = DirectoryStore(tmp_path)
    (tmp_path / "builds" / f"{NAME}.json").write_text(json.dumps({"a": ["kind", "key"]}))
    (tmp_path / "builds" / f"{NAME}.{kind}").write_text(text)
    (known,) = history.builds_of(store, 5)
    assert known.outcome
    assert history.bars(known) == []
