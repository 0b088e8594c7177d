"""Anaconda's log, as it is written."""

F29 = (
    ("INFO anaconda:anaconda: main: anaconda called with cmdline = ['/sbin/anaconda']", "installer"),
    ("INFO anaconda:anaconda: startup_utils: Parsing kickstart: /run/install/ks.cfg", "kickstart"),
    ("INFO anaconda:anaconda: threading: Running Thread: AnaInstallThread (140214)", "installation"),
    ("INFO anaconda:anaconda: installation: Queue started: Payload installation (6/9)", "installation"),
    ("INFO anaconda:packaging: ostree pull: Receiving objects: 71% (9876/13884)", "deployment"),
    ("INFO anaconda:anaconda: threading: Thread Done: AnaInstallThread (140214)", "deployment"),
    ("INFO anaconda:anaconda: threading: Running Thread: AnaConfigurationThread (140215)", "configuration"),
    (
        "INFO anaconda:anaconda: installation: Queue started: Installed system configuration (1/5)",
        "configuration",
    ),
    ("INFO anaconda:anaconda: installation: Task started: Run post installation scripts (13/15)", "scripts"),
    ("INFO anaconda:anaconda: threading: Thread Done: AnaConfigurationThread (140215)", "complete"),
)


def written(lines: tuple[tuple[str, str], ...]) -> list[str]:
    """As rsyslog writes them: lorax 26.9, rsyslog.conf, anaconda_syslog."""
    return [f"06:12:{number:02},123 {line}\n" for number, (line, _) in enumerate(lines)]
