"""Certificates, addresses, workers and steps that are refused, each with a sentence."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from imagebuild.cluster import dispatcher, keys, security
from imagebuild.cluster.connection import Connection
from imagebuild.cluster.keys import make_keys
from imagebuild.cluster.security import check_head, identity, parse_address
from imagebuild.engine.steps import Cost, step
from imagebuild.errors import BuildError, UsageError
from tests.cluster.lab import Lab, lab
from tests.cluster.steps import write


def test_keys_are_made_once_and_are_secret(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "keys")
    assert [file.name for file in made] == ["ca.pem", "ca.key", "head.pem", "worker.pem", "client.pem"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in made if file.name != "ca.pem")
    with pytest.raises(UsageError, match=r"head\.pem is there already"):
        make_keys(tmp_path / "keys")
    # one more machine, by the same authority
    assert [file.name for file in make_keys(tmp_path / "keys", names=("other",))] == ["other.pem"]
    own = x509.load_pem_x509_certificate((tmp_path / "keys" / "other.pem").read_bytes())
    own.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / "keys" / "ca.pem").read_bytes()))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tcp://build.example.org:8786", "tcp:// is for this machine alone"),
        ("tcp://192.0.2.1:8786", "tcp:// is for this machine alone"),
        ("http://localhost", "is not the address of a head"),
        ("localhost:8786", "is not the address of a head"),
        ("tls://", "is not the address of a head"),
        ("tls://head:99999", "is not the address of a head"),
        ("tls://head:8786/path", "is not the address of a head"),
        ("tls://me@head", "is not the address of a head"),
    ],
)
def test_addresses_are_checked(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_address(text)


@pytest.mark.parametrize("text", ["tcp://localhost:1", "tcp://127.0.0.2", "tcp://[::1]:1", "tls://head"])
def test_addresses_that_are_fine(text: str) -> None:
    assert str(parse_address(text)).startswith(text)


HEAD = parse_address("tls://127.0.0.1:1")


def test_missing_certificates_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(security.VARIABLE, raising=False)
    with pytest.raises(UsageError, match="needs certificates"):
        identity(HEAD, None, "client")
    with pytest.raises(UsageError, match="no certificate can be read from"):
        identity(HEAD, tmp_path, "client")
    make_keys(tmp_path)
    monkeypatch.setenv(security.VARIABLE, str(tmp_path))
    found = identity(HEAD, None, "client")
    assert found is not None
    assert found.own == tmp_path / "client.pem"
    (tmp_path / "client.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
    with pytest.raises(UsageError, match="no certificate can be read from"):
        identity(HEAD, None, "client")


def test_expired_and_early_certificates_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_keys(tmp_path / "old", days=0)
    with pytest.raises(UsageError, match="expired on 20"):
        identity(HEAD, tmp_path / "old", "client")
    # made on a machine whose clock is ahead
    monkeypatch.setattr(keys, "SKEW", -keys.SKEW)
    make_keys(tmp_path / "early")
    with pytest.raises(UsageError, match=r"is valid from .* and this machine's clock says"):
        identity(HEAD, tmp_path / "early", "client")


def test_a_certificate_of_another_authority_is_refused_before_it_is_shown(tmp_path: Path) -> None:
    make_keys(tmp_path / "mine")
    make_keys(tmp_path / "other")
    (tmp_path / "mine" / "client.pem").write_bytes((tmp_path / "other" / "client.pem").read_bytes())
    with pytest.raises(UsageError, match="is not a certificate of the authority"):
        identity(HEAD, tmp_path / "mine", "client")


def test_a_head_of_another_cluster_is_refused(cluster: Lab, tmp_path: Path) -> None:
    make_keys(tmp_path)
    with pytest.raises(BuildError, match=r"the certificate of the head at tls://.* is refused") as caught:
        check_head(cluster.address, identity(cluster.address, tmp_path, "client"))
    assert "one imagebuild cluster-keys" in caught.value.hint


@pytest.mark.parametrize("days", [0, 365])
def test_a_head_refuses_whom_it_does_not_trust(cluster: Lab, tmp_path: Path, days: int) -> None:
    """One that believes in the head, and shows what another authority has signed, or what has expired."""
    make_keys(tmp_path, days=days)
    assert cluster.keys is not None
    shown = security.Identity(authority=cluster.keys / "ca.pem", own=tmp_path / "client.pem")
    if days == 0:
        keys.make_keys(cluster.keys, days=0, names=(f"late-{tmp_path.name}",))
        shown = security.Identity(
            authority=cluster.keys / "ca.pem", own=cluster.keys / f"late-{tmp_path.name}.pem"
        )
    begun = time.monotonic()
    with pytest.raises(BuildError, match=r"the head at tls://.* refused the certificate .*client|late"):
        check_head(cluster.address, shown)
    assert time.monotonic() - begun < 10


def test_nobody_there_and_somebody_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = parse_address(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(BuildError, match="no answer within"):
            check_head(address, None)
    with pytest.raises(BuildError, match=r"no head can be reached .*Connection refused") as caught:
        check_head(address, None)
    assert "imagebuild head" in caught.value.hint


def test_somebody_who_is_no_head_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head of plain TCP is asked for TLS, and what is none hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def hang_up() -> None:
            other.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        address = parse_address(f"tcp://127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(BuildError, match=r"it closed the connection|reset"):
            check_head(address, None)
        thread.join()


@pytest.fixture(scope="module")
def picky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A head without TLS whose workers are of no use for most things."""
    with lab(tmp_path_factory.mktemp("picky"), tls=False) as made:
        made.start_head()
        made.start_worker("newer", wait=False, version="9.9", source="0123456789abcdef")
        made.start_worker("alone", wait=False, store=made.place / "alone")
        made.start_worker("plain", can=("arch-x86_64",), tools={"qemu-img": ["7.2"]})
        made.wait_for("newer")
        made.wait_for("alone")
        yield made


