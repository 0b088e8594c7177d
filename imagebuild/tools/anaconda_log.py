"""What Anaconda's log tells about an installation. It goes to a virtio-serial port of a known name, if the
machine has one.

Anaconda has rsyslog write everything that is logged there, kernel and its own programs included, from its
start on (25.20.9: pyanaconda/anaconda_log.py, setupVirtio; 29.24.7, 40.22.3, 45.21:
pyanaconda/anaconda_logging.py); livemedia-creator reads it so (lorax 26.9, src/sbin/livemedia-creator and
src/pylorax/monitor.py). A line is `06:12:01,123 INFO anaconda:message` (lorax 26.9, anaconda_syslog of
share/templates.d/99-generic/config_files/common/rsyslog.conf), in 29.24.7 and later with the logger's name
before the message. What is not interpolated keeps its `%%`.
"""

import re

PORT = "org.fedoraproject.anaconda.log.0"
# phase -> what shows that it was reached, in order; where the versions that were read write it
PHASES = (
    # anaconda.py: 25.20.9, 26.21.12, 29.24.7, 35.22.2, 40.22.3, 45.21
    ("installer", re.compile(r"anaconda called with cmdline = ")),
    # 25.20.9: anaconda.py, kickstart.py; later ones: startup_utils.py, kickstart.py
    ("kickstart", re.compile(r"Parsing kickstart: |Running kickstart %%?pre script")),
    # 25.20.9: threads.py, packaging/rpmostreepayload.py; 26.21.12 install.py, 29.24.7 … 40.22.3
    # installation.py; 45.21 modules/boss/boss.py
    (
        "installation",
        re.compile(
            r"Running Thread: AnaInstallThread|Queue started: |executing ostreesetup=|The installation has"
            r" started\."
        ),
    ),
    (
        "deployment",
        re.compile(
            r"Starting pull of |ostree pull: |ostree (admin|image) deploy starting|Task started: Install the"
            r" payload"
        ),
    ),
    (
        "configuration",
        re.compile(
            r"ostree admin deploy complete|Running Thread: AnaConfigurationThread|Queue started: Installed"
            r" system config"
        ),
    ),
    (
        "scripts",
        re.compile(
            r"Running kickstart %%?post script|(Queue|Task) started: (Post installation scripts|Run post"
            r" installation scripts)"
        ),
    ),
    (
        "complete",
        re.compile(
            # 25 … 29 configure in a second thread, 35.22.2 and 40.22.3 in the first one, 45.21 in another
            # program
            r"Thread Done: AnaConfigurationThread|Queue started: Installed system configuration[\s\S]*Thread"
            r" Done: AnaInstallThread"
            r"|All kickstart %%?post script\(s\) have been run|The installation has succeeded\."
        ),
    ),
)
# what ends an installation: Anaconda then waits for somebody to read it
FATAL = (
    (
        # exception.py, handleException: an error that nobody handled, in a line of its own program (rsyslog
        # writes line ends as #012)
        re.compile(
            r"\b(CRIT|CRT|ERR)\w* (anaconda|packaging|program|storage|blivet)\b[^\r\n]*Traceback \(most"
            r" recent call last\)[^\r\n]*"
        ),
        "Anaconda gave up",
    ),
    (
        re.compile(
            r"Thread Failed: Ana(Install|Configuration)Thread[^\r\n]*|The installation has failed\.[^\r\n]*"
        ),
        "Anaconda gave up",
    ),
    # 25.20.9: iutil.py and kickstart.py; 29.24.7, 40.22.3: core/util.py and kickstart.py. Both are run when
    # an installation is given up
    (
        re.compile(r"(Running kickstart|All kickstart) %%?(traceback|onerror) script\(s\)[^\r\n]*"),
        "Anaconda gave up",
    ),
    # 25.20.9: packaging/rpmostreepayload.py; 40.22.3, 45.21:
    # modules/payloads/payload/rpm_ostree/installation.py
    (
        re.compile(r"Failed to pull from repository: [^\r\n]*|Failed to copy bootloader data: [^\r\n]*"),
        "Anaconda cannot install",
    ),
    (re.compile(r"Out of memory: Kill[^\r\n]*"), "the installer ran out of memory"),
)


def phase(log: str) -> str:
    """Return the last phase that the log shows; empty for none."""
    found = [name for name, pattern in PHASES if pattern.search(log)]
    return found[-1] if found else ""
