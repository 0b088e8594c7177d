"""What Anaconda's log tells: lines as Anaconda and rsyslog write them, by version
(imagebuild/tools/anaconda_log.py says from where).
"""

import pytest

from imagebuild.smoke.installation import COURSE
from imagebuild.smoke.installer_log import phase
from imagebuild.tools import anaconda_log
from imagebuild.tools.console import fatal_line
from tests.tools.anaconda_logs import F29, written

# 25 writes through syslog with the logger's name as the program's; 26 to 28 as 25 or as 29; from 29 on all
# are `anaconda`
F25 = (
    ("INFO anaconda:/sbin/anaconda 25.20.9-1", ""),
    ("INFO anaconda:anaconda called with cmdline = ['/sbin/anaconda']", "installer"),
    ("INFO anaconda:Parsing kickstart: /run/install/ks.cfg", "kickstart"),
    ("INFO anaconda:Running kickstart %%pre script(s)", "kickstart"),
    ("INFO anaconda:All kickstart %%pre script(s) have been run", "kickstart"),
    ("INFO anaconda:Running Thread: AnaStorageThread (140213)", "kickstart"),
    ("INFO anaconda:Running Thread: AnaInstallThread (140214)", "installation"),
    (
        "INFO packaging:executing ostreesetup=<pykickstart.commands.ostreesetup.F21_OSTreeSetup object>",
        "installation",
    ),
    ("INFO packaging:ostree admin deploy starting", "deployment"),
    ("INFO packaging:ostree admin deploy complete", "configuration"),
    ("INFO anaconda:Thread Done: AnaInstallThread (140214)", "configuration"),
    ("INFO anaconda:Running Thread: AnaConfigurationThread (140215)", "configuration"),
    ("INFO anaconda:Running kickstart %%post script(s)", "scripts"),
    ("INFO anaconda:All kickstart %%post script(s) have been run", "complete"),
    ("INFO anaconda:Thread Done: AnaConfigurationThread (140215)", "complete"),
)
F40 = (
    ("INFO anaconda:anaconda: main: anaconda called with cmdline = ['/sbin/anaconda']", "installer"),
    ("INFO anaconda:anaconda: kickstart.script: Running kickstart %%pre script(s)", "kickstart"),
    ("INFO anaconda:anaconda: threading: Running Thread: AnaInstallThread (140214)", "installation"),
    (
        (
            "INFO org.fedoraproject.Anaconda.Modules.Payloads:INFO:anaconda.modules.payloads.payload.rpm_ostree:ostree"  # noqa: E501
            " admin deploy starting"
        ),
        "deployment",
    ),
    (
        "INFO anaconda:anaconda: installation: Queue started: Installed system configuration (10/15)",
        "configuration",
    ),
    ("INFO anaconda:anaconda: threading: Thread Done: AnaTaskThread-1 (140216)", "configuration"),
    ("INFO anaconda:anaconda: threading: Thread Done: AnaInstallThread (140214)", "complete"),
)
F45 = (
    (
        "INFO org.fedoraproject.Anaconda.Boss:INFO:anaconda.modules.boss.boss:The installation has started.",
        "installation",
    ),
    (
        (
            "INFO org.fedoraproject.Anaconda.Boss:INFO:anaconda.modules.boss.installation:Queue started: Post"
            " installation scripts (3/4)"
        ),
        "scripts",
    ),
    (
        (
            "INFO org.fedoraproject.Anaconda.Boss:INFO:anaconda.modules.boss.boss:The installation has"
            " succeeded."
        ),
        "complete",
    ),
)


@pytest.mark.parametrize("lines", [F25, F29, F40, F45], ids=["25.20.9", "29.24.7", "40.22.3", "45.21"])
def test_the_phases_of_each_anaconda(lines: tuple[tuple[str, str], ...]) -> None:
    log = written(lines)
    assert [anaconda_log.phase("".join(log[: number + 1])) for number in range(len(log))] == [
        reached for _, reached in lines
    ]
    assert fatal_line("".join(log), COURSE.fatal) is None


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        # 25.20.9, exception.py: log.critical of the whole traceback; syslog's name of that level, and
        # rsyslog's of a line end
        (
            (
                "CRIT anaconda:Traceback (most recent call last):#012#012  File"
                ' "/usr/lib64/python3.5/site-packages/pyanaconda/threads.py"'
            ),
            "gave up",
        ),
        ("CRIT anaconda:anaconda: exception: Traceback (most recent call last):#012", "gave up"),
        ("INFO anaconda:anaconda: threading: Thread Failed: AnaInstallThread (140214)", "gave up"),
        ("INFO anaconda:anaconda: threading: Thread Failed: AnaConfigurationThread (1)", "gave up"),
        (
            (
                "ERR org.fedoraproject.Anaconda.Boss:ERROR:anaconda.modules.boss.boss:The installation has"
                " failed."
            ),
            "gave up",
        ),
        ("INFO anaconda:Running kickstart %%onerror script(s)", "gave up"),
        ("INFO anaconda:anaconda: kickstart.script: Running kickstart %%traceback script(s)", "gave up"),
        (
            (
                "ERR packaging:Failed to pull from repository: GPG signatures found, but none are in trusted"
                " keyring"
            ),
            "cannot install",
        ),
        (
            "CRIT kernel:Out of memory: Kill process 1422 (anaconda) score 301 or sacrifice child",
            "out of memory",
        ),
        ("ERR kernel:Out of memory: Killed process 1422 (anaconda), UID 0", "out of memory"),
    ],
)
def test_what_ends_an_installation(line: str, sentence: str) -> None:
    said = fatal_line(f"06:12:01,123 INFO anaconda:x\n06:12:01,123 {line}\n", COURSE.fatal)
    assert said is not None
    assert sentence in said


@pytest.mark.parametrize(
    "line",
    [
        # another program's trouble, and what Anaconda goes on after: a script without --erroronfail
        "ERR firewalld:Traceback (most recent call last):#012",
        "ERR anaconda:Error code 1 running the kickstart script at line 42",
        "INFO anaconda:anaconda: threading: Thread Failed: AnaWaitForConnectingNMThread (1)",
        "INFO anaconda:Running kickstart %%post script(s)",
        "WARN kernel:rcu: INFO: rcu_sched self-detected stall on CPU",
    ],
)
def test_what_anaconda_survives(line: str) -> None:
    assert fatal_line(f"06:12:01,123 {line}\n", COURSE.fatal) is None


def test_the_log_says_more_than_the_console() -> None:
    assert phase("SeaBIOS\nISOLINUX 6.04\n") == "bootloader"
    assert phase("SeaBIOS\nISOLINUX 6.04\n" + "".join(written(F25[:6]))) == "kickstart"
    assert phase("imagebuild: installing on vda 8 GiB\n") == "installation"
