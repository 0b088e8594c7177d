"""What people write: configurations, pattern lists, kickstarts, and what trees say of themselves."""

from pathlib import Path

import yaml

from imagebuild.config import prepare_root
from imagebuild.deploy import prescript
from imagebuild.kickstart import plan, source
from imagebuild.kinds import Firmware
from imagebuild.live import arguments, kickstarts
from imagebuild.release_line import reading
from imagebuild.tools import os_release
from tests.data import ROOT
from tests.fuzz.bench import Reader
from tests.fuzz.cases import changed, documents

CONFIG = (ROOT / "configs" / "debian-12.yaml").read_bytes()
WAIVERS = {
    "waivers": [{"criterion": "boots", "artifact": "*", "who": "me", "why": "x", "until": "2026-12-31"}],
    "smoke": {"messages_allowed": [{"pattern": "abcd.*", "why": "x", "until": "2026-12-31"}]},
}
BOMB = b"a: &a [x]\n" + b"".join(
    f"{chr(98 + number)}: &{chr(98 + number)} [{', '.join(['*' + chr(97 + number)] * 9)}]\n".encode()
    for number in range(9)
)
YAMLS = (
    CONFIG,
    BOMB,
    b"a: &a\n  b: *a\n",
    b"? [a]\n: b\n",
    b"? {a: b}\n: c\n",
    b"a: 2001-99-99\n",
    b"a: " + b"9" * 5_000,
)
PREPARE = b"[composefs]\nenabled = verity\n[etc]\ntransient = true\n"
OS_RELEASE = b'NAME="Debian"\nVERSION_ID=12\nPRETTY_NAME=\'a b\'\n# x\nA=\\$b "c"\\\n' + b'B="' + b"''" * 9
# pykickstart itself takes milliseconds for a line
LONG_KICKSTART = 16_384
KICKSTART = b"""lang C.UTF-8
timezone --utc Etc/UTC
rootpw --lock
bootloader --timeout=1 --append="console=ttyS0"
zerombr
clearpart --all --initlabel
part /boot --size=300 --fstype=ext4
part biosboot --fstype=biosboot --size=1
part pv.1 --grow --size=2000
volgroup host pv.1
logvol / --vgname=host --name=root --fstype=xfs --size=3000
ostreesetup --osname=o --remote=r --ref=debian/12/x86_64/atomic-host --url=https://example.org/repo --nogpg
user --name=a --password=b --plaintext --groups=wheel
%pre --interpreter=/bin/sh
echo "part swap --size=1" > /tmp/x
%end
%include /tmp/x
%post --erroronfail
echo %end
%end
reboot
"""


def _load(data: bytes, place: Path) -> object:
    (place / "c.yaml").write_bytes(data)
    return reading.load(place / "c.yaml", place)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _plan(data: bytes, _place: Path) -> object:
    return plan.read(
        _text(data), "F27", name="x.ks", seed="s", disk_size=8 << 30, firmware=frozenset(Firmware)
    )


def _parsed(data: bytes, _place: Path) -> object:
    text = _text(data)
    prescript.has_scripts(text)
    source.includes(text)
    source.script_includes(text)
    source.check_medium(text, "F27", "x.ks", unattended=True)
    source.checks(source.read(text, "F27", "x.ks", complete=False), text, ["a"], signed=True, name="x")
    return None


READERS = (
    Reader(name="configuration", read=_load, contents=changed(YAMLS), cases=20),
    Reader(
        name="configuration, its branches",
        read=_load,
        contents=documents([yaml.safe_load(CONFIG), yaml.safe_load(CONFIG) | WAIVERS]),
        cases=20,
    ),
    Reader(
        name="prepare-root.conf",
        read=lambda data, _: prepare_root.parse(data.decode("utf-8", "replace")),
        contents=changed([PREPARE]),
        errors=(ValueError,),
    ),
    Reader(name="os-release", read=lambda data, _: os_release.parse(data), contents=changed([OS_RELEASE])),
    Reader(
        name="kickstart, its plan",
        read=_plan,
        contents=changed([KICKSTART], largest=LONG_KICKSTART),
        cases=12,
    ),
    Reader(
        name="kickstart, its checks",
        read=_parsed,
        contents=changed([KICKSTART], largest=LONG_KICKSTART),
        cases=12,
    ),
    Reader(
        name="kickstart, its includes",
        read=lambda data, _: prescript.without_includes(_text(data)),
        contents=changed([KICKSTART], largest=LONG_KICKSTART),
        cases=20,
    ),
    Reader(
        name="kernel arguments",
        read=lambda data, _: arguments.parse(_text(data)),
        contents=changed(
            [
                b'BOOT_IMAGE=/vmlinuz inst.ks=hd:LABEL=x:/ks.cfg ip=dhcp inst.text inst.disk="a b"',
                b"ks=http://[::1]/x inst.ks=cdrom:/a",
            ]
        ),
    ),
    Reader(
        name="kickstart of the medium",
        read=lambda data, _: kickstarts._text(data, "x"),
        contents=changed([KICKSTART], largest=LONG_KICKSTART),
    ),
)
