"""What guests, and the machines below them, say: consoles, screens, answers of programs, and evidence kept
of them.
"""

from pathlib import Path
from typing import Any

from imagebuild.deploy import first_boot
from imagebuild.kinds import Firmware, Login, State
from imagebuild.model import Cell
from imagebuild.report import junit
from imagebuild.smoke import boot_files, saved_boot, verdict
from imagebuild.smoke.host import programs
from imagebuild.smoke.hosts import rpm_ostree
from imagebuild.tools import anaconda_log, console, ending, picture, screen
from imagebuild.tools.ssh import Answer
from tests.fuzz.bench import Reader
from tests.fuzz.cases import changed, documents

CONSOLE = (
    b"SeaBIOS\r\nGNU GRUB\r\n\x1b[0;32mLinux version 6.1\x1b[0m\r\n"
    b"[ 0.1] x: rcu: INFO: rcu_sched self-detected stall\r\nSwitching root\r\nBooting `Debian'\r\n"
    b"Warning: /dev/x does not exist\r\nReached target  x Network is Online\r\n"
)
CELLS = [
    {
        "artifact": "a",
        "firmware": "uefi",
        "criterion": "boots",
        "state": "failed",
        "reason": "x",
        "evidence": "e",
        "seconds": 1.0,
    }
]
STATUS = {
    "deployments": [
        {
            "checksum": "ab",
            "version": "1",
            "origin": "r:x",
            "booted": True,
            "requested-packages": ["a"],
            "stateroot": "s",
            "serial": 0,
        }
    ]
}
REPORT = {"report": [{"lv": [{"lv_name": "a", "lv_attr": "t", "lv_size": "12"}], "vg": [{"vg_free": "3"}]}]}
CLOUD = b"datasource_list: [NoCloud, None]\nsystem_info:\n  a: &a [1]\n  b: *a\n"
MENU = b"""set timeout=1
menuentry 'Debian' --class x {
linux /ostree/a/vmlinuz-1 root=UUID=x ostree=/ostree/boot.1/x
initrd /ostree/a/initramfs-1.img
}
"""
BLS = b"title x\nversion 2\noptions ostree=/a b\nlinux /ostree/a\ninitrd /ostree/b\n"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _console(data: bytes, _place: Path) -> object:
    text = _text(data)
    console.describe_failure("x", text, Path("/e"))
    anaconda_log.phase(text)
    return (
        console.fatal_line(text),
        console.fatal_line(text, console.INSTALLER_FATAL),
        console.stalled(text),
        console.phase_reached(text),
        console.installer_phase(text),
        console.starts_quietly(text),
    )


def _menu(data: bytes, _place: Path) -> object:
    text = _text(data)
    found = [entry.ostree for entry in boot_files._menu_entries(text)]
    return found, boot_files._number(dict(boot_files.BLS_LINE.findall(text)).get("version", ""))


def _verdict(data: bytes, place: Path) -> object:
    (place / "verdict.json").write_bytes(data)
    return verdict.read(place / "verdict.json")


def _junit(data: bytes, place: Path) -> object:
    text = _text(data)
    cell = Cell(
        artifact=text[:50],
        firmware=Firmware.UEFI,
        criterion=text[50:60],
        state=State.FAILED,
        reason=text,
        evidence="e",
        seconds=1.0,
    )
    junit.write_junit(place / "junit.xml", [(cell, place)])
    return None


def _answers(data: bytes, _place: Path) -> object:
    """The answers of a host's own programs: what a criterion asserts of them is a failure, not a crash."""
    answer = Answer(status=0, output=_text(data), complaint="", seconds=0.0)

    class Shell:
        def run(self, *_words: str, **_: object) -> Answer:
            return answer

        def succeeds(self, *_words: str, **_: object) -> str:
            return answer.output

    shell: Any = Shell()
    rpm_ostree.RECORD.commands.deployments(shell)
    return None


def _saved(data: bytes, place: Path) -> object:
    (place / saved_boot.BOOT).write_bytes(data)
    return saved_boot.read(place)


def _picture(data: bytes, _place: Path) -> object:
    found = picture.read(data)
    return found is not None and (found.blank, found.like(found))


def _facts(data: bytes, _place: Path) -> object:
    text = _text(data)
    words = (
        "deployments",
        "machine-id",
        "boot-room",
        "kernels",
        "unit-links",
        "docker-storage",
        "cloud-units",
    )
    given = {word: [text] for word in words} | {"cloud-config": [text]}
    return first_boot.problems(
        given,
        commit="ab",
        kind="qcow2",
        login=Login.VAGRANT if len(data) % 2 else Login.CLOUD_INIT,
        clouds=(frozenset({"x"}),),
    )


READERS = (
    Reader(name="console", read=_console, contents=changed([CONSOLE])),
    Reader(
        name="monitor's last word",
        read=lambda data, _: ending._reason(data),
        contents=documents([{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}]),
    ),
    Reader(
        name="text screen",
        read=lambda data, _: screen.read_text(data),
        contents=changed([b" \7" * 2_000, b"A\7" * 2_000]),
    ),
    Reader(
        name="picture",
        read=_picture,
        contents=changed([b"P6\n4 3\n255\n" + bytes(36), b"P6 99999 99999 255\n"]),
    ),
    Reader(name="boot menu of a disk", read=_menu, contents=changed([MENU, BLS])),
    Reader(name="verdict", read=_verdict, contents=documents([CELLS])),
    Reader(name="junit of what failed", read=_junit, contents=changed([CONSOLE])),
    Reader(
        name="deployments of a host", read=_answers, contents=documents([STATUS]), errors=(AssertionError,)
    ),
    Reader(name="saved boot", read=_saved, contents=documents([{"phases": {"ssh": 1.0}}])),
    Reader(
        name="facts before the first boot",
        read=_facts,
        contents=changed([CLOUD, b"4096 100\n", b"12 /a\n", b"a.service /dev/null\n"]),
        cases=25,
    ),
    Reader(
        name="long answers",
        read=lambda data, _: programs._without_long_lists(_text(data)),
        contents=documents([STATUS | {"packages": ["a"] * 700}]),
    ),
)