def test_workers_of_another_imagebuild_and_of_another_store_are_refused_by_name(picky: Lab) -> None:
    picky.said.clear()
    outcome = picky.build(step("text", write, "for the plain one"))
    assert not outcome.failed
    told = "\n".join(picky.said)
    assert "worker newer is not used: it runs imagebuild 9.9 (0123456789abcdef), and this is" in told
    assert f"worker alone is not used: its store is {picky.place}/alone (" in told
    assert f"), and that of this build {picky.store} (" in told


def test_a_step_that_nobody_can_take_is_an_error_before_anything_runs(
    picky: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # with the time to connect, the sentence is there within 30 s
    assert dispatcher.JOIN_SECONDS + security.CONNECT_SECONDS < 30
    monkeypatch.setattr(dispatcher, "JOIN_SECONDS", 0.5)
    fine = step("fine", write, "never written")
    for cost, tools, sentence in (
        (Cost(needs=("arch-aarch64",)), {}, "foreign: no worker has arch-aarch64"),
        (Cost(), {"qemu-img": "10.0"}, "foreign: plain: qemu-img is 7.2, and 10.0 is asked for"),
        (Cost(), {"xorriso": "1.5"}, "foreign: plain: xorriso is not known there, and 1.5 is asked for"),
    ):
        foreign = step("foreign", write, "x", cost=cost, tools=tools)
        with pytest.raises(BuildError, match="can ever take these steps") as caught:
            picky.build(fine, foreign)
        assert sentence in caught.value.message
        assert "newer is not used: it runs imagebuild 9.9" in caught.value.message
    assert not list(picky.store.glob("artifacts/*write/*/out/never"))
    assert not [file for file in picky.store.rglob("text") if file.read_text() == "never written"]


def test_a_worker_that_comes_in_time_is_waited_for(picky: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    late = threading.Timer(1.0, lambda: picky.start_worker("late", can=("arch-riscv64",), wait=False))
    late.start()
    assert not picky.build(step("text", write, "late", cost=Cost(needs=("arch-riscv64",)))).failed


def test_a_head_of_another_imagebuild_is_refused(picky: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from imagebuild.cluster import connection

    monkeypatch.setattr(connection, "source_of_imagebuild", lambda: "another")
    with pytest.raises(BuildError, match=r"the head at tcp://.* runs imagebuild .* and this is imagebuild"):
        Connection(picky.address, None)
