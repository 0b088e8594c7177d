"""Where a host gets its time from: the script that tells chrony or systemd-timesyncd of it."""

import subprocess
from pathlib import Path

import pytest

from imagebuild.deploy import timekeeping

# Debian's chrony 4.3, /etc/chrony/chrony.conf; Fedora's 4.5, /etc/chrony.conf
CHRONY = "# Use it.\npool 2.debian.pool.ntp.org iburst\nserver x\ndriftfile /var/lib/chrony/drift\n"


def run(root: Path, sources: tuple[str, ...] | None) -> subprocess.CompletedProcess[str]:
    """Run the script with its paths below a directory."""
    script = "\n".join(timekeeping.settings(sources))
    script = script.replace("/etc/", f"{root}/etc/").replace("/usr/lib/", f"{root}/usr/lib/")
    return subprocess.run(["sh", "-e", "-s"], input=script, capture_output=True, text=True, check=False)


def test_chrony_gets_the_servers_instead_of_its_own(tmp_path: Path) -> None:
    for name in ("chrony.conf", "chrony/chrony.conf"):
        (tmp_path / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "etc" / name).write_text(CHRONY)
    assert run(tmp_path, ("a.example.org", "fd00::1")).returncode == 0
    for name in ("chrony.conf", "chrony/chrony.conf"):
        assert (tmp_path / "etc" / name).read_text().splitlines()[1:] == [
            "driftfile /var/lib/chrony/drift", "server a.example.org iburst", "server fd00::1 iburst",
        ]  # fmt: skip


def test_timesyncd_gets_them_in_a_drop_in(tmp_path: Path) -> None:
    unit = tmp_path / "usr/lib/systemd/system/systemd-timesyncd.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    assert run(tmp_path, ("a", "b")).returncode == 0
    file = tmp_path / "etc/systemd/timesyncd.conf.d/80-kickstart.conf"
    assert file.read_text() == "[Time]\nNTP=a b\n"


def test_a_tree_that_has_neither_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, ("a",))
    assert (done.returncode, done.stderr) == (1, "timesource: the tree has no chrony or timesyncd\n")


@pytest.mark.parametrize(
    ("sources", "words"), [(None, []), ((), ["systemctl --quiet disable chronyd.service"])]
)
def test_nothing_is_said_or_none_is_asked(sources: tuple[str, ...] | None, words: list[str]) -> None:
    script = "\n".join(timekeeping.settings(sources))
    assert bool(script) == bool(words)
    assert [word for word in words if word not in script] == []
