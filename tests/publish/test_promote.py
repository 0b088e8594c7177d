"""Promotion: killed before each of its steps it goes on where it was, and no client ever sees half of it;
what is refused; every kind of destination.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from imagebuild.destinations.access import Destination, Directory, open_destination
from imagebuild.destinations.source import DirectorySource, open_source
from imagebuild.errors import BuildError, UsageError
from imagebuild.kinds import State
from imagebuild.publish import facts
from imagebuild.publish import promote as promoting
from imagebuild.publish.pointers import names_listed
from imagebuild.publish.promote import last_commit, promote, promoted
from imagebuild.publish.verify import Trust, verify
from imagebuild.session.releases import signer_of
from imagebuild.tools import command
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from tests.data import ROOT
from tests.publish.promoting import first_and_second, go, mark_bad, wanted
from tests.publish.verifying import sign_again
from tests.release_lab import FIRST, REF, Line

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


# --- a client -----------------------------------------------------------------------------------------------


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


# --- what is refused ----------------------------------------------------------------------------------------


def refused(line: Line, *places: Path, **changes: Any) -> str:
    with pytest.raises(BuildError) as error:
        go(line, *places, **changes)
    return error.value.message


def test_the_ref_moved_meanwhile(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    go(line, first)
    other = line.commit("12.3", FIRST)
    stable = Repo(tmp_path / "stable")
    stable.pull(Remote(url=f"file://{line.place}/repo", keys=(), verify=False), other.commit)
    stable.set_ref(REF, other.commit)
    assert "it moved meanwhile" in refused(line, second)
    assert not (tmp_path / "mirror" / second.name).exists()


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


def test_before_anything_was_promoted_what_is_bad_does_not_count(line: Line) -> None:
    first, second = first_and_second(line)
    mark_bad(line, second, "x")
    assert last_commit(line.config, line.output, REF, but="f" * 64) == facts.read(first).tree.commit
    assert json.loads((line.output / "latest.json").read_text())["compose_id"] == first.name
    mark_bad(line, first, "x")
    assert last_commit(line.config, line.output, REF, but="f" * 64) is None
    assert json.loads((line.output / "latest.json").read_text())["compose_id"] is None
    # nothing was ever published: an empty list is one
    assert wanted(line, first).pointers.listed() == []


def test_two_with_one_name(line: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, _ = first_and_second(line)
    line.changes["publish"] |= {"arches": ["x86_64", "aarch64"]}
    other = tmp_path / "other" / first.name
    shutil.copytree(first, other)
    real = facts.read
    monkeypatch.setattr(
        facts,
        "read",
        lambda place: real(place).model_copy(update={"arch": "aarch64"} if place == other else {}),
    )
    assert "two architectures have the same compose id" in refused(line, first, other)


def test_a_second_promotion_at_the_same_time(line: Line) -> None:
    first, _ = first_and_second(line)
    asked = wanted(line, first)

    def step(name: str) -> None:
        if name.startswith("upload"):
            assert "another promotion is at work" in refused(line, first)

    with signer_of(asked.config) as signer:
        promote(asked, signer, step=step)


def test_architectures(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    line.changes["publish"] |= {"arches": ["x86_64", "aarch64"]}
    assert "aarch64 is missing" in refused(line, first)
    line.changes["publish"] |= {"arches": ["x86_64"]}
    assert "given twice" in refused(line, first, first)
    del second, tmp_path


def test_architectures_that_disagree(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = first_and_second(line)
    line.changes["publish"] |= {"arches": ["x86_64", "aarch64"]}
    real = facts.read

    def read(directory: Path) -> facts.Facts:
        known = real(directory)
        return known if directory == first else known.model_copy(update={"arch": "aarch64"})

    monkeypatch.setattr(facts, "read", read)
    assert "disagree on the version: x86_64 12.1, aarch64 12.2" in refused(line, first, second)


def test_a_hole_in_the_verdict(line: Line) -> None:
    """Nothing is signed that has one; what somebody signed by hand all the same is not promoted."""
    tree = line.commit("12.1", FIRST)
    with pytest.raises(
        BuildError, match=r"nothing is signed that does not hold: .* artifact-boots is failed"
    ):
        line.release(line.material(tree, states=[State.FAILED]))
    place = line.release(line.material(tree), day="20261126")
    rows = json.loads((place / "verdict.json").read_text())
    rows[0]["state"] = "not tested"
    (place / "verdict.json").write_text(json.dumps(rows))
    sign_again(place, line)
    assert "is not fit" in refused(line, place)
    assert "artifact-boots is not tested" in refused(line, place)
    (place / "verdict.json").write_text(json.dumps(rows[1:]))
    sign_again(place, line)
    assert "it was not tested for artifact-boots" in refused(line, place)


def test_what_nobody_asked_of_atomic_is_not_promoted(line: Line) -> None:
    tree = line.commit("12.1", FIRST, {"usr/bin/rpm-ostree": b"x", "usr/bin/atomic": b"x"})
    place = line.release(line.material(tree, atomic=True))
    rows = json.loads((place / "verdict.json").read_text())
    (place / "verdict.json").write_text(
        json.dumps([row for row in rows if not row["criterion"].endswith("-by-atomic-host")])
    )
    sign_again(place, line)
    assert "-by-atomic-host" in refused(line, place)


def test_what_was_changed_since(line: Line, tmp_path: Path) -> None:
    first, _ = first_and_second(line)
    (first / "index.html").write_text("other")
    assert "is not whole" in refused(line, first)
    assert not (tmp_path / "mirror").exists()


def test_nightlies_stay_nightlies(line: Line) -> None:
    place = line.release(line.material(line.commit("12.1", FIRST)), nightly=True)
    assert "is a nightly" in refused(line, place)


def test_another_configuration(line: Line) -> None:
    first, _ = first_and_second(line)
    line.changes["release"] = "13"
    with pytest.raises(UsageError, match="of Debian 13"):
        go(line, first)


def test_what_is_marked_bad_is_not_promoted_under_any_name(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    go(line, first)
    go(line, second)
    mark_bad(line, second, "eats  data")
    assert "reason: eats data" in (tmp_path / "mirror" / "bad" / f"{second.name}.asc").read_text()
    assert json.loads((tmp_path / "mirror" / "latest.json").read_text())["compose_id"] == first.name
    assert second.name not in (tmp_path / "mirror" / "index.html").read_text()
    assert json.loads((line.output / "latest.json").read_text())["compose_id"] == first.name
    assert refused(line, second) == f"{second.name} is marked bad: eats data"
    # the same commit again, under another number
    third = line.release(line.material(line.trees[1], grown=1))
    assert "is marked bad" in refused(line, third)
    shutil.rmtree(line.output / "bad")
    assert "is marked bad" in refused(line, third)
    # a mark that nobody signed holds it too
    for file in (tmp_path / "mirror" / "bad").iterdir():
        file.write_text("reason: none of your business\n")
    assert (
        refused(line, third) == f"{third.name} is marked bad: none of your business (the mark is not signed)"
    )


@pytest.mark.parametrize("text", ['["../x"]', "{}", "[1]", "<html>"])
def test_a_damaged_list_at_the_destination(text: str, tmp_path: Path) -> None:
    (tmp_path / "releases.json").write_text(text)
    with pytest.raises(BuildError, match=r"releases\.json"):
        names_listed(Directory(tmp_path))


def test_a_published_release_is_believed_as_far_as_it_is_signed(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    go(line, first)
    file = tmp_path / "mirror" / first.name / facts.FILE
    text = file.read_text()
    file.write_text(text.replace('"12.1"', '"99.9"'))
    assert "is not what was signed" in refused(line, second)
    file.write_text(text.replace(first.name, second.name))
    assert f"describes '{second.name}'" in refused(line, second)
    file.unlink()
    assert "is not at the destination" in refused(line, second)
    manifest = next((tmp_path / "mirror" / first.name).glob("*-CHECKSUM"))
    signed = manifest.read_text()
    manifest.unlink()
    file.write_text(text)
    assert f"{manifest.name} is not at the destination" in refused(line, second)
    manifest.write_text(signed)
    file.write_text("x")
    # what the message says to do, works: and for another nothing is in the way then
    go(line, first)
    go(line, second)


def test_what_is_damaged_can_be_called_back(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    go(line, first)
    go(line, second)
    (tmp_path / "mirror" / second.name / facts.FILE).unlink()
    mark_bad(line, second, "damaged")
    assert json.loads((tmp_path / "mirror" / "latest.json").read_text())["compose_id"] == first.name


def test_called_back_while_it_goes_out(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    go(line, first)
    asked = wanted(line, second)

    def step(name: str) -> None:
        if name.startswith("pull"):
            mark_bad(line, second, "too late")

    with signer_of(asked.config) as signer, pytest.raises(BuildError, match="is marked bad: too late"):
        promote(asked, signer, step=step)
    assert Repo(tmp_path / "stable").refs()[REF] == line.trees[0].commit
    assert json.loads((tmp_path / "mirror" / "latest.json").read_text())["compose_id"] == first.name
    assert promoted(line.output) == {first.name: True, second.name: False}


def test_a_demotion_that_was_killed_after_its_mark_is_finished_by_whoever_comes_next(
    line: Line, tmp_path: Path
) -> None:
    first, second = first_and_second(line)
    go(line, first)
    go(line, second)
    third = line.release(line.material(line.commit("12.3", FIRST)), day="20261127")
    (tmp_path / "mirror" / "bad").mkdir()
    (tmp_path / "mirror" / "bad" / f"{line.trees[1].commit}.asc").write_text("reason: x\n")
    go(line, third)
    assert json.loads((tmp_path / "mirror" / "releases.json").read_text()) == [first.name, third.name]


def test_two_releases_of_one_bad_commit(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    again = line.release(line.material(line.trees[1]), day="20261127")
    for place in (first, second, again):
        go(line, place)
    mark_bad(line, second, "x")
    assert json.loads((tmp_path / "mirror" / "releases.json").read_text()) == [first.name]
    assert json.loads((tmp_path / "mirror" / "latest.json").read_text())["compose_id"] == first.name


def test_one_that_was_pruned_meanwhile(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = first_and_second(line)
    # the last thing before it is recorded as going out
    monkeypatch.setattr(promoting, "_check_ref", lambda *_: shutil.rmtree(first))
    assert "is not there any more" in refused(line, first)


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


# --- destinations -------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def rsyncd(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real rsync daemon on the loopback interface."""
    place, port = tmp_path / "module", free_port()
    place.mkdir()
    uid = f"uid = {os.geteuid()}\ngid = {os.getegid()}\n" if os.geteuid() == 0 else ""
    (tmp_path / "rsyncd.conf").write_text(
        f"use chroot = no\naddress = 127.0.0.1\n{uid}[releases]\npath = {place}\nread only = no\n"
    )
    with subprocess.Popen(
        ["rsync", "--daemon", "--no-detach", f"--port={port}", f"--config={tmp_path}/rsyncd.conf"]
    ) as daemon:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"rsync://127.0.0.1:{port}/releases", place
        daemon.terminate()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on the loopback interface (moto)."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import fsspec  # after the environment is set

    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("releases")
    yield "s3://releases/stable"
    server.stop()


