"""What comes from a remote is not believed: results that say what is not so, bytes that are not those that
their name says, and what would lie elsewhere.
"""

import json
from pathlib import Path

import pytest

from imagebuild.engine import steps
from imagebuild.engine.results import leads_inside
from imagebuild.engine.steps import step
from imagebuild.errors import BuildError
from tests.engine.building import run
from tests.engine.remotes import finish, machine, share
from tests.engine.sample_steps import write


def changed(place: Path, pattern: str, edit: object) -> None:
    (file,) = place.rglob(pattern)
    data = json.loads(file.read_text())
    assert callable(edit)
    edit(data)
    file.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda data: data.update(format=2), "its format is 2"),
        (lambda data: data.update(key="other"), "it is that of kind-other"),
        (lambda data: data.pop("packs"), "packs: Field required"),
        (lambda data: data["packs"][0].update(sha256="../../etc"), "is not a sha256"),
        (lambda data: data["files"].update({"out/more": 3}), "its packs do not hold its files"),
        (lambda data: data.update(links={"out/link": "/etc/passwd"}), "would lead elsewhere"),
        (lambda data: data.update(links={"../link": "x"}), "would lie elsewhere"),
        (lambda data: data.update(directories=["out/../../x"]), "would lie elsewhere"),
        (
            lambda data: data["packs"][0]["files"].update(
                {"/etc/passwd": {"size": 1, "mode": 1, "digest": ""}}
            ),
            "would lie elsewhere",
        ),
    ],
)
def test_a_poisoned_result_is_refused(tmp_path: Path, edit: object, why: str) -> None:
    url = share(tmp_path)
    finish(machine(tmp_path / "one", url), "kind", "key", disk=b"first")
    changed(tmp_path / "share", "key.json", edit)
    with pytest.raises(BuildError, match=why) as caught:
        machine(tmp_path / "two", url).need("kind", "key")
    assert "results/kind/key.json there, and it is built anew" in caught.value.hint


def test_bytes_that_do_not_match_their_name_are_refused(tmp_path: Path) -> None:
    url = share(tmp_path)
    finish(machine(tmp_path / "one", url), "kind", "key", disk=b"first")
    (blob,) = (tmp_path / "share" / "blobs").rglob("*/*")
    finish(machine(tmp_path / "one", url), "kind", "other", disk=b"other")
    (other,) = (file for file in (tmp_path / "share" / "blobs").rglob("*/*") if file != blob)
    for content in (other.read_bytes(), blob.read_bytes()[:-3], b""):
        blob.write_bytes(content)
        store = machine(tmp_path / "two", url)
        with pytest.raises(BuildError, match=r"of kind-key, is not used|it was cut") as caught:
            store.need("kind", "key")
        assert caught.value.hint
        assert store.directory.find("kind", "key") is None
        assert not list((tmp_path / "two" / "scratch").iterdir())
    blob.unlink()
    with pytest.raises(BuildError, match="is not used: it is not there"):
        machine(tmp_path / "two", url).need("kind", "key")


def test_a_value_that_is_something_else_is_refused(tmp_path: Path) -> None:
    url, goal = share(tmp_path), step("a", write, "one")
    run(goal, machine(tmp_path / "one", url))
    changed(tmp_path / "share", f"{steps.key_of(goal)}.json", lambda data: data.update(value=["x"]))
    with pytest.raises(BuildError, match=r"a: the artifact sample_steps\.write-\w+ is not one: "):
        run(goal, machine(tmp_path / "two", url))


def test_links_lead_no_further_than_the_artifact() -> None:
    assert leads_inside("out/a/b", "../c")
    assert leads_inside("out/a", "b/c")
    assert not leads_inside("out/a", "../log")
    assert not leads_inside("out/a/b", "../../../x")
    assert not leads_inside("out/a", "/etc")


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = share(tmp_path)
    finish(machine(tmp_path / "one", url), "kind", "key", disk=b"first")

    def full(*_: object, **__: object) -> list[str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("imagebuild.engine.fetching.read_pack", full)
    with pytest.raises(BuildError, match=r"kind-key cannot be written to .*: No space left on device"):
        machine(tmp_path / "two", url).need("kind", "key")


def test_links_lead_nowhere_by_way_of_others() -> None:
    links = {"out/d": ".", "out/w": "d/../../home", "out/w/x": "y", "out/fine": "sub/file"}
    assert leads_inside("out/fine", "sub/file", links)
    assert leads_inside("out/d", ".", links)
    assert not leads_inside("out/w", links["out/w"], links)
    assert not leads_inside("out/w/x", "y", links)


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../x", {"store": "/etc"}])
def test_a_value_that_leads_elsewhere_is_refused(tmp_path: Path, path: object) -> None:
    url, goal = share(tmp_path), step("a", write, "one")
    run(goal, machine(tmp_path / "one", url))
    changed(tmp_path / "share", f"{steps.key_of(goal)}.json", lambda data: data["value"].update(file=path))
    with pytest.raises(BuildError, match=r"is not one: file"):
        run(goal, machine(tmp_path / "two", url))
