"""Small kickstarts, as strings, and what is read of them."""

import contextlib
import dataclasses
from pathlib import Path

import pytest

from imagebuild.config.images import KickstartConfig
from imagebuild.config.tree import TreeConfig
from imagebuild.deploy import ways
from imagebuild.kickstart import plan
from imagebuild.kickstart.plan import Plan
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kinds import Firmware
from imagebuild.model import Toolbox
from imagebuild.stages import kickstart
from tests.fake_sandbox import FakeSandbox
from tests.kickstart.mount_samples import Listed
from tests.stages.trees import TREE as RELEASED

GIB = 1 << 30
HEAD = (
    "text\nlang en_US.UTF-8\nkeyboard us\ntimezone --utc Etc/UTC\nrootpw --lock --iscrypted"
    ' locked\nbootloader --timeout=1 --append="quiet"\n'
)
DISK = "zerombr\nclearpart --all\npart /boot --size=300 --fstype=ext4\npart pv.01 --grow\nvolgroup vg pv.01\n"
ROOT_VOLUME = "logvol / --size=3000 --fstype=xfs --name=root --vgname=vg\n"
SOURCE = "ostreesetup --osname=os --remote=os --url=https://example.org/ --ref=a/b --nogpg\n"
WHOLE = (
    HEAD
    + DISK
    + ROOT_VOLUME
    + SOURCE
    + "network --bootproto=dhcp --device=link --activate --onboot=on\nreboot\n"
)
LAST = WHOLE.count("\n")


def read(text: str, syntax: str = "F28", **more: object) -> Plan:
    settings = {
        "disk_size": 40 * GIB,
        "firmware": frozenset({Firmware.BIOS}),
        "seed": "commit",
        "name": "test.ks",
    } | more
    return plan.read(text, syntax, **settings)  # type: ignore[arg-type]  # a table of what read() takes


def refused(text: str, syntax: str = "F28", **more: object) -> list[str]:
    """What is wrong with a kickstart, a message each."""
    with pytest.raises(BadKickstartError) as caught:
        read(text, syntax, **more)
    return caught.value.message.split("\n")


def template() -> KickstartConfig:
    return KickstartConfig(template="x.ks", syntax="F28")


TREE = dataclasses.replace(RELEASED, ref="a/b", update_ref="")


def made(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **answers: str) -> Plan:
    """The plan of a template, as the pipeline makes it; `answers` are what its %pre sections leave in
    /tmp.
    """
    sandbox = FakeSandbox(answers={f"/tmp/{name}": data.encode() for name, data in answers.items()})
    monkeypatch.setattr(kickstart, "shared_directory", lambda _: tmp_path)
    monkeypatch.setitem(
        ways.WAYS,
        "offline",
        dataclasses.replace(ways.WAYS["offline"], open=lambda *_: contextlib.nullcontext(sandbox)),
    )
    # what a tree asks of the root file system is read from it; this one asks for nothing
    monkeypatch.setattr(ways, "CommitFiles", lambda *_: Listed(links={}))
    (tmp_path / "x.ks").write_text(text)
    (tmp_path / "out").mkdir()
    source = TreeConfig(
        url="https://x/",
        osname="os",
        remote="up",
        update_url="https://x/",
        update_gpg_key="/k",
        gpg_keys=("/k",),
    )
    written = kickstart.write_kickstart(tmp_path / "out", TREE, template(), source, "")
    spec = ways.DiskSpec(size=40 * 1024, firmware=(Firmware.BIOS,), populate=("offline",))
    return ways.plan_of(TREE, Toolbox(image=tmp_path / "none", size=0), written, spec)
