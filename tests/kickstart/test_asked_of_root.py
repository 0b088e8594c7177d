"""What a tree asks of the root file system, a kickstart has to fit: what does not is told before the disk is
made.
"""

from collections.abc import Sequence

import pytest

from imagebuild import steplog
from imagebuild.config.prepare_root import PREPARE_ROOT
from imagebuild.kickstart.source import BadKickstartError
from tests.kickstart.mount_samples import FILES, Listed
from tests.kickstart.samples import SMALL, read

EXT4 = SMALL.replace("--fstype=xfs", "--fstype=ext4")


def tree(conf: str, **files: bytes) -> Listed:
    return Listed(files={**FILES, PREPARE_ROOT: conf.encode(), **files})


def transient(fstab: bytes = b"LABEL=boot /boot ext4 defaults 0 0\n", **more: bytes) -> Listed:
    conf = "[sysroot]\nreadonly=true\n[etc]\ntransient=true\n"
    return tree(conf, **{"usr/etc/fstab": fstab}, **more)


@pytest.mark.parametrize(
    ("conf", "composefs", "verity"),
    [
        ("", None, False),
        ("[composefs]\nenabled=no\n", None, False),
        ("[composefs]\nenabled=maybe\n", "maybe", False),
        ("[composefs]\nenabled=Yes\n", "yes", False),
        ("[composefs]\nenabled = verity\n", "verity", True),
        ("[composefs]\nenabled=signed\n", "signed", True),
    ],
)
def test_a_plan_says_what_its_tree_asks_for(conf: str, composefs: str | None, verity: bool) -> None:
    planned = read(EXT4, tree=tree(conf))
    assert (planned.composefs, planned.verity) == (composefs, verity)
    assert read(EXT4).composefs is None, "of a tree that is not known nothing is known"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SMALL, 7),
        (
            EXT4.replace("logvol / --size=3000 --fstype=ext4", "logvol / --size=3000"),
            7,
        ),
    ],
)
def test_a_file_system_that_cannot_check_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(BadKickstartError, match="xfs has no fs-verity") as caught:
        read(text, tree=tree("[composefs]\nenabled=verity\n"))
    assert caught.value.message.startswith(f"test.ks:{line}: ")
    assert "--fstype=ext4" in caught.value.hint
    assert read(text, tree=tree("[composefs]\nenabled=yes\n")).root()[1] == "xfs"


def test_a_file_in_etc_counts_alone() -> None:
    """Nothing of the one in /usr/lib is left where there is one in /etc."""
    etc = {"usr/etc/ostree/prepare-root.conf": b"[sysroot]\nreadonly=true\n"}
    assert read(SMALL, tree=tree("[composefs]\nenabled=verity\n", **etc)).composefs is None
    wrong = {"usr/etc/ostree/prepare-root.conf": b"enabled=yes\n"}
    with pytest.raises(BadKickstartError, match=r"/usr/etc/ostree/prepare-root\.conf of the tree"):
        read(SMALL, tree=tree("", **wrong))


def test_a_file_that_says_nothing_anybody_understands_is_refused() -> None:
    with pytest.raises(BadKickstartError, match=r"prepare-root\.conf of the tree cannot be read"):
        read(EXT4, tree=tree("enabled=yes\n"))


# --- an /etc that keeps nothing -----------------------------------------------------------------------------


def noted(text: str, given: Listed, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(steplog, "note", said.append)
    read(text, tree=given)
    return said


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("user --name=ada --plaintext --password=x", "the account ada"),
        ("group --name=makers", "the group makers"),
        ("rootpw --plaintext secret", "the password of root"),
        ("network --bootproto=dhcp --hostname=here.example.org", "the host name here.example.org"),
        ("services --enabled=ssh", "what is said of the service ssh"),
        ("services --disabled=cups", "what is said of the service cups"),
        ("firewall --disabled", "what is said of the firewall"),
    ],
)
def test_what_would_be_lost_is_refused_with_its_line(line: str, complaint: str) -> None:
    text = EXT4 + line + "\n"
    with pytest.raises(BadKickstartError) as caught:
        read(text, tree=transient())
    assert caught.value.message.startswith(f"test.ks:9: {complaint} would be lost: the tree's /etc is")
    assert "/usr/etc" in caught.value.hint
    assert read(text, tree=tree("[sysroot]\nreadonly=true\n")).root(), "an /etc that is merged keeps it"


@pytest.mark.parametrize(
    "fstab", [b"", b"# LABEL=boot /boot ext4 defaults 0 0\n", b"LABEL=x /boot2 ext4 defaults 0 0\n"]
)
def test_a_file_system_that_nobody_would_mount_is_refused(fstab: bytes) -> None:
    with pytest.raises(BadKickstartError, match="nobody would mount /boot") as caught:
        read(EXT4, tree=transient(fstab))
    assert caught.value.message.startswith("test.ks:4: ")
    assert "/usr/etc/fstab" in caught.value.hint


def test_a_unit_of_the_tree_mounts_it_too() -> None:
    unit = {"usr/lib/systemd/system/var-lib-a\\x2db.mount": b"", "usr/lib/systemd/system/boot.mount": b""}
    text = EXT4.replace("part pv.01", "part /var/lib/a-b --size=64 --fstype=ext4\npart pv.01")
    assert read(text, tree=transient(b"", **unit)).root()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("timezone Europe/Berlin\n", ["test.ks:9: what `timezone` sets in /etc does not last"]),
        ("%post\necho x > /etc/motd\n%end\n", ["test.ks:9: what this %post leaves in /etc does not last"]),
        ("%post\ncp a /usr/etc/b /var/etc/b\n%end\n", []),
    ],
)
def test_what_does_not_last_is_noted(
    more: str, expected: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = noted(EXT4 + more, transient(), monkeypatch)
    starts = [line.partition(": the tree's /etc")[0] for line in said]
    assert starts == [*expected, "test.ks:8: machine-id and ssh host keys are new at every boot"]
    assert noted(EXT4 + more, tree(""), monkeypatch) == []
