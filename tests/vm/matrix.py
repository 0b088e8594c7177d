"""A whole line, made small."""

import sys
from pathlib import Path

from tests.data import ROOT

# a site's own criterion: it reboots its guest once, and finds there what it has left (/run it does not)
COMES_BACK = "comes-back-with-its-mark"
SCRIPT = """#!/bin/sh -eu
# kola: {"timeoutMin": 5, "description": "A mark survives a reboot."}
case "${AUTOPKGTEST_REBOOT_MARK:-}" in
"") touch /var/tmp/left /run/left; /tmp/autopkgtest-reboot one ;;
one) test -e /var/tmp/left; test ! -e /run/left; echo "back in $KOLA_UNIT" ;;
*) exit 1 ;;
esac
"""
PROGRAM = Path(sys.executable).parent / "imagebuild"


def small_matrix(tmp_path: Path) -> Path:
    """The demo's configuration with one disk and one download of it, under UEFI: `make demo` boots all, CI
    has an hour.
    """
    file = tmp_path / "debian-12.yaml"
    text = (ROOT / "configs" / "debian-12.yaml").read_text()
    for old, new in (
        ("firmware: [bios, uefi, uefi-secure]\n    # the disk", "firmware: [uefi]\n    # the disk"),
        ("    installed: [uefi, bios, uefi-secure]\n", ""),
        ("      raw.xz: {level: 0}\n      raw.zst: {level: 3}\n      vmdk: {}\n", ""),
        ("  vagrant: {template: debian-12-vagrant.ks, syntax: F28}\n", ""),
    ):
        assert old in text
        text = text.replace(old, new)
    # no boxes and no ISO: they have tests of their own
    for begin, end in (("  vagrant:\n    kickstart", "installer:\n"), ("installer:\n", "storage:")):
        text = text[: text.index(begin)] + text[text.index(end) :]
    file.write_text(text)
    return file


def with_own_criterion(file: Path) -> Path:
    """Add a site's own criterion to a configuration."""
    file.write_text(f"{file.read_text()}\ncriteria: own\n")
    own = file.parent / "own"
    own.mkdir()
    (own / COMES_BACK).write_text(SCRIPT)
    (own / COMES_BACK).chmod(0o755)
    return file
