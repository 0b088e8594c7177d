"""Nothing that was not tested gets past the gate."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell, Image, Inspection, Verdict
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.stages import tree as stage
from imagebuild.stages.release import admit
from imagebuild.tools.ostree.repository import Repo
from tests.stages.trees import TREE
from tests.tools.ostree.commits import FILES, REF, make_commit

BIOS = ((Firmware.BIOS,),)


def image(tmp_path: Path) -> Image:
    file = tmp_path / "a.qcow2"
    file.write_bytes(b"image")
    return Image(file=file, name=file.name, format="qcow2", disk_size=1 << 20, size=5, sha256="0" * 64)


def looked_into(tmp_path: Path, artifact: str = "a.qcow2") -> tuple[Inspection, ...]:
    return (Inspection(artifact=artifact, facts=tmp_path / "facts.json"),)


def verdict(
    tmp_path: Path, state: State, artifact: str = "a.qcow2", names: Sequence[str] = criteria.names()
) -> Verdict:
    evidence = tmp_path / "evidence"
    evidence.mkdir(exist_ok=True)
    (evidence / "serial.log").write_text("boot")
    cells = tuple(
        Cell(
            criterion=name,
            artifact=artifact,
            firmware=Firmware.BIOS,
            state=state,
            reason="",
            evidence="serial.log",
            seconds=1.0,
        )
        for name in names
    )
    return Verdict(cells=cells, evidence=evidence)


def test_a_tested_image_passes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    release = admit(
        out, TREE, (image(tmp_path),), (), looked_into(tmp_path), (verdict(tmp_path, State.PASSED),), BIOS
    )
    assert json.loads(release.manifest.read_text())["artifacts"] == [
        {"artifact": "a.qcow2", "size": 5, "sha256": "0" * 64}
    ]


@pytest.mark.parametrize("state", [State.FAILED, State.ERROR, State.NOT_TESTED, State.FLAKY])
def test_a_hole_in_the_verdict_holds_the_release(tmp_path: Path, state: State) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(BuildError, match=r"a\.qcow2 is not fit for release: under bios: artifact-boots"):
        admit(out, TREE, (image(tmp_path),), (), looked_into(tmp_path), (verdict(tmp_path, state),), BIOS)


def test_an_image_nobody_tested_holds_the_release(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(BuildError, match="under bios it was not tested for a-"):
        admit(
            out,
            TREE,
            (image(tmp_path),),
            (),
            looked_into(tmp_path),
            (verdict(tmp_path, State.PASSED, "b.qcow2"),),
            BIOS,
        )


def test_an_image_nobody_looked_into_holds_the_release(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(BuildError, match="nobody looked into it"):
        admit(
            out,
            TREE,
            (image(tmp_path),),
            (),
            looked_into(tmp_path, "b.qcow2"),
            (verdict(tmp_path, State.PASSED),),
            BIOS,
        )


@pytest.mark.parametrize("state", [State.PASSED, State.WAIVED, State.NOT_APPLICABLE])
def test_what_does_not_hold_a_release(tmp_path: Path, state: State) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert admit(
        out, TREE, (image(tmp_path),), (), looked_into(tmp_path), (verdict(tmp_path, state),), BIOS
    ).manifest.is_file()


def test_a_firmware_nobody_tried_holds_the_release(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    both = ((Firmware.BIOS, Firmware.UEFI),)
    with pytest.raises(BuildError, match="under uefi it was not tested for"):
        admit(
            out, TREE, (image(tmp_path),), (), looked_into(tmp_path), (verdict(tmp_path, State.PASSED),), both
        )


def test_a_criterion_nobody_tested_holds_the_release(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    some = verdict(
        tmp_path, State.PASSED, names=[name for name in criteria.names() if name != "containers-run"]
    )
    with pytest.raises(BuildError, match="not tested for containers-run"):
        admit(out, TREE, (image(tmp_path),), (), looked_into(tmp_path), (some,), BIOS)


@pytest.mark.parametrize(
    ("files", "links", "asked"),
    [
        # as atomic's own Makefile installs it
        (
            {"usr/share/atomic/atomic": b"#!/usr/bin/python3"},
            {"usr/bin/atomic": "../share/atomic/atomic"},
            True,
        ),
        ({"usr/bin/atomic": b"#!/usr/bin/python3"}, {}, True),
        ({}, {"usr/bin/atomic": "../share/atomic/atomic"}, False),
        ({}, {}, False),
    ],
)
def test_a_host_with_atomic_is_released_when_it_was_asked_through_that_too(
    tmp_path: Path, files: dict[str, bytes], links: dict[str, str], asked: bool
) -> None:
    (tmp_path / "work").mkdir()
    repo = Repo.ensure(tmp_path / "repo")
    commit = make_commit(
        repo, tmp_path / "work", FILES | files | {"usr/bin/rpm-ostree": b"\x7fELF"}, links=links
    )
    tree = stage.describe_tree(repo, stage.Pin(ref=REF, commit=commit))
    assert tree.host_kind == "rpm-ostree"

    def admitted(names: Sequence[str]) -> None:
        (out := tmp_path / f"out{len(names)}").mkdir()
        admit(
            out,
            tree,
            (image(tmp_path),),
            (),
            looked_into(tmp_path),
            (verdict(tmp_path, State.PASSED, names=names),),
            BIOS,
        )

    if asked:
        with pytest.raises(BuildError, match=r"it was not tested for .*-by-atomic-host"):
            admitted(criteria.required(atomic=False))
        admitted(criteria.required(atomic=True))
    else:
        admitted(criteria.required(atomic=False))
