"""Faults of access: doors that an image leaves open. What each does ($D is the deployment, $S the disk's
root), the criterion that catches it, what that says, and whose rule it breaks.
"""

IN, ROOT, SETUID, SHELL, KEYS, LISTEN = (
    "only-declared-accounts-log-in",
    "only-declared-accounts-become-root",
    "only-the-commits-programs-gain-rights",
    "no-shell-without-a-log-in",
    "ssh-host-keys-are-the-hosts-own",
    "only-declared-services-listen",
)
_TTY = "mkdir -p $D/etc/systemd/system/{0}.d; printf '{1}' > $D/etc/systemd/system/{0}.d/fault.conf"
# CIS: Debian Linux 12 Benchmark 1.1.0; STIG: Red Hat Enterprise Linux 8
ACCESS: dict[str, tuple[str, str, str]] = {
    # CIS 7.2.2, "Ensure /etc/shadow password fields are not empty"
    "an account needs no password": (
        "sed -i 's,^sync:[^:]*:,sync::,' $D/etc/shadow", IN, "sync needs no password",
    ),
    # CIS 5.4.2.4, "Ensure root account access is controlled"
    "root has a password": (
        "sed -i 's,^root:[^:]*:,root:$6$a$b:,' $D/etc/shadow", IN, "root can be logged into with a password",
    ),
    # sshd(8), AUTHORIZED_KEYS FILE FORMAT: any account's file counts, its home's place does not matter
    "another key is left behind": (
        ("mkdir -p -m 0700 $D/etc/fault/.ssh; echo 'ssh-rsa AAAA left' > $D/etc/fault/.ssh/authorized_keys;"
        " echo 'left:x:990:990::/etc/fault:/bin/sh' >> $D/etc/passwd;"
        " echo 'left:!:19675::::::' >> $D/etc/shadow"),
        IN, "left can be logged into with a key",
    ),
    # CIS 5.1.19, "Ensure sshd PermitEmptyPasswords is disabled"
    "sshd takes empty passwords": (
        ("mkdir -p $D/etc/ssh/sshd_config.d;"
        " echo 'PermitEmptyPasswords yes' > $D/etc/ssh/sshd_config.d/00-fault.conf"),
        IN, "sshd's permitemptypasswords is yes",
    ),
    # CIS 5.4.2.1, "Ensure root is the only UID 0 account"
    "there is a second root": (
        ("echo 'toor:x:0:0::/nonexistent:/usr/sbin/nologin' >> $D/etc/passwd;"
        " echo 'toor:!:19675::::::' >> $D/etc/shadow"),
        ROOT, "toor is root by another name",
    ),
    # CIS 5.2.4, "Ensure users must provide password for privilege escalation"; STIG RHEL-08-010380
    "sudo asks a group for nothing": (
        "echo '%users ALL=(ALL) NOPASSWD: ALL' > $D/etc/sudoers.d/fault", ROOT, "does not declare: %users",
    ),
    # CIS 5.2.5, "Ensure re-authentication for privilege escalation is not disabled"; STIG RHEL-08-010381
    "sudo authenticates nobody": (
        "echo 'Defaults !authenticate' > $D/etc/sudoers.d/fault", ROOT, "does not declare: Defaults",
    ),
    # Docker's manual, "Docker daemon attack surface": who is in the group is root's equal
    "an account is docker's": (
        "sed -i 's,^\\(docker:[^:]*:[^:]*:\\).*,\\1games,' $D/etc/group", ROOT, "games may become root by",
    ),
    # polkit(8), AUTHORIZATION RULES
    "polkit says yes": (
        ("mkdir -p $D/etc/polkit-1/rules.d; echo 'polkit.addRule(function() { return \"yes\"; });'"
        " > $D/etc/polkit-1/rules.d/00-fault.rules"),
        ROOT, "polkit has rules",
    ),
    # CIS 7.1.13, "Ensure SUID and SGID files are reviewed"
    "a shell is setuid": (
        "cp -L $D/usr/bin/sh $D/etc/fault-shell; chmod 4755 $D/etc/fault-shell", SETUID, "/etc/fault-shell",
    ),
    # systemd's debug-shell.service(8): "this opens a security hole"; STIG RHEL-08-040180
    "the debug shell is enabled": (
        ("mkdir -p $D/etc/systemd/system/sysinit.target.wants;"
        " ln -s /usr/lib/systemd/system/debug-shell.service $D/etc/systemd/system/sysinit.target.wants/"),
        SHELL, "debug-shell.service gives a shell",
    ),
    # STIG RHEL-08-010151, "must require authentication upon booting into rescue mode"
    "rescue asks for no password": (
        _TTY.format("rescue.service", "[Service]\\nEnvironment=SYSTEMD_SULOGIN_FORCE=1\\n"),
        SHELL, "rescue.service gives a shell to who knows no password",
    ),
    # cloud-init's documentation, cc_ssh: `ssh_deletekeys` is there because images have shipped theirs
    "an ssh host key is shipped": (
        ("echo 'ssh_deletekeys: false' > $D/etc/cloud/cloud.cfg.d/99-fault.cfg;"
        " ssh-keygen -q -t ed25519 -N '' -f $D/etc/ssh/ssh_host_ed25519_key;"
        " touch -d @1500000000 $D/etc/ssh/ssh_host_ed25519_key*"),
        KEYS, "was not made by this boot",
    ),
    # CIS 2.1.22, "Ensure only approved services are listening on a network interface"
    "something listens": (
        ("printf '[Socket]\\nListenStream=2323\\nAccept=yes\\n' > $D/etc/systemd/system/fault.socket;"
        " printf '[Service]\\nExecStart=/bin/true\\n' > $D/etc/systemd/system/fault@.service;"
        " mkdir -p $D/etc/systemd/system/sockets.target.wants;"
        " ln -s ../fault.socket $D/etc/systemd/system/sockets.target.wants/fault.socket"),
        LISTEN, "something listens at tcp/2323",
    ),
}  # fmt: skip