def holds(to: Destination, line: Line, first: Path, tmp_path: Path) -> None:
    """Promote, change what is there behind our back, promote again, demote."""
    go(line, first, to=to)
    path = facts.read(first).downloads[1].path
    assert to.read(f"{first.name}/{path}") == (first / path).read_bytes()
    assert to.read(f"{first.name}/nothing") is None
    to.write(f"{first.name}/{path}", b"x" * (first / path).stat().st_size)
    assert "1 of them sent now" in go(line, first, to=to)[0]
    assert to.read(f"{first.name}/{path}") == (first / path).read_bytes()
    assert [each.compose_id for each in wanted(line, first, to=to).pointers.listed()] == [first.name]
    assert json.loads(to.read("latest.json") or b"")["compose_id"] == first.name
    del tmp_path


def test_a_directory(line: Line, tmp_path: Path) -> None:
    holds(open_destination(f"file://{tmp_path}/mirror"), line, first_and_second(line)[0], tmp_path)


def test_an_rsync_daemon(line: Line, rsyncd: tuple[str, Path], tmp_path: Path) -> None:
    first, _ = first_and_second(line)
    holds(open_destination(rsyncd[0]), line, first, tmp_path)
    go(line, first, to=open_destination(f"{rsyncd[0]}/below/this"))
    trust = Trust(keys=(line.key,), commit_keys=(line.key,), open_images=False, cache=line.work)
    assert verify(open_source(str(rsyncd[1] / "below" / "this" / first.name)), trust).problems == []


