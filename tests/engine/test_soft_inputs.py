"""Inputs that a step is built without when they fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.engine import planning, steps
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Step, gather, gather_available, step
from imagebuild.errors import BuildError
from tests.engine.building import Recorder, run
from tests.engine.sample_steps import Text, calls, shout, write

broken: list[str] = []


def brittle(out: Path, name: str) -> Text:
    calls.append(f"brittle {name}")
    if name in broken:
        raise BuildError(f"{name} is broken")
    (out / "text").write_text(name)
    return Text(out / "text")


def compared(out: Path, image: Text, references: tuple[Text, ...]) -> Text:
    calls.append("compared")
    (out / "text").write_text(
        " ".join([image.file.read_text(), "against", *(each.file.read_text() for each in references)])
    )
    return Text(out / "text")


def wire_compared(*names: str) -> tuple[Step[Text], Step[Text], list[Step[Text]]]:
    references = [step(f"reference {name}", brittle, name) for name in names]
    test = step("compared", compared, step("image", write, "image"), gather_available(references))
    return step("loud", shout, test), test, references


@pytest.fixture
def _mended() -> Iterator[None]:
    broken.clear()
    yield
    broken.clear()


def test_a_soft_input_has_the_key_of_any_other() -> None:
    references = [step(name, brittle, name) for name in "ab"]
    image = step("image", write, "image")
    soft, hard = (
        step("x", compared, image, gather_available(references)),
        step("x", compared, image, gather(references)),
    )
    assert steps.key_of(soft) == steps.key_of(hard)
    assert steps.soft_inputs(soft) == set(references)
    assert steps.soft_inputs(hard) == set()
    # what is needed in another place, too, is needed
    both = step("x", compared, references[0], gather_available(references))
    assert steps.soft_inputs(both) == {references[1]}


@pytest.mark.usefixtures("_mended")
def test_what_can_still_be_tried_is_tried_without_what_failed(tmp_path: Path) -> None:
    store, recorder = DirectoryStore(tmp_path), Recorder()
    broken.append("b")
    loud, test, references = wire_compared("a", "b")
    outcome = run(loud, store, recorder)
    assert outcome.value(test).file.read_text() == "image against a"
    assert outcome.value(loud).file.read_text() == "IMAGE AGAINST A"
    assert list(outcome.failed) == [references[1]]
    assert not outcome.not_started
    assert "without what failed: reference b" in outcome.records[test].log.read_text()
    # nothing is filed under the key of what it would have been, nor is what was made of it
    for one in (test, loud):
        assert store.find(steps.kind_of(one), steps.key_of(one)) is None
    # but it is not made again as long as nothing changes; only what failed is tried again
    calls.clear()
    again, _, _ = wire_compared("a", "b")
    assert run(again, store).value(again).file.read_text() == "IMAGE AGAINST A"
    assert calls == ["brittle b"]
    planned = {each.step.name: each.reason for each in planning.plan([again], store)}
    assert planned["reference b"] == "it failed the last time"
    assert planned["compared"] == "changed: inputs references"
    # gc keeps what the last build used
    store.collect(keep=1)
    calls.clear()
    run(wire_compared("a", "b")[0], store)
    assert calls == ["brittle b"]
    # and when it passes, everything that it is part of is made anew
    broken.clear()
    calls.clear()
    mended, test, _ = wire_compared("a", "b")
    assert run(mended, store).value(mended).file.read_text() == "IMAGE AGAINST A B"
    assert calls == ["brittle b", "compared", "shout"]
    assert store.find(steps.kind_of(test), steps.key_of(test)) is not None


@pytest.mark.usefixtures("_mended")
def test_a_step_without_its_soft_inputs_is_the_step_that_never_had_them(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    alone = wire_compared()[1]
    assert run(alone, store).value(alone).file.read_text() == "image against"
    broken.append("a")
    calls.clear()
    _, test, _ = wire_compared("a")
    assert run(test, store).value(test).file.read_text() == "image against"
    assert calls == ["brittle a"]


@pytest.mark.usefixtures("_mended")
def test_what_was_not_started_is_missing_as_what_failed(tmp_path: Path) -> None:
    broken.append("a")
    middle = step("middle", shout, step("reference", brittle, "a"))
    test = step("compared", compared, step("image", write, "image"), gather_available([middle]))
    outcome = run(test, DirectoryStore(tmp_path))
    assert outcome.value(test).file.read_text() == "image against"
    assert list(outcome.not_started) == [middle]
