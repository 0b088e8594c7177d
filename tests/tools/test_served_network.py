"""The network that is served to one guest: its time server's packets, its relay, and what it needs."""

import socket
import struct
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.tools import command, namespace, served_network, ssh, time_server
from imagebuild.tools.relay import relayed

# a client's request as systemd-timesyncd 252 sends it (timesyncd-manager.c, manager_send_request): leap
# indicator 0, version 4, mode 3, and the time at which it was sent in the last field
REQUEST = bytes([0x23]) + bytes(39) + bytes(range(8))


def test_a_client_is_told_the_time() -> None:
    answer = time_server.answer(REQUEST, 1_000.0, 1_000.5)
    assert answer is not None
    first, stratum, _, _, _, _, reference, _, origin, received, sent = time_server.PACKET.unpack(answer)
    # RFC 5905, figure 8: no leap second, the client's version, a server
    assert (first, stratum, reference) == (0x24, time_server.STRATUM, b"LOCL")
    assert origin == bytes(range(8)), "the client knows its own request by that"
    # figure 4: 1970 is 2,208,988,800 s after 1900; half a second is the highest bit of the fraction
    assert struct.pack(">Q", received) == struct.pack(">II", 2_208_989_800, 0)
    assert struct.pack(">Q", sent) == struct.pack(">II", 2_208_989_800, 1 << 31)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        REQUEST[:-1],
        bytes([0x24]) + REQUEST[1:],
        bytes([0x03]) + REQUEST[1:],
        bytes([0x3B]) + REQUEST[1:],
    ],
    ids=["empty", "short", "a server's", "version 0", "version 7"],
)
def test_what_is_no_clients_request_gets_no_answer(packet: bytes) -> None:
    assert time_server.answer(packet, 0.0, 0.0) is None


def test_each_connection_to_a_relay_has_a_program() -> None:
    port = ssh.free_port()
    with relayed(port, ["sh", "-c", 'echo ready; read -r line; echo "heard $line"']):
        for word in ("one", "two"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(word.encode() + b"\n")
                assert connection.makefile().read() == f"ready\nheard {word}\n"
        left = socket.create_connection(("127.0.0.1", port), timeout=10)
        assert left.recv(6) == b"ready\n"
    with left:
        assert left.recv(1) == b"", "with the relay its programs end"
    assert not ssh.greets(port)
    assert "sh" not in command.running()


def test_names_and_time_are_served_where_nothing_leads_out(tmp_path: Path) -> None:
    log = tmp_path / "dnsmasq.log"
    why = served_network.reason_unavailable()
    assert why is None, f"{why}: run .ci/bootstrap"
    with served_network.served({"only-here.test": "198.51.100.7"}, log) as network:
        inside = [*network.tap.entering, "busybox"]
        asked = [*inside, "nslookup", "-type=a", "only-here.test", served_network.SERVER]
        assert "Address: 198.51.100.7" in command.run(asked)
        assert command.run([*inside, "ip", "route"]).split()[0] == "10.0.3.0/24"
        assert len(command.run([*inside, "ip", "route"]).splitlines()) == 1
        # the builder's own loopback is another: nobody answers
        ports = [*network.tap.entering, "sh", "-c", "wc -l < /proc/net/tcp"]
        assert int(command.run(ports)) < 4
        assert network.to_guest[-2:] == (served_network.GUEST, "22")
    assert "query[A] only-here.test" in log.read_text()
    assert "dnsmasq" not in command.running()


def test_what_a_builder_lacks_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(served_network, "TUN", tmp_path / "tun")
    assert served_network.reason_unavailable() == f"the builder has no {tmp_path}/tun"
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(command, "search_path", lambda: str(tmp_path))
    monkeypatch.setattr("imagebuild.tools.programs.search_path", lambda: str(tmp_path))
    assert served_network.reason_unavailable() == "dnsmasq is not installed"


def test_a_server_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(served_network, "dnsmasq", lambda *_: ["dnsmasq", "--no-such-option"])
    with (
        pytest.raises(BuildError, match=r"dnsmasq does not start: .*bad command line"),
        served_network.served({}, tmp_path / "log"),
    ):
        raise AssertionError("nothing is served")
    assert namespace.mapping_unavailable() is None
