"""What is read from a host about its working order: by the real programs, on real files; and answers that no
good host gives.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imagebuild.smoke.criteria import test_contents as content_criteria
from imagebuild.smoke.criteria import test_journal as journal_criteria
from imagebuild.smoke.criteria import test_network_services as network_criteria
from imagebuild.smoke.host import contents, leftovers, roots
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.host.journals import read_journal_facts
from imagebuild.smoke.host.services import ServedFacts, read_network_facts
from imagebuild.smoke.host.unit_states import read_unrest
from tests.smoke.criteria.broken import journal as journals
from tests.smoke.criteria.broken import network_services as networks
from tests.smoke.criteria.broken import root
from tests.smoke.criteria.broken import units_rest as units
from tests.smoke.healthy_host import broken_host, host


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, Path, str]:
    """A root directory that is a commit's content, its repository, and the commit."""
    top, repo = tmp_path / "root", tmp_path / "repo"
    for path, text in (("bin/one", "1\n"), ("bin/two", "2\n"), ("share/doc/of an odd\tname", "3\n" * 999)):
        (top / "usr" / path).parent.mkdir(parents=True, exist_ok=True)
        (top / "usr" / path).write_text(text)
    (top / "usr/bin/link").symlink_to("one")
    (top / "usr/bin/two").chmod(0o755)
    # as SELinux' labels and capabilities are kept
    os.setxattr(top / "usr/bin/one", "user.label", b"system_u:object_r:bin_t:s0\0")
    os.setxattr(top / "usr/bin/one", "user.other", b"x" * 300)
    made = [
        subprocess.run(["ostree", f"--repo={repo}", *argv], check=True, capture_output=True, text=True)
        for argv in (["init", "--mode=archive"], ["commit", "--branch=x", f"--tree=dir={top}"])
    ]
    return top, repo, made[-1].stdout.strip()


def compared(tree: tuple[Path, Path, str], *counts: int) -> list[str]:
    """Run the program that is run on hosts on another root directory."""
    top, repo, commit = tree
    argv: list[str | Path] = [sys.executable, "-", repo, commit, "seed", *map(str, counts or (0, 0)), top]
    ran = subprocess.run(argv, input=contents.COMPARE, capture_output=True, text=True, check=True)
    said: str = ran.stdout
    return said.splitlines()


def test_a_tree_that_is_the_commit_is_compared_to_its_end(tree: tuple[Path, Path, str]) -> None:
    # four directories, a link, three files
    assert compared(tree) == ["compared 8 names and 4 contents, 0 differ"]
    (sample,) = compared(tree, 1, 2)
    assert contents.SUMMARY.fullmatch(sample)
    assert " 2 contents, 0 differ" in sample


def test_what_differs_from_the_commit_is_named(tree: tuple[Path, Path, str]) -> None:
    top = tree[0] / "usr"
    (top / "bin/one").write_text("2\n")
    (top / "bin/two").chmod(0o4755)
    (top / "bin/link").unlink()
    (top / "bin/link").symlink_to("two")
    (top / "bin/\x1b[2J").write_text("")
    (top / "share/doc/of an odd\tname").unlink()
    (top / "lib").mkdir()
    assert sorted(compared(tree)[:-1]) == [
        "/usr/bin/\\x1b[2J\tis not in the commit",
        "/usr/bin/link\thas other content",
        "/usr/bin/one\thas other content",
        f"/usr/bin/two\thas another mode or owner: 4755 {os.getuid()}:{os.getgid()}",
        "/usr/lib\tis not in the commit",
        "/usr/lib\tis not in the commit",
        "/usr/share/doc/of an odd\\tname\tis missing",
    ]


def test_a_changed_attribute_is_other_content(tree: tuple[Path, Path, str]) -> None:
    os.setxattr(tree[0] / "usr/bin/one", "user.label", b"unlabeled_t\0")
    assert compared(tree)[:-1] == ["/usr/bin/one\thas other content"]


def test_a_sample_names_its_seed_and_an_image_that_the_kernel_checks_needs_none() -> None:
    said = "/usr/x\thas other content\ncompared 9 names and 9 contents, 1 differ\n"
    changed = {"python3 - /sysroot/ostree/repo": said}
    emulated = broken_host(dict(changed))
    emulated.slowness = 12.0
    with pytest.raises(AssertionError, match=r"\(a sample, seed [0-9a-f]{8}\): /usr/x has other"):
        content_criteria.test_what_runs_is_the_commit(emulated)
    checked = broken_host({**root.VERITY, f"{root.FINDMNT} /usr": None, **changed})
    content_criteria.test_what_runs_is_the_commit(checked)
    unlocked = broken_host(
        {**root.VERITY, f"{root.FINDMNT} /usr": "overlay overlay rw,lowerdir=usr\n", **changed}
    )
    with pytest.raises(AssertionError, match="/usr/x has other content"):
        content_criteria.test_what_runs_is_the_commit(unlocked)


