"""A host's own keys, and no others, are asked about the release: by the real ostree, against a real server,
with real signatures.
"""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuild.smoke.criteria.test_upgrade_keys import (
    test_the_images_own_keys_verify_the_release as criterion,
)
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.ostree import OstreeHost
from imagebuild.smoke.own_keys import pull_with_own_keys
from imagebuild.smoke.releases import Releases, offering
from imagebuild.smoke.served import ServedRelease
from imagebuild.tools import gpg
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ssh import Answer
from tests.smoke import trials
from tests.smoke.trials import EXPECTED
from tests.tools.ostree.commits import FILES, REF, make_commit

NAME = EXPECTED.promise.refspec.partition(":")[0]


@dataclass
class Here:
    """This machine as the host: what is in its /etc is told, scripts run."""

    remote: str

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        words = list(argv[3:])
        if words[0] == "cat":
            told = words[1].startswith("/etc/ostree/remotes.d") and self.remote
            return Answer(
                status=0 if told else 1, output=self.remote if told else "", complaint="", seconds=0.0
            )
        done = subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=60)
        return Answer(
            status=done.returncode, output=done.stdout.decode(), complaint=done.stderr.decode(), seconds=0.0
        )


@dataclass
class World:
    work: Path
    url: str
    releases: Releases
    keys: dict[str, Path]

    def host(self, *settings: str) -> Host:
        lines = "".join(f"{each}\n" for each in settings)
        return Host(
            transport=Here(f'[remote "{NAME}"]\nurl=https://example.org/x\n{lines}'),
            commands=OstreeHost(),
            slowness=1.0,
        )

    def pull(self, host: Host, release: ServedRelease | None = None) -> Answer:
        self.releases.publish(release or self.releases.candidate)
        return pull_with_own_keys(
            host, f"{NAME}:{REF}", self.url, place=str(self.work / "keys"), repo=str(self.work / "host")
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    tmp_path = tmp_path_factory.mktemp("world")
    repo = Repo.ensure(tmp_path / "source")
    (tmp_path / "tar").mkdir()
    commit = make_commit(repo, tmp_path / "tar", FILES)
    with gpg.keyring(tmp_path / "gnupg") as homedir:
        keys = {}
        for name in ("right", "wrong"):
            fingerprint = gpg.ensure_key(homedir, f"{name} <{name}@localhost>")
            keys[name] = tmp_path / f"{name}.asc"
            gpg.export_key(homedir, fingerprint, keys[name])
            if name == "right":
                repo.sign(commit, fingerprint, homedir)
    (tmp_path / "host").mkdir()
    (tmp_path / "served").mkdir()
    releases = Releases(
        tmp_path / "served", tmp_path / "source", REF, ServedRelease(commit=commit, version="1.1"), None
    )
    with offering(tmp_path / "served", lambda _: releases) as offers:
        yield World(
            work=tmp_path, url=f"http://127.0.0.1:{offers.ports[80]}/repo", releases=releases, keys=keys
        )


def test_the_right_key_is_enough_and_a_wrong_one_is_said(world: World) -> None:
    right = world.pull(world.host("gpg-verify=true", f"gpgkeypath={world.keys['right']}"))
    assert right.status == 0, right.complaint
    for settings in (
        ("gpg-verify=true", f"gpgkeypath={world.keys['wrong']}"),
        (f"gpgkeypath={world.keys['wrong']}",),
        (),
    ):
        wrong = world.pull(world.host(*settings))
        assert wrong.status != 0
        assert "public key" in wrong.complaint or "GPG" in wrong.complaint, wrong.complaint
    missing = world.pull(world.host("gpg-verify=true", f"gpgkeypath={world.work}/nothing.asc"))
    assert missing.status != 0
    assert not (world.work / "keys").exists(), "nothing is left on the host"


def test_a_keyring_of_the_remote_counts(world: World) -> None:
    for name, fits in (("wrong", False), ("right", True)):
        ring = world.work / "host" / f"{NAME}.trustedkeys.gpg"
        subprocess.run(
            ["gpg", "--batch", "--yes", "--output", ring, "--dearmor", world.keys[name]], check=True
        )
        assert (world.pull(world.host("gpg-verify=true")).status == 0) is fits
        ring.unlink()


def test_neither_the_summary_nor_a_proxy_of_the_real_server_is_asked(world: World) -> None:
    settings = (
        "gpg-verify=true",
        "gpg-verify-summary=true",
        "proxy=http://127.0.0.1:1",
        f"gpgkeypath={world.keys['right']}",
    )
    answer = world.pull(world.host(*settings))
    assert answer.status == 0, answer.complaint


def test_an_unsigned_release_is_refused(world: World) -> None:
    answer = world.pull(world.host(f"gpgkeypath={world.keys['right']}"), world.releases.unsigned)
    assert answer.status != 0
    assert "no signatures found" in answer.complaint


def test_who_checks_no_signatures_has_no_keys_to_be_asked() -> None:
    def pull() -> Answer:
        raise AssertionError("nothing is to be pulled")

    unchecked = Host(transport=Here(f'[remote "{NAME}"]\nurl=x\ngpg-verify=false\n'), commands=OstreeHost())
    expected: Expected = trials.expected(update_verify=False)
    with pytest.raises(NotApplicableError, match="do not check signatures"):
        criterion(unchecked, expected, pull)
    with pytest.raises(NotTestedError, match="a failure of its own"):
        criterion(unchecked, EXPECTED, pull)
    with pytest.raises(AssertionError, match="has no remote"):
        criterion(Host(transport=Here(""), commands=OstreeHost()), EXPECTED, pull)
