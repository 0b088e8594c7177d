"""The accelerator is found out by running a guest, and the reason is kept."""

from pathlib import Path

import pytest

from imagebuild.errors import MissingToolError
from imagebuild.tools import accelerator, command
from imagebuild.tools.accelerator import Accelerator


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    file = tmp_path / "vmlinuz-1"
    file.write_bytes(b"kernel")
    return file


def probe(kernel: Path, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float | None], tries: list[str]) -> Accelerator:
    def attempt(_: Path, candidate: Accelerator) -> float | None:
        tries.append(candidate.name)
        return seconds[candidate.name]

    monkeypatch.setattr(accelerator, "_try", attempt)
    monkeypatch.setattr(command, "version", lambda _: "1.0")
    monkeypatch.setattr("os.access", lambda *_: True)
    return accelerator.probe(kernel.parent / "cache", kernel=kernel)


def test_a_kvm_that_opens_but_hangs_is_not_used(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = probe(kernel, monkeypatch, {"kvm": None, "tcg": 6.0}, [])
    assert found.name == "tcg"
    assert "hung under it" in found.reason
    assert found.slowness == pytest.approx(5.0)
    assert "tcg,thread=multi" in found.argv


def test_a_kvm_that_works_is_used_and_remembered(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    for _ in range(2):
        assert probe(kernel, monkeypatch, {"kvm": 0.8}, tries).name == "kvm"
    assert tries == ["kvm"]


def test_no_guest_at_all_is_an_error(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingToolError, match="cannot run a guest"):
        probe(kernel, monkeypatch, {"kvm": None, "tcg": None}, [])
