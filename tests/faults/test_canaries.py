"""Secrets are planted wherever a nightly build has some, and turn up nowhere: not in what is said, kept or
published, not in a program's arguments, not in the environment of one that has no use for it.
"""

import secrets
import subprocess
import threading
from pathlib import Path

import pytest

from imagebuild.tools import command, environment, gpg
from imagebuild.tools.ostree.repository import Repo
from tests.faults.bench import USER, Bench, Machine

CANARY = f"canary-{secrets.token_hex(8)}"
PLANTED = {
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "AZURE_STORAGE_CONNECTION_STRING": CANARY,
    # a name that nobody can know
    "NIGHTLY_PSW": CANARY,
    "RSYNC_PASSWORD": CANARY,
    "https_proxy": f"http://ci:{CANARY}@proxy.invalid:3128",
}
# libostree checks signatures by GPGME, which starts GnuPG in the environment of its process: nobody can tell
# it of another one
BY_LIBRARY = {("environment", name) for name in (b"gpg", b"gpgconf", b"gpgsm", b"gpg-agent")}


class Watch:
    """Looks at every process of the machine, again and again: who has seen a canary, in which file."""

    def __init__(self, *canaries: bytes) -> None:
        self._canaries, self._over = canaries, threading.Event()
        self.seen: dict[str, str] = {}
        self.looked_at: set[bytes] = set()
        self.allowed: int | None = None
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    argv = (process / "cmdline").read_bytes()
                    known = (process / "environ").read_bytes()
                    parents = Path(f"/proc/{self.allowed}/cmdline").read_bytes()
                except (OSError, TypeError):
                    continue
                # one that was forked and is still to become its program is its parent, or nobody yet
                if self.allowed is None or argv in (parents, b""):
                    continue
                program = argv.partition(b"\0")[0].rpartition(b"/")[2]
                self.looked_at.add(program)
                for name, content in (("argv", argv), ("environment", known)):
                    if (name, program) not in BY_LIBRARY and any(
                        canary in content for canary in self._canaries
                    ):
                        self.seen[argv.replace(b"\0", b" ").decode("utf-8", "replace")[:200]] = name


def test_a_program_knows_only_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GNUPGHOME", "/somewhere")
    monkeypatch.setenv("LC_MESSAGES", "de_DE.UTF-8")
    said = command.run(["env"])
    assert CANARY not in said
    assert {"GNUPGHOME=/somewhere", "LC_ALL=C.UTF-8"} <= set(said.splitlines())
    assert "de_DE" not in said
    outside = command.run(["env"], env=environment.outward())
    assert {line.partition("=")[0] for line in outside.splitlines() if CANARY in line} == {
        "RSYNC_PASSWORD",
        "https_proxy",
    }


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    place = tmp_path_factory.mktemp("canaries")
    with gpg.keyring(place / "gnupg") as home:
        gpg.export_key(home, gpg.ensure_key(home, USER), place / "key.asc")
    made = Bench(place=place, key=place / "key.asc")
    Repo.ensure(place / "origin")
    made.commit("1.1")
    return made


def secret_key(bench: Bench, file: Path) -> bytes:
    """Export the secret half of the signing key, as `publish.signing.key` names one; return a line of it."""
    # whose agent ends with the block
    with gpg.keyring(bench.homedir) as home:
        secret, public = (
            subprocess.run(
                ["gpg", "--homedir", home, "--batch", "--armor", how], capture_output=True, check=True
            ).stdout
            for how in ("--export-secret-keys", "--export")
        )
    file.write_bytes(secret)
    file.chmod(0o600)
    # RFC 9580, 5.5.3: the public numbers come first in both; the secret ones are the longer part
    lines = secret.splitlines()
    begin = max(number for number, line in enumerate(lines[:12]) if line in public.splitlines()[1:])
    return lines[begin + 4]


def holders(machine: Machine, canaries: tuple[bytes, ...], *known: Path) -> list[str]:
    """Return the files of a machine that hold a canary."""
    return [
        str(file.relative_to(machine.place))
        for file in machine.place.rglob("*")
        if file.is_file() and not file.is_symlink() and file not in known
        and any(canary in file.read_bytes() for canary in canaries)
    ]  # fmt: skip


def test_what_was_planted_turns_up_nowhere(bench: Bench, tmp_path: Path) -> None:
    machine = bench.machine(tmp_path / "machine")
    key = machine.place / "secret.asc"
    canaries = (CANARY.encode(), secret_key(bench, key))
    text = machine.config.read_text()
    signing = next(line for line in text.splitlines() if "signing:" in line)
    machine.config.write_text(text.replace(signing, f'  signing: {{user: "{USER}", key_file: {key}}}'))
    said = ""
    with Watch(*canaries) as watch:
        for arguments in (
            machine.all(),
            [
                *("promote", str(machine.output / "Small-1-20261128.0")),
                *("--config", str(machine.config), "--store", str(machine.store)),
            ],
        ):
            running = machine.start(*arguments, **PLANTED)
            watch.allowed = running.process.pid
            ended = running.end()
            assert ended.code == 0, ended.said
            said += ended.said
    assert watch.seen == {}
    assert {b"gpg", b"qemu-img"} <= watch.looked_at, watch.looked_at
    assert not any(canary.decode() in said for canary in canaries)
    assert holders(machine, canaries, key) == []
    # the search finds what is there
    (machine.store / "leak").write_text(CANARY)
    assert holders(machine, canaries, key) == ["store/leak"]