@pytest.mark.filterwarnings("ignore")
def test_s3(line: Line, bucket: str, tmp_path: Path) -> None:
    holds(open_destination(bucket), line, first_and_second(line)[0], tmp_path)


def test_what_rsync_may_not_read_is_not_absent(rsyncd: tuple[str, Path]) -> None:
    """Both end with the same exit code."""
    to = open_destination(rsyncd[0])
    assert to.read("nothing") is None
    (rsyncd[1] / "directory").mkdir()
    with pytest.raises(BuildError, match="cannot be read"):
        to.read("directory")


def test_a_port_of_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "ssh"
    fake.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nexit 255\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(BuildError, match="cannot be read"):
        open_destination("ssh://ada@host.example.org:2222/srv/releases").read("releases.json")
    with pytest.raises(BuildError, match="cannot be read"):
        open_destination("ssh://host.example.org/srv/releases").read("releases.json")
    one, other = (tmp_path / "asked").read_text().splitlines()
    assert one.startswith("-p 2222 -l ada host.example.org rsync --server")
    assert one.endswith("/srv/releases/releases.json")
    assert other.startswith("host.example.org rsync --server")


@pytest.mark.parametrize(
    "url",
    [
        "ssh://[x/y",
        "ssh://host:port/x",
        "ssh://host:99999/x",
        "ftp://x/y",
        "file://host/x",
        "s3://",
        "rsync://host",
        "rsync://-e x/y",
        "/x",
        "rsync://a b/c",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(BuildError):
        open_destination(url)
