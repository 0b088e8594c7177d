"""Hosts on which the criteria of test_who_gets_in.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_who_gets_in as access
from tests.smoke import access_answers as said
from tests.smoke.criteria.cases import Answers, Case, OnHost


def _accounts(*lines: str) -> Answers:
    return {said.ACCOUNTS: "\n".join((*lines, said.ACCOUNTS_SAID))}


def _root(*lines: str) -> Answers:
    return {said.ROOT: "\n".join((*lines, said.ROOT_SAID))}


def _service(*words: str) -> Answers:
    name, active, enabled, given, environment, command = words
    added = said.block(name, active, enabled, given, environment, f"{command} ; argv[]={command} ; x")
    return {said.SHELLS: f"{said.CMDLINE}{said.SERVICES}unit \n{added}"}


def _told(argument: str) -> Answers:
    return {said.SHELLS: f"cmdline ro {argument} quiet\n{said.SERVICES}"}


CASES: dict[str, Case] = {
    "only-declared-accounts-log-in": OnHost(
        run=access.test_only_declared_accounts_log_in,
        broken=[
            (_accounts("passwd toor::0:0::/root:/bin/sh"), "has its password in /etc/passwd, or needs none"),
            (_accounts("shadow sync::19675:0:99999:7:::"), "sync needs no password"),
            (_accounts("shadow root:$6$a$b:19675:0:99999:7:::"), "root can be logged into with a password"),
            (_accounts("shadow debian:$y$j9T$a$b:1::::::"), "debian can be logged into with a password"),
            (_accounts("key www-data ssh-rsa AAAA x"), "www-data can be logged into with a key"),
            (_accounts("key root ssh-rsa AAAA x"), "root can be logged into with a key"),
            (_accounts('key root command="/bin/bash" ssh-rsa AAAA x'), "root can be logged into with a key"),
            (_accounts("key debian ssh-rsa AAAA x"), "another key than the test's"),
            (
                {said.ACCOUNTS: said.ACCOUNTS_SAID.replace("emptypasswords no", "emptypasswords yes")},
                "sshd's permitemptypasswords is yes",
            ),
            (
                {said.ACCOUNTS: said.ACCOUNTS_SAID.replace(".ssh/authorized_keys2", "/etc/ssh/keys/%u")},
                "sshd's authorizedkeysfile is",
            ),
            (
                {said.ACCOUNTS: said.ACCOUNTS_SAID.replace(said.SETTINGS, "sshd no hostkeys available\n")},
                "not told",
            ),
            ({said.ACCOUNTS: said.SETTINGS}, "does not say who has a password"),
            ({said.ACCOUNTS: "key x\n" * 7000}, "has no end"),
            ({said.ACCOUNTS: None}, "ended with 1"),
        ],
    ),
    "only-declared-accounts-become-root": OnHost(
        run=access.test_only_declared_accounts_become_root,
        broken=[
            (_root("passwd toor:x:0:0::/root:/bin/sh"), "toor is root by another name"),
            (_root("group docker:x:102:debian,games"), "games may become root by the group docker"),
            (_root("sudo games ALL=(ALL) ALL"), "a rule that the release line does not declare: games"),
            (_root("sudo %sudo ALL=(ALL) NOPASSWD: ALL"), "does not declare: %sudo"),
            (_root("sudo %sudo ALL=(ALL) \\", "sudo   NOPASSWD: ALL"), "does not declare: %sudo"),
            (_root("sudo Defaults !authenticate"), "does not declare: Defaults"),
            (_root("sudo #1000 ALL=(ALL) ALL"), "does not declare: #1000"),
            (_root("sudo @include /var/more"), "does not declare: @include"),
            (_root("polkit /etc/polkit-1/rules.d/00-all.rules"), "polkit has rules"),
            (_root("pam /etc/pam.d/su:auth sufficient pam_permit.so"), "PAM asks for nothing"),
        ],
    ),
    "only-the-commits-programs-gain-rights": OnHost(
        run=lambda host, _: access.test_only_the_commits_programs_gain_rights(host),
        broken=[
            ({said.SETUID: said.PROGRAMS + "file 04755 0 0 /var/tmp/sh\n"}, "04755 0 0 /var/tmp/sh"),
            ({said.SETUID: "file 06755 0 42 /usr/bin/chage\n"}, "06755 0 42 /usr/bin/chage"),
            ({"ostree --repo=/sysroot/ostree/repo ls": None}, "gain rights"),
        ],
    ),
    "no-shell-without-a-log-in": OnHost(
        run=lambda host, _: access.test_no_shell_without_a_log_in(host),
        broken=[
            *(
                (_told(argument), argument.replace(".", r"\."))
                for argument in (
                    "systemd.debug_shell",
                    "systemd.debug-shell=1",
                    "rd.shell",
                    "init=/bin/sh",
                    "single",
                    "systemd.unit=rescue.target",
                    "systemd.setenv=SYSTEMD_SULOGIN_FORCE=1",
                )
            ),
            (
                _service("debug-shell.service", "active", "enabled", "tty", "", "/bin/bash"),
                "everybody at its",
            ),
            (_service("x@1.service", "active", "static", "socket", "", "/bin/sh -i"), "at its socket"),
            (
                _service(
                    "serial-getty@ttyS0.service",
                    "active",
                    "enabled",
                    "tty",
                    "",
                    "/sbin/agetty --autologin root 115200 - linux",
                ),
                "asks nobody who he is",
            ),
            (
                _service(
                    "rescue.service",
                    "inactive",
                    "static",
                    "tty-force",
                    "SYSTEMD_SULOGIN_FORCE=1",
                    "/lib/systemd/systemd-sulogin-shell rescue",
                ),
                "who knows no password",
            ),
            ({said.SHELLS: said.CMDLINE}, "does not tell its services"),
        ],
    ),
    "ssh-host-keys-are-the-hosts-own": OnHost(
        run=lambda host, _: access.test_ssh_host_keys_are_the_hosts_own(host),
        broken=[
            ({said.HOST_KEYS: said.KEYS.replace("began 17958", "began 17959")}, "not made by this boot"),
            ({said.HOST_KEYS: said.KEYS.replace(" /etc", " /usr/etc")}, "not made by this boot"),
            ({said.HOST_KEYS: said.KEYS.replace("key 600", "key 644")}, "has mode 644"),
            ({said.HOST_KEYS: "began 1795824000\n"}, "has no ssh keys"),
            ({said.HOST_KEYS: "Failed to connect to bus\n"}, "does not say when"),
        ],
    ),
    "only-declared-services-listen": OnHost(
        run=access.test_only_declared_services_listen,
        broken=[
            (
                {said.LISTENERS: f"{said.LISTENING}socket tcp LISTEN 0 128 {address}:{port} *:* users:x\n"},
                f"something listens at tcp/{port}",
            )
            for address, port in (("0.0.0.0", 23), ("*", 2375), ("[::]", 111), ("10.0.2.15%eth0", 80))
        ]
        + [({said.LISTENERS: "socket tcp LISTEN\n"}, "not understood")],
    ),
}
