"""What `imagebuild gc` removes beside artifacts: what was kept of them."""

from pathlib import Path

import pytest

from imagebuild.deploy import offline
from imagebuild.engine.directory import DirectoryStore
from imagebuild.session import storage
from imagebuild.smoke import saved_boot
from imagebuild.smoke.guest_machine import GuestFiles
from imagebuild.smoke.saved_boot import SavedBoots
from imagebuild.tools import command, temporary
from tests.smoke import trials


def test_a_saved_boot_goes_in_the_run_in_which_its_artifact_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "version", lambda _: "7.2")
    monkeypatch.setattr(saved_boot, "build_digest", lambda _: "build")
    # what dead runs left elsewhere on this machine is none of this test's
    monkeypatch.setattr(temporary, "sweep", lambda *_, **__: 0)
    monkeypatch.setattr(offline, "sweep", lambda: 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "store"
    store = DirectoryStore(root)
    with store.lock("disk", "0"):
        scratch = store.scratch("disk", "0")
        (scratch.out / "disk.raw").write_bytes(b"disk")
        record = store.finish(scratch, "disk", "0", value=None, components={}, seconds=1.0)
    disk = record.directory / "out" / "disk.raw"
    key, overlay = tmp_path / "key", tmp_path / "overlay.qcow2"
    for file in (key, overlay):
        file.write_bytes(b"x")
    boots = SavedBoots(root / "saved-boots", trials.trial(tmp_path, disk=disk, source=disk))
    files = GuestFiles(overlay=overlay, variables=tmp_path / "none", seed=None)
    boots.keep(files, key, trials.EXPECTED, {})

    diary = store.remember({"disk": ("disk", "0")})
    storage.collect(root, keep=1)
    assert boots.there()
    diary.close("done")
    storage.collect(root, keep=0)
    assert not disk.exists()
    assert not boots.directory.exists()
