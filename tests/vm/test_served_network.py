"""A guest on the network that is made for two criteria: it gets an address, names and the time there, it is
reached by ssh's port, and nothing leads out. The guest is a kernel with a busybox: seconds, even emulated.
"""

import gzip
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IFLNK, S_IFREG

from imagebuild.config.places import cache_directory
from imagebuild.installers.live import initramfs
from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke.guest_machine import WRONG_SECONDS, wrong_time
from imagebuild.tools import accelerator, command, served_network, ssh
from imagebuild.tools.qemu.machine import MIB, Kernel, Machine
from imagebuild.tools.qemu.running import started
from imagebuild.tools.relay import relayed

GUEST_SECONDS = 300.0
# what no server but ours says
NAME, ADDRESS = "only-here.imagebuild.test", "198.51.100.7"
INIT = f"""#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
echo "clock $(date +%s) clock"
modprobe virtio_pci
modprobe virtio_net
ip link set eth0 up
udhcpc -n -q -i eth0 -O ntpsrv -s /bound.sh
nslookup -type=a {NAME}
nslookup -type=a 0.debian.pool.ntp.org
echo asked-for-the-time
bash -c 'exec 3<>/dev/udp/{served_network.SERVER}/123
printf "#%047d" 0 >&3
dd bs=48 count=1 <&3 2>/dev/null | hexdump -C'
ping -c 1 -W 2 192.0.2.1 >/dev/null 2>&1 && echo there-is-a-way-out
echo looked-around
while true; do echo SSH-2.0-tiny | nc -l -p 22; done
"""
BOUND = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
ip route add default via "$router"
echo "nameserver $dns" > /etc/resolv.conf
echo "bound $ip $mask $dns $ntpsrv bound"
"""


def kernel() -> tuple[Path, str]:
    """This machine's newest kernel that has modules."""
    (*_, file) = sorted(Path("/boot").glob("vmlinuz-*"))
    return file, file.name.partition("-")[2]


def archive(version: str) -> bytes:
    """The live installer's initramfs, with another init."""

    def read(path: str) -> bytes | None:
        file = Path("/", path)
        return file.read_bytes() if file.is_file() else None

    more = initramfs.Archive()
    for place, text in (("init", INIT), ("bound.sh", BOUND)):
        more.add(place, S_IFREG | 0o755, text.encode())
    for applet in ("nslookup", "nc", "ping", "date"):
        more.add(f"bin/{applet}", S_IFLNK | 0o777, b"busybox")
    # this machine's bash asks by UDP, which its busybox cannot
    libraries = re.findall(r"(/\S+) \(0x", command.run(["ldd", "/bin/bash"]))
    for file in ("/bin/bash", *libraries):
        more.add(file.lstrip("/"), S_IFREG | 0o755, Path(file).read_bytes())
    return initramfs.build(read, version, volume_id="none") + gzip.compress(more.finish(), compresslevel=1)


def test_a_guest_finds_names_and_the_time_on_a_network_of_its_own(tmp_path: Path) -> None:
    file, version = kernel()
    (tmp_path / "initramfs").write_bytes(archive(version))
    machine = Machine(
        disk=None,
        controller=Controller.VIRTIO,
        firmware=Firmware.BIOS,
        cores=1,
        memory=512 * MIB,
        kernel=Kernel(
            file=file, initrd=tmp_path / "initramfs", arguments="console=ttyS0 quiet panic=-1 rdinit=/init"
        ),
        clock=wrong_time(),
    )
    serial, log, port = tmp_path / "serial.log", tmp_path / "dnsmasq.log", ssh.free_port()
    asked = datetime.now(UTC).timestamp()
    with served_network.served({NAME: ADDRESS}, log) as network:
        routes = command.run([*network.tap.entering, "busybox", "ip", "route"])
        machine = replace(machine, tap=network.tap)
        with (
            started(machine, accelerator.probe(cache_directory()), serial) as running,
            relayed(port, network.to_guest),
        ):
            until = time.monotonic() + GUEST_SECONDS
            while not ssh.greets(port):
                assert running.alive, running.broke()
                assert time.monotonic() < until, running.console()[-2000:]
            console = running.console().replace("\r", "")
    assert f"bound {served_network.GUEST} 24 {served_network.SERVER} {served_network.SERVER} bound" in console
    assert f"Name:\t{NAME}\nAddress: {ADDRESS}" in console
    # every time server is ours
    assert f"Name:\t0.debian.pool.ntp.org\nAddress: {served_network.SERVER}" in console
    # what was asked begins with `#`: version 4, client. The answer: version 4, server; stratum 3; "LOCL"
    assert re.search(r"^00000000  24 03 .*LOCL", console.partition("asked-for-the-time")[2], re.MULTILINE)
    assert "there-is-a-way-out" not in console
    assert [line.split()[0] for line in routes.splitlines()] == ["10.0.3.0/24"]
    (clock,) = re.findall(r"^clock (\d+) clock$", console, re.MULTILINE)
    assert 0 < int(clock) - asked - WRONG_SECONDS + 5 < GUEST_SECONDS, "its clock was not wrong at first"
