"""A guest on a network that is served: how its machine is made, and what is said where there can be none."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke import served_guest
from imagebuild.smoke.guest import Guest
from imagebuild.smoke.guest_machine import WRONG_SECONDS, GuestFiles, wrong_time
from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.tools import served_network, ssh
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu.command_line import command_line
from imagebuild.tools.qemu.machine import Machine, Places, Tap
from imagebuild.tools.served_network import ServedNetwork
from tests.smoke.trials import EXPECTED, trial

NOWHERE = Path("/none")


def test_ssh_reaches_a_guest_through_the_relay_of_its_network(tmp_path: Path) -> None:
    files = GuestFiles(overlay=NOWHERE, variables=NOWHERE, seed=None)
    network = ServedNetwork(tap=Tap(name="tap7", entering=("nsenter",)), to_guest=("echo", "SSH-2.0-x"))
    guest = Guest(trial(tmp_path), tmp_path, EXPECTED, NOWHERE, {}, tmp_path, files=files, network=network)
    found = re.search(r" -p (\d+) ", guest.ssh_command())
    assert found is not None
    port = int(found[1])
    assert ssh.greets(port)
    guest.close()
    assert not ssh.greets(port)


def test_the_machine_is_on_the_tap_and_its_clock_is_wrong() -> None:
    machine = Machine(
        disk=None, controller=Controller.VIRTIO, firmware=Firmware.BIOS, cores=1, memory=1 << 30,
        forward={2222: 22}, tap=Tap(name="tap7", entering=("nsenter",)),
        clock=datetime(2026, 11, 28, 6, 0, 1, tzinfo=UTC),
    )  # fmt: skip
    places = Places(serial=NOWHERE, monitor=NOWHERE, variables=NOWHERE)
    accelerator = Accelerator(name="tcg", slowness=1, reason="")
    words = " ".join(command_line(machine, accelerator, places, None))
    assert " -nic tap,model=virtio-net-pci,ifname=tap7,script=no,downscript=no " in words
    assert " -rtc base=2026-11-28T06:00:01 " in words
    assert "hostfwd" not in words
    assert abs(wrong_time().timestamp() - datetime.now(UTC).timestamp() - WRONG_SECONDS) < 60


def test_without_a_tap_device_nothing_is_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_network, "TUN", tmp_path / "tun")
    with pytest.raises(NotTestedError, match=f"can be made: the builder has no {tmp_path}/tun"):
        served_guest.look_at_served_guest(trial(tmp_path), tmp_path)


def test_a_network_that_cannot_be_made_is_no_fault_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_network, "dnsmasq", lambda *_: ["dnsmasq", "--no-such-option"])
    with pytest.raises(NotTestedError, match="can be made: dnsmasq does not start"):
        served_guest.look_at_served_guest(trial(tmp_path), tmp_path)
