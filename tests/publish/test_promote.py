"""Promotion: killed before each of its steps it goes on where it was, and no client ever sees half of it."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagebuild.destinations.source import DirectorySource
from imagebuild.errors import BuildError
from imagebuild.publish import facts
from imagebuild.publish.stable import last_commit
from imagebuild.publish.verify import Trust, verify
from imagebuild.session.releases import signer_of
from imagebuild.stages.delta import make_delta
from imagebuild.tools import command
from imagebuild.tools.ostree import deltas
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from tests.data import ROOT
from tests.publish.releasing import first_and_second, go, refused
from tests.release_lab import FIRST, REF, SECOND, Line

STEPS = (
    "check",
    "upload",
    "pull",
    "delta",
    "ref",
    "summary",
    "index",
    "write index.html",
    "write releases.atom",
    "write releases.json",
    "write latest.json",
)


@dataclass
class Client:
    """Looks at what is published, again and again, as users and hosts do; remembers what it did not like."""

    line: Line
    mirror: Path
    stable: Path
    work: Path
    turn: threading.Condition = field(default_factory=threading.Condition)
    begun: int = 0
    ended: int = 0
    wrong: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look until it is over, and once more."""
        while True:
            last = self.over.is_set()
            self.begun += 1
            try:
                self._look()
            except (BuildError, OSError, ValueError) as error:
                self.wrong.append(repr(error))
            with self.turn:
                self.ended += 1
                self.turn.notify_all()
            if last:
                return
            time.sleep(0.05)

    def look_again(self) -> None:
        """Wait until it has looked once more, from the beginning: however slow the machine is, it saw what is
        there now.
        """
        wanted = self.begun + 1
        with self.turn:
            assert self.turn.wait_for(lambda: self.ended >= wanted, timeout=120), "the client looks no more"

    def _look(self) -> None:
        latest = self.mirror / "latest.json"
        if latest.is_file():
            name = json.loads(latest.read_text())["compose_id"]
            self.seen.add(name)
            # whatever is pointed at is whole
            trust = Trust(
                keys=(self.line.work / "key.asc",),
                commit_keys=(self.line.work / "key.asc",),
                open_images=False,
                cache=self.work,
            )
            found = verify(DirectorySource(self.mirror / name), trust)
            self.wrong += [f"{name}: {each}" for each in found.problems]
            commit = facts.read(self.mirror / name).tree.commit
            self._pull(commit)
            if name not in (self.mirror / "index.html").read_text():
                self.wrong.append(f"{name} is the latest, and not in the index")
        head = Repo(self.stable).refs().get(REF) if (self.stable / "config").exists() else None
        if head is not None:
            self.seen.add(head)
            self._pull(head)
            self._follow()

    def _pull(self, commit: str) -> None:
        place = self.work / "host"
        shutil.rmtree(place, ignore_errors=True)
        Repo.ensure(place).pull(
            Remote(url=f"file://{self.stable}", keys=(self.line.work / "key.asc",), verify=True), commit
        )

    def _follow(self) -> None:
        """Do as a host does that checks the summary: summary and signature are two files; whoever falls
        between their two renames asks again.
        """
        place = self.work / "follower"
        ostree = ["ostree", f"--repo={place}"]
        if not place.exists():
            command.run([*ostree, "init", "--mode=archive"])
            keys = [f"--gpg-import={self.line.work / 'key.asc'}", "--set=gpg-verify-summary=true"]
            command.run([*ostree, "remote", "add", *keys, "stable", f"file://{self.stable}", REF])
        for last in (False, True):
            code, said = command.status([*ostree, "pull", "--commit-metadata-only", "stable", REF])
            if code == 0:
                return
            if last:
                self.wrong.append(said)


