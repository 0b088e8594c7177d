"""The native way: what it does with a disk that it has made, and with one that it changes."""

from collections.abc import Mapping

import pytest

from imagebuild.deploy import filesystems
from imagebuild.deploy.native import NativeTarget
from imagebuild.deploy.target import Argv
from tests.kickstart.samples import SMALL, read


class Recorded(NativeTarget):
    """It without a namespace: what would run is written down."""

    def __init__(self) -> None:
        self.commands: list[Argv] = []
        self._trim = False

    def device(self, name: str) -> str:
        return f"/dev/{name}"

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        self.commands.extend(commands)
        return ""


def test_a_new_disk_gives_back_what_it_does_not_use_an_overlay_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filesystems, "make", lambda *_: None)
    new, changed, plan = Recorded(), Recorded(), read(SMALL)
    new.prepare(plan)
    changed.reopen(plan, read_only=False)
    for target in (new, changed):
        target.finish(plan)
    assert "/sysroot" in [str(argv[1]) for argv in new.commands if argv[0] == "fstrim"]
    # QEMU refuses holes in parts of clusters of an overlay, and Linux then all of them: fstrim failed
    # now and then ("the discard operation is not supported", QEMU 10.0.2 under Linux 6.18)
    assert not [argv for argv in changed.commands if argv[0] == "fstrim"]