def test_the_program_that_writes_finds_what_can_be_written(tmp_path: Path) -> None:
    argv = ["sh", "-c", roots.WRITE, "sh", "/proc/none", str(tmp_path)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said == f"{tmp_path}\nlooked\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_in_real_directories_is_found(tmp_path: Path) -> None:
    for path, mode in (("etc/open", 0o666), ("run/all", 0o1777), ("var/shell", 0o4755), ("run/mine", 0o600)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("") if mode != 0o1777 else (tmp_path / path).mkdir()
        (tmp_path / path).chmod(mode)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o777)
    given = tmp_path / "var/lib/cloud/instance/user-data.txt"
    given.parent.mkdir(parents=True)
    given.write_text("password: x\n")
    given.chmod(0o644)
    (tmp_path / "var/lib/containers/x").mkdir(parents=True)
    (tmp_path / "var/lib/containers/x").chmod(0o777)
    # processes of this machine are not a host's either
    script = re.sub(r"(?<= )(/(?:etc|run|var|tmp|dev/shm|proc)\b)", rf"{tmp_path}\1", leftovers.LOOK)
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    found = {
        (entry.name.removeprefix(str(tmp_path)), entry.number) for entry in leftovers.read_leftovers(said)
    }
    assert found == {
        ("/etc/open", "666"),
        ("/tmp/", "777"),
        ("/var/shell", "4755"),
        ("/var/lib/cloud/instance/user-data.txt", "644"),
    }


MAIN, TREE = "=file /etc/systemd/journald.conf\nStorage=auto\n", journals.storage("none")
ETC = "/etc/systemd/journald.conf.d"


@pytest.mark.parametrize(
    ("says", "storage"),
    [
        (journals.AUTO, "auto"),
        (journals.storage("volatile"), "volatile"),
        # the main file is read first, drop-ins by name; what stands in /etc hides what the tree has
        (TREE + MAIN, "none"),
        (TREE + journals.storage("volatile", f"{ETC}/50-tree.conf"), "volatile"),
        (TREE + journals.storage("persistent", f"{ETC}/40-a.conf"), "none"),
        (f"{TREE}=file {ETC}/50-tree.conf\n", "auto"),
        (journals.storage("everything"), "auto"),
    ],
)
def test_what_journald_is_told_is_read_as_it_does(says: str, storage: str) -> None:
    assert read_journal_facts(journals.answer(says, 0, "")).storage == storage


def test_a_first_boot_may_be_before_the_journals_directory() -> None:
    late = {journals.LOOK: journals.answer(journals.AUTO, 1, journals.MEMORY)}
    journal_criteria.test_the_journal_is_kept_where_the_tree_says(broken_host(dict(late)))
    nowhere = {journals.LOOK: journals.answer(journals.storage("none"), 0, "")}
    journal_criteria.test_the_journal_is_kept_where_the_tree_says(broken_host(dict(nowhere)))


def test_a_tree_without_a_time_service_keeps_no_clock() -> None:
    facts = read_network_facts(networks.answer(keeper="", synchronized="no"), 0.0)
    served = ServedFacts(name=networks.NAME, address=networks.ADDRESS, facts=facts)
    with pytest.raises(NotApplicableError, match="the tree has no time service"):
        network_criteria.test_the_clock_is_being_kept(served)


def test_a_host_says_what_it_likes_and_is_not_believed() -> None:
    said = read_network_facts(
        "=address\n999 STREAM\n\x1b]0;x\n=resolv\nnameserver $(reboot)\n=keepers\n../x active\n"
        "=clock\nyes\n9e9\n",
        0.0,
    )
    assert (said.addresses, said.servers, said.keepers) == ((), (), {})
    assert (said.synchronized, said.ahead) == (False, None)
    odd = read_unrest("NRestarts=-1\nId=a.service\n\nNRestarts=²\nId=b.service\n\nActiveState\n=jobs\nno\n")
    assert (dict(odd.restarts), odd.waiting) == ({}, {})


def test_a_unit_that_comes_to_rest_in_time_is_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    busy = host()
    looks = iter([units.STOPPING, units.STOPPING, "\nId=b.service\nActiveState=activating\nSubState=start\n"])
    monkeypatch.setattr(busy, "unrest", lambda: read_unrest(f"{units.AT_REST}{next(looks)}\n{units.REST}"))
    busy.patience = lambda _: lambda _: None
    assert busy.lasting_unrest().waiting == {}