def test_killed_before_each_step_it_goes_on_and_clients_see_nothing_half(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    assert line.key.is_file()
    go(line, first)
    client = Client(line, tmp_path / "mirror", tmp_path / "stable", tmp_path)
    thread = threading.Thread(target=client.run)
    thread.start()
    argv = [
        sys.executable,
        "-m",
        "tests.promote_killed",
        str(line.work / "config.yaml"),
        str(line.place),
        f"file://{tmp_path}/mirror",
    ]
    try:
        for number, stop in enumerate((*STEPS, "")):
            if stop == "upload":
                _half_upload(second, tmp_path / "mirror")
            finished = subprocess.run(
                [*argv, stop, str(second)], cwd=ROOT, capture_output=True, text=True, check=False
            )
            expected = -signal.SIGKILL if stop else 0
            assert finished.returncode == expected, f"{stop}: {finished.stdout}{finished.stderr}"
            moved = Repo(tmp_path / "stable").refs()[REF] == line.trees[1].commit
            assert moved == (number > STEPS.index("ref")), stop
            client.look_again()
    finally:
        client.over.set()
        thread.join()
    assert client.wrong == []
    assert client.seen == {first.name, second.name, line.trees[0].commit, line.trees[1].commit}
    assert json.loads((tmp_path / "mirror" / "latest.json").read_text())["compose_id"] == second.name
    assert not list((tmp_path / "mirror").rglob("*.partial"))


def _half_upload(place: Path, mirror: Path) -> None:
    """Leave what a transfer leaves that was cut: a file that is not whole, under its name."""
    path = facts.read(place).downloads[1].path
    (mirror / place.name / path).parent.mkdir(parents=True)
    (mirror / place.name / path).write_bytes((place / path).read_bytes()[:100])


def test_hosts_find_delta_and_signed_summary(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    go(line, first)
    said = go(line, second)
    assert [each for each in said if each.startswith("static delta")]
    stable = tmp_path / "stable"
    listing = command.run(["ostree", f"--repo={stable}", "static-delta", "list"])
    assert f"{line.trees[0].commit}-{line.trees[1].commit}" in listing
    host = tmp_path / "host"
    ostree = ["ostree", f"--repo={host}"]
    command.run([*ostree, "init", "--mode=archive"])
    keys = [f"--gpg-import={line.key}", "--set=gpg-verify-summary=true"]
    command.run([*ostree, "remote", "add", *keys, "stable", f"file://{stable}", REF])
    command.run([*ostree, "pull", "stable", REF])
    assert Repo(host).refs()[f"stable:{REF}"] == line.trees[1].commit
    before = [(stable / name).stat().st_mtime_ns for name in ("summary", "summary.sig")]
    again = go(line, second)
    # one that says the same stays
    assert before == [(stable / name).stat().st_mtime_ns for name in ("summary", "summary.sig")]
    assert not list(stable.glob(".summary*"))
    assert "0 of them sent now" in again[0]
    assert not [each for each in again if "delta" in each or "ref" in each]


def test_the_delta_that_was_tested_is_the_one_that_is_published(line: Line, tmp_path: Path) -> None:
    first, second = line.commit("12.1", FIRST), line.commit("12.2", SECOND)
    go(line, line.release(line.material(first), day="20261112"))
    (tmp_path / "out").mkdir()
    made = make_delta(tmp_path / "out", second, first)
    superblock = deltas.place_of(first.commit, second.commit) / "superblock"
    go(line, line.release(replace(line.material(second), deltas=(made,))))
    published = tmp_path / "stable" / "deltas" / superblock
    # its inode's time is a copy's, its bytes hold when it was made
    assert published.read_bytes() == (made.place / superblock).read_bytes()


def test_the_next_release_is_made_for_hosts_of_the_last_promoted_one(line: Line) -> None:
    """Not for those of one that never went out, or is bad: it could not be promoted."""
    first, second = first_and_second(line)
    one, two = (tree.commit for tree in line.trees)
    assert last_commit(line.config, line.output, REF, but="f" * 64) == two
    assert last_commit(line.config, line.output, REF, but=two) == one
    assert last_commit(line.config, line.output, REF, but=one) is None
    go(line, first)
    assert last_commit(line.config, line.output, REF, but="f" * 64) == one
    assert last_commit(line.config, line.output, REF, but=two) == one
    # built again after its promotion: nothing has changed
    assert last_commit(line.config, line.output, REF, but=one) is None
    third = line.release(
        replace(line.material(line.commit("12.3", FIRST)), previous=line.trees[0]), day="20261127"
    )
    go(line, third)
    assert last_commit(line.config, line.output, REF, but=line.trees[2].commit) == one
    del second


def test_a_key_that_was_replaced(line: Line, tmp_path: Path) -> None:
    """Releases by the former key stay in the list as long as the configuration knows it."""
    first, second = first_and_second(line)
    go(line, first)
    line.changes["publish"] |= {
        "signing": {
            "user": "other <other@example.org>",
            "homedir": str(tmp_path / "other-key"),
            "generate": True,
        }
    }
    third = line.release(
        replace(line.material(line.commit("12.3", FIRST)), previous=line.trees[0]), day="20261127"
    )
    with signer_of(line.config) as signer:
        (tmp_path / "new.asc").write_text(signer.public_key())
    assert "is by another key" in refused(line, third, keys=(tmp_path / "new.asc",))
    line.changes["publish"] |= {"other_keys": [str(line.key)]}
    go(line, third, keys=(tmp_path / "new.asc",))
    names = json.loads((tmp_path / "mirror" / "releases.json").read_text())
    assert names == [first.name, third.name]
    del second
