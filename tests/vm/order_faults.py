"""Faults of working order: a host boots and answers, nothing has failed; what is wrong is seen by who looks.

Where each kind comes from stands beside it: CIS Debian Linux 12 Benchmark 1.1.0, DISA's STIG for RHEL 9, by
their titles; kola's tests (K: coreos/fedora-coreos-config, tests/kola; M: coreos/coreos-assembler,
mantle/kola/tests); Fedora's Basic release criteria (fedoraproject.org/wiki/Basic_Release_Criteria).
"""

from tests.vm.faults import Fault, unit

RESTLESS = "no-unit-restarts-again-and-again-or-waits-for-ever"
COMMIT, WRITABLE = "what-runs-is-the-commit", "usr-cannot-be-written"
JOURNAL, EARLIER = (
    "the-journal-is-kept-where-the-tree-says",
    "the-journal-of-earlier-boots-is-there-as-the-tree-says",
)
SETUID = "only-the-commits-programs-gain-rights"
LEFTOVERS = "the-boot-leaves-no-privileged-leftovers"
NAMES, CLOCK = "names-resolve-by-the-server-that-dhcp-gave", "the-clock-is-being-kept"
# the deployment's directory cannot be changed while it is marked so (ostree-sysroot-deploy.c)
OPEN, CLOSE = "chattr -i $D", "chattr +i $D"


def service(*lines: str) -> str:
    """Return a script that makes a unit of these lines of its [Service], started at every boot."""
    text = "\\n".join(["[Service]", *lines, "[Install]", "WantedBy=multi-user.target", ""])
    return (
        f"printf '{text}' > $D/etc/systemd/system/fault.service; ln -s ../fault.service"
        " $D/etc/systemd/system/multi-user.target.wants/fault.service"
    )


def sh(script: str) -> str:
    """Return a script that runs a line of shell at every boot."""
    return unit(f'/bin/sh -c "{script}"')


def replaced(path: str, change: str) -> str:
    """Return a script that changes a file of the tree: its own copy, so that the repository's stays."""
    return f"{OPEN}; F=$D{path}; cp -a $F $F.new; {change}; mv $F.new $F; {CLOSE}"


