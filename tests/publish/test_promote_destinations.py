"""Every kind of destination: promoted to, changed behind our back, damaged."""

import json
import os
from pathlib import Path

import pytest

from imagebuild.destinations.destination import Destination
from imagebuild.destinations.local import Directory
from imagebuild.destinations.registry import open_destination
from imagebuild.destinations.source import open_source
from imagebuild.errors import BuildError
from imagebuild.publish import facts
from imagebuild.publish.pointers import names_listed
from imagebuild.publish.verify import Trust, verify
from tests.publish.releasing import first_and_second, go, refused, wanted
from tests.release_lab import Line


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
