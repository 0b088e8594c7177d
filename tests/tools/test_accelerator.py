"""The accelerator is found out by running a guest, and the reason is kept."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imagebuild.architectures.registry import guest_of
from imagebuild.errors import MissingToolError
from imagebuild.tools import accelerator, command
from imagebuild.tools.accelerator import Accelerator


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    file = tmp_path / "vmlinuz-1"
    file.write_bytes(b"kernel")
    return file


def probe(
    kernel: Path, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float | None], tries: list[str]
) -> Accelerator:
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


def test_what_was_measured_is_measured_again_after_a_week(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    first = probe(kernel, monkeypatch, {"kvm": 0.8}, tries)
    assert datetime.now(UTC) - datetime.fromisoformat(first.measured) < timedelta(minutes=1)
    (record,) = (kernel.parent / "cache" / "accelerator").iterdir()
    for measured, again in (
        (datetime.now(UTC) - timedelta(days=6), False),
        (datetime.now(UTC) - timedelta(days=8), True),
    ):
        record.write_text(json.dumps(asdict(replace(first, measured=measured.isoformat()))))
        before = len(tries)
        probe(kernel, monkeypatch, {"kvm": 0.8}, tries)
        assert (len(tries) > before) is again


@pytest.mark.parametrize(
    "text", ['{"name": "kvm", "slowness": 18.2, "reason": "by the clock"}', "{", '{"name": 1}']
)
def test_a_record_without_a_date_or_damaged_is_not_believed(
    kernel: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    probe(kernel, monkeypatch, {"kvm": 0.8}, [])
    (record,) = (kernel.parent / "cache" / "accelerator").iterdir()
    record.write_text(text)
    assert probe(kernel, monkeypatch, {"kvm": 0.6}, []).slowness == 1.0


def test_a_busy_machine_does_not_make_the_guest_slow(
    tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for QEMU that works for 0.2 s and sleeps for 1.5 s before its panic: CPU time is what
    counts.
    """
    script = tmp_path / "qemu"
    script.write_text(
        "#!/usr/bin/python3\nimport sys, time\nwhile time.process_time() < 0.2:"
        " pass\ntime.sleep(1.5)\nopen(sys.argv[-1].removeprefix('file:'), 'w').write('Kernel panic - not"
        " syncing: VFS')\ntime.sleep(60)\n"
    )
    script.chmod(0o755)
    guest = replace(guest_of("x86_64"), program=str(script))
    monkeypatch.setattr(accelerator, "guest_of", lambda _: guest)
    spent = accelerator._try(kernel, Accelerator(name="tcg", slowness=1, reason=""))
    assert spent is not None
    assert 0.15 < spent < 1.2