ORDER: dict[str, Fault] = {
    # --- units (M: coretest/core.go, ServicesActive; Fedora, "System services") ---
    "a service dies again and again": Fault(
        script=service("ExecStart=/bin/sleep 4", "Restart=always", "RestartSec=2"),
        caught=(RESTLESS,),
        quiet=True,
        says="fault.service was restarted",
    ),
    "a service waits to be restarted": Fault(
        script=service("ExecStart=/bin/false", "Restart=always", "RestartSec=1h"),
        caught=(RESTLESS,),
        quiet=True,
        says="fault.service: activating (auto-restart)",
    ),
    "a service never stops": Fault(
        script=service("ExecStart=/bin/true", "ExecStopPost=/bin/sleep infinity", "TimeoutStopSec=infinity"),
        caught=(RESTLESS,),
        quiet=True,
        says="fault.service: deactivating (stop-post)",
    ),
    # --- content (CIS, "filesystem integrity is regularly checked"; K: files/setuid, files/setgid) ---
    "a unit of the tree is another": Fault(
        script=replaced("/usr/lib/systemd/system/rescue.service", "echo >> $F.new"),
        caught=(COMMIT,),
        quiet=True,
        says="/usr/lib/systemd/system/rescue.service has other content",
    ),
    "a program lends root's rights": Fault(
        script=replaced("/usr/bin/find", "chmod 4755 $F.new"),
        caught=(COMMIT, SETUID),
        quiet=True,
        says="/usr/bin/find has another mode or owner: 4755",
    ),
    "a program was added": Fault(
        script=f"{OPEN}; printf '#!/bin/sh\\n' > $D/usr/bin/fault; chmod 755 $D/usr/bin/fault; {CLOSE}",
        caught=(COMMIT,),
        quiet=True,
        says="/usr/bin/fault is not in the commit",
    ),
    "a program is missing": Fault(
        script=f"{OPEN}; rm $D/usr/bin/less; {CLOSE}",
        caught=(COMMIT,),
        says="/usr/bin/less is missing",
        quiet=True,
    ),
    # M: ostree/unlock.go; K: files/root-immutable-bit
    "/usr is unlocked": Fault(
        script=sh("mount -o remount,bind,rw /usr").replace(
            "Type=oneshot", "Type=oneshot\\nRemainAfterExit=yes"
        ),
        caught=(WRITABLE,),
        quiet=True,
        says="root can write into /usr",
    ),
    # --- the journal (CIS, "journald is configured to write logfiles to persistent disk") ---
    "the journal is lost": Fault(
        script=(
            "mkdir -p $D/etc/systemd/journald.conf.d; printf '[Journal]\\nStorage=persistent\\n' >"
            " $D/etc/systemd/journald.conf.d/10-kept.conf; ln -sf /dev/null"
            " $D/etc/systemd/system/systemd-journal-flush.service"
        ),
        caught=(JOURNAL,),
        quiet=True,
        says="kept on disk (Storage=persistent), but it is in /run/log/journal",
    ),
    # --- what the boot leaves (CIS, "world writable files and directories are secured", "SUID and SGID files
    # are reviewed"; STIG, "world-writable directories"; M: misc/files.go; K: files/setuid) ---
    "all may write a file in /etc": Fault(
        script="printf 'x\\n' > $D/etc/fault.conf; chmod 666 $D/etc/fault.conf",
        caught=(LEFTOVERS,),
        quiet=True,
        says="/etc/fault.conf (666): writable for everybody",
    ),
    "all may write a directory in /run": Fault(
        script="printf 'd /run/fault 0777 root root -\\n' > $D/etc/tmpfiles.d/fault.conf",
        caught=(LEFTOVERS,),
        quiet=True,
        says="/run/fault (777): writable for everybody",
    ),
    "a shell with root's rights lies in /var": Fault(
        script=sh("install -m 4755 /bin/sh /var/lib/fault"),
        # what lends rights is somebody's door, too
        caught=(LEFTOVERS, SETUID),
        quiet=True,
        says="/var/lib/fault (4755): a program with other rights",
    ),
    # cloud-init, CVE-2021-3429 and CVE-2023-1786: what users were given lay where all could read it
    "all may read what cloud-init was given": Fault(
        script=sh(
            "until [ -e /run/cloud-init/result.json ]; do sleep 1; done; chmod 644"
            " /var/lib/cloud/instance/user-data.txt"
        ).replace("Type=oneshot", "Type=simple"),
        caught=(LEFTOVERS,),
        quiet=True,
        says="user-data.txt (644): a secret that everybody can read",
    ),
    # systemd.io/ROOT_STORAGE_DAEMONS: what outlives its initramfs, or its unit
    "a process of root belongs to no unit": Fault(
        script=sh(
            "sleep 100000 & for top in /sys/fs/cgroup /sys/fs/cgroup/systemd; do"
            " if [ -e $$top/cgroup.procs ]; then echo $$! > $$top/cgroup.procs; fi; done; true"
        ),
        caught=(LEFTOVERS,),
        quiet=True,
        says="sleep (",
    ),
    # --- what the network offers (CIS, "a single time synchronization daemon is in use"; M: misc/network.go;
    # K: ntp/timesyncd/dhcp-propagation, ntp/chrony/dhcp-propagation; Fedora, "Networking") ---
    "names resolve by a server of the image's own": Fault(
        script=(
            "rm -f $D/etc/resolv.conf; printf 'nameserver 192.0.2.1\\noptions timeout:1 attempts:1\\n' >"
            " $D/etc/resolv.conf"
        ),
        caught=(NAMES,),
        says="/etc/resolv.conf names 192.0.2.1",
    ),
    "the time service is masked": Fault(
        script="ln -sf /dev/null $D/etc/systemd/system/systemd-timesyncd.service",
        caught=(CLOCK,),
        says="nothing keeps the clock: systemd-timesyncd.service is inactive",
    ),
    "nobody tells the time": Fault(
        script=(
            "mkdir -p $D/etc/systemd/system/systemd-timesyncd.service.d; printf"
            " '[Service]\\nIPAddressDeny=any\\n' >"
            " $D/etc/systemd/system/systemd-timesyncd.service.d/fault.conf"
        ),
        caught=(CLOCK,),
        says="the clock is not synchronized",
    ),
}
