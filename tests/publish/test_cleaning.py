"""What is published tells nothing of the machine that built it."""

import getpass
import ipaddress
import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.publish import cleaning
from imagebuild.publish.cleaning import Cleaner
from tests.release_lab import FIRST, Line

KEY = "0123456789abcdef" * 2
STEP = f"disk.install_disk/{KEY}"
CLEANER = Cleaner(
    places={"/srv/builds/store": "(store)", "/srv/builds": "(output)", "/home/jan": "(home)"},
    words={
        "jenkins7": "(user)",
        "forge.example.org": "(builder)",
        "forge": "(builder)",
        "192.0.2.17": "(address)",
    },
)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/srv/builds/store/repo, /srv/builds", "(store)/repo, (output)"),
        ("/srv/builds2 and /srv/builds.old", "/srv/builds2 and /srv/builds.old"),
        ("file:///home/jan/x", "file://(home)/x"),
        ("by jenkins7@forge.example.org (192.0.2.17)", "by (user)@(builder) ((address))"),
        ("forge, forged, a-forge", "(builder), forged, a-forge"),
        ("192.0.2.17, 192.0.2.170, 1192.0.2.17", "(address), 192.0.2.170, 1192.0.2.17"),
        # of a worker, whose directories nobody here knows
        (f"open('/mnt/w9/s/artifacts/{STEP}/out')", f"open('(store)/artifacts/{STEP}/out')"),
        (f"/w9/scratch/smoke.smoke_disk-{KEY}/out", f"(store)/scratch/smoke.smoke_disk-{KEY}/out"),
        (f"see artifacts/{STEP}", f"see artifacts/{STEP}"),
        ("nothing of it: /usr/bin/podman", "nothing of it: /usr/bin/podman"),
        ("not text: \udcff /home/jan", "not text: \udcff (home)"),
    ],
)  # fmt: skip
def test_what_is_taken_out(text: str, cleaned: str) -> None:
    assert CLEANER.text(text) == cleaned


@pytest.mark.parametrize("line", [b"/" * 2_000_000, b"/home/jan" * 200_000, b"forge." * 300_000])
def test_a_guest_cannot_make_it_take_long(line: bytes) -> None:
    begun = time.process_time()
    CLEANER.clean(line + f"/artifacts/{STEP}".encode() * 1000)
    assert time.process_time() - begun < 5


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "forge.example.org")
    monkeypatch.setattr(getpass, "getuser", lambda: "jenkins7")
    monkeypatch.setenv("HOME", "/home/jan")
    own = cleaning.builder(tmp_path / "store", tmp_path / "releases")
    said = own.text(f"jenkins7@forge:{tmp_path}/store/repo {tmp_path}/releases /home/jan")
    assert said == "(user)@(builder):(store)/repo (output) (home)"
    # what everybody has stays
    monkeypatch.setattr(socket, "gethostname", lambda: "vm")
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    monkeypatch.setenv("HOME", "/root")
    common = cleaning.builder(tmp_path / "store", tmp_path / "releases")
    assert common.text("root@vm:/root /usr/bin") == "root@vm:/root /usr/bin"


def own_addresses() -> set[str]:
    words = cleaning.builder(Path("/a"), Path("/b")).words
    return {word for word, said in words.items() if said == "(address)"}


def test_its_addresses_are_found() -> None:
    """As whoever sends a packet away from here is told (udp(7): connecting sends none)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
        except OSError:
            assert not [
                word for word in cleaning.builder(Path("/a"), Path("/b")).words if word.count(".") == 3
            ]
            return
        own = asked.getsockname()[0]
    known = {
        word for word, said in cleaning.builder(Path("/a"), Path("/b")).words.items() if said == "(address)"
    }
    assert (own in known) != (ipaddress.ip_address(own) in cleaning.GUESTS)
    assert "127.0.0.1" not in known


def test_a_release_tells_nothing_of_its_builder(line: Line) -> None:
    material = line.material(line.commit("12.1", FIRST))
    cell, evidence = material.cells[0]
    log, store = evidence / "told.log", material.tree.repo.parent
    log.write_text(f"{store}/repo and {evidence}\n")
    told_of = replace(cell, reason=f"see {store}/x")
    made = line.release(replace(material, cells=((told_of, evidence), *material.cells[1:])))
    (told,) = {file.read_text() for file in made.glob("evidence/*/told.log")}
    assert str(store) not in told
    assert told.startswith("(store)/repo and ")
    assert log.read_text().startswith(f"{store}/repo"), "the store's own evidence was changed"
    verdicts = json.loads((made / "verdict.json").read_text())
    assert "see (store)/x" in {each["reason"] for each in verdicts}
    for name in ("junit.xml", "report.html", "verdict.json"):
        assert str(store) not in (made / name).read_text(), name
