"""Executables of a site, run by the words that a guest would hear, through their reboots."""

from pathlib import Path

import pytest

from imagebuild.smoke.criterion import Asks
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.site import running
from imagebuild.smoke.site.guest_side import MOST_SAID, SCRIPTS
from imagebuild.smoke.site.record import SiteCriterion, SiteFile
from imagebuild.smoke.site.running import Run
from imagebuild.tools import command
from tests.smoke.site.namespaced_guest import NamespacedGuest, guest, needs_root

pytestmark = needs_root
# coreos-assembler (2025), docs/kola/external-tests.md, "Support for rebooting": three boots, told apart by
# their marks
REBOOTS = """#!/bin/bash
set -xeuo pipefail
case "${AUTOPKGTEST_REBOOT_MARK:-}" in
  "") echo "test beginning"; /tmp/autopkgtest-reboot mark1 ;;
  mark1) echo "test in mark1"; /tmp/autopkgtest-reboot mark2 ;;
  mark2) echo "test in mark2" ;;
  *) echo "unexpected mark: ${AUTOPKGTEST_REBOOT_MARK}"; exit 1;;
esac
echo "ok autopkgtest rebooting"
"""
# autopkgtest 5, doc/README.package-tests.rst, "Reboot during a test": the test itself reboots
PREPARED = """#!/bin/sh -e
if [ "$AUTOPKGTEST_REBOOT_MARK" = "phase1" ]; then
    echo "continuing test after reboot"
    exit 0
fi
/tmp/autopkgtest-reboot-prepare phase1
systemctl reboot
sleep 100
"""
# systemctl's, mount's (libmount keeps its table there), and the test's own
OTHERS = ("/run/systemd", "/run/mount", "/run/kept")
SOFT = """#!/bin/sh -e
case "${AUTOPKGTEST_REBOOT_MARK:-}" in
"") touch /run/kept; /tmp/autopkgtest-soft-reboot one ;;
one) test -e /run/kept; /tmp/autopkgtest-soft-reboot-prepare two; systemctl soft-reboot; sleep 100 ;;
two) test -e /run/kept; echo "in userspace $(systemctl show)" ;;
esac
"""


def site(text: str, *more: SiteFile, asks: Asks = Asks.OWN_BOOT, skippable: bool = False) -> SiteCriterion:
    return SiteCriterion(
        name="basic-probe",
        about="",
        files=(SiteFile.of("probe", text.encode(), executable=True), *more),
        program="probe",
        kola="ext.mine.basic.probe",
        asks=asks,
        skippable=skippable,
    )


def run(tmp_path: Path, one: SiteCriterion, *, most: int = 1000) -> tuple[NamespacedGuest, str]:
    """Run it; return the machine that it was run on, and the evidence. Raises as `Run`."""
    log = tmp_path / "log"
    with guest(tmp_path / "guest", log, most=most) as (machine, host):
        try:
            Run(one, host, pause=0.05).to_its_end()
        finally:
            left = machine.run(
                ["sh", "-c", "ls -d /run/* /tmp/* /usr/local/bin/kola* || :"], timeout=9
            ).output
            mine = [line for line in left.splitlines() if line not in OTHERS]
            assert not mine, f"it left something behind: {mine}"
    return machine, log.read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_has_no_complaint_about_what_guests_are_given(name: str) -> None:
    command.run(["shellcheck", "--shell=sh", "-"], stdin=SCRIPTS[name].encode())


def test_the_example_of_kolas_documentation_reboots_twice(tmp_path: Path) -> None:
    machine, log = run(tmp_path, site(REBOOTS))
    assert machine.boots == 3
    said = [line for line in log.splitlines() if line.startswith(("test ", "ok "))]
    assert said == ["test beginning", "test in mark1", "test in mark2", "ok autopkgtest rebooting"]


def test_a_test_that_reboots_by_itself_is_waited_for(tmp_path: Path) -> None:
    machine, log = run(tmp_path, site(PREPARED))
    assert machine.boots == 2
    assert "continuing test after reboot" in log


def test_a_soft_reboot_is_one(tmp_path: Path) -> None:
    machine, log = run(tmp_path, site(SOFT))
    assert machine.boots == 1
    assert "in userspace 2" in log


def test_it_finds_its_data_and_its_names(tmp_path: Path) -> None:
    text = '#!/bin/sh -e\ncat "$KOLA_EXT_DATA/deep/one"\necho "$KOLA_UNIT $KOLA_TEST $KOLA_TEST_EXE"\n'
    _, log = run(tmp_path, site(text, SiteFile.of("data/deep/one", b"the data\n")))
    assert "the data\nkola-runext.service ext.mine.basic.probe probe\n" in log


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#!/bin/sh\necho nothing is right\nexit 3\n", "it ended with 3: nothing is right"),
        ("#!/bin/sh\nkill -SEGV $$\n", "it ended with 139: Segmentation fault"),
        ("#!/bin/sh\nexit 77\n", "it ended with 77, and its record does not say that it is skippable"),
        ("#!/nowhere/sh\n", "it ended with 127"),
        ("\x00\x01 no program", "it ended with 12"),
        ("#!/bin/sh\n/tmp/autopkgtest-reboot 'a b'\n", "it ended with 1: give a mark of letters"),
    ],
)
def test_whatever_is_not_0_fails_with_its_last_words(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(AssertionError) as caught:
        run(tmp_path, site(text))
    assert says in str(caught.value)


def test_77_does_not_apply_where_the_record_allows_it(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match=r"\(77\): no such hardware"):
        run(tmp_path, site("#!/bin/sh\necho no such hardware\nexit 77\n", skippable=True))


def test_one_that_never_ends_is_ended(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="did not end within 10 native minutes: still here"):
        run(tmp_path, site("#!/bin/sh\ntrap '' TERM\necho still here\nsleep 1000\n"), most=1)


def test_one_that_prints_gigabytes_is_ended(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"it printed {MOST_SAID} MiB and did not stop: y y y"):
        run(tmp_path, site("#!/bin/sh\nyes 2>/dev/null\nsleep 1000\n"))


def test_one_that_is_not_alone_may_not_reboot(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="it ended with 1: a criterion without a fresh boot of its own"):
        run(tmp_path, site(PREPARED, asks=Asks.FIRST_BOOT))


def test_one_that_reboots_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MOST_REBOOTS", 2)
    with pytest.raises(AssertionError, match="it asked for more than 2 reboots"):
        run(tmp_path, site("#!/bin/sh\n/tmp/autopkgtest-reboot again\n"))


def test_one_that_promises_a_reboot_and_does_not_is_told(tmp_path: Path) -> None:
    text = "#!/bin/sh\n/tmp/autopkgtest-reboot-prepare later\nsleep 100\n"
    with pytest.raises(AssertionError, match=r"after the reboot \(basic-probe-1\): it did not shut down"):
        run(tmp_path, site(text))
