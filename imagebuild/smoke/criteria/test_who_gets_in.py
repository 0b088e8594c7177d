"""Nobody gets in, and nobody becomes root, but as the release line declares; and nothing else listens.

Asked one way only, no more than is declared: that those who may get in do is what other criteria say.
"""

import ipaddress
import re

from imagebuild.config.access import Way
from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host import access
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host

# what cloud-init puts before the key that it gives root with `disable_root` (cloud-init, cc_ssh,
# DISABLE_USER_OPTS): it says who to log in as, and ends
REFUSED = re.compile(
    r"(no-[A-Za-z0-9]+-forwarding,)*command=\"echo 'Please login as the user \\\"[a-z0-9_-]+\\\" rather than"
    r" the user \\\"root\\\"\.';echo;sleep 10(;exit 142)?\" "
)
# sshd_config(5)
SSHD = {
    "permitemptypasswords": {"no"},
    "hostbasedauthentication": {"no"},
    # the other is systemd's own (256 and later, 20-systemd-userdb.conf)
    "authorizedkeyscommand": {"none", "/usr/bin/userdbctl ssh-authorized-keys %u --chain"},
    "trustedusercakeys": {"none"},
    "authorizedkeysfile": {".ssh/authorized_keys", ".ssh/authorized_keys .ssh/authorized_keys2"},
}
# of these a member is root, or as good (Debian's base-passwd, users-and-groups; docker's "attack surface")
ROOTS_GROUPS = ("root", "sudo", "wheel", "admin", "docker", "lxd", "libvirt", "disk", "shadow", "kmem")
ASKED_GROUPS = ("%sudo", "%wheel", "%admin")
SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "csh", "tcsh", "fish", "busybox"}
# agetty(8): with these nobody is asked who he is
NOT_ASKED = re.compile(r"\s(--autologin|-a\b|--skip-login|-n\b|--login-program|-l\b)")
# sulogin(8)
FORCED = re.compile(r"sulogin\s.*(-e|--force)\b")
# kernel-command-line(7), systemd-debug-generator(8), dracut.cmdline(7)
OPENS = re.compile(
    r"(systemd\.debug[_-]shell(=(?!(0|no|off|false)$).*)?|rd\.shell(=(?!0$).*)?|rd\.break(=.*)?|init=.*"
    r"|(rd\.)?systemd\.unit=(rescue|emergency)\..*|1|s|S|single|rescue|emergency|-b|.*SULOGIN_FORCE=.*)"
)


def _password(hashed: str) -> bool:
    """Whether a password opens an account (shadow(5): nothing hashes to what begins with ! or *)."""
    return not hashed.startswith(("!", "*"))


@criterion(
    group=Group.ACCESS,
    about="No account can be logged into but as the release line declares, by key or by password.",
)
def test_only_declared_accounts_log_in(host: Host, expected: Expected) -> None:
    terms = expected.terms
    declared = terms.access.log_in(terms.login, terms.user)
    facts = host.access(access.ACCOUNTS)
    for line in facts.get("passwd", []):
        name, word, *_ = line.split(":")
        assert word in ("x", "*", "!", "!!"), f"{name} has its password in /etc/passwd, or needs none"
    assert facts.get("shadow"), "the host does not say who has a password"
    for line in facts["shadow"]:
        name, hashed, *_ = line.split(":")
        assert hashed, f"{name} needs no password: it is empty"
        assert not _password(hashed) or Way.PASSWORD in declared.get(name, ()), (
            f"{name} can be logged into with a password, which the release line does not declare"
        )
    for line in facts.get("key", []):
        name, _, key = line.partition(" ")
        if not key.strip() or key.lstrip().startswith("#") or (name == "root" and REFUSED.match(key)):
            continue
        assert Way.KEY in declared.get(name, ()), (
            f"{name} can be logged into with a key, which the release line does not declare: {key[:80]}"
        )
        assert key.split()[:2] == expected.public_key.split()[:2], (
            f"{name} can be logged into with another key than the test's: {key[:80]}"
        )
    settings = dict(line.partition(" ")[::2] for line in facts.get("sshd", []))
    for setting, allowed in SSHD.items():
        assert settings.get(setting, "(not told)") in allowed, (
            f"sshd's {setting} is {settings.get(setting, '(not told)')}, not {' or '.join(sorted(allowed))}"
        )


@criterion(
    group=Group.ACCESS,
    about="Nobody becomes root but who the release line declares: by uid, group, sudo, polkit or PAM.",
)
def test_only_declared_accounts_become_root(host: Host, expected: Expected) -> None:
    terms = expected.terms
    declared = terms.access.roots(terms.login, terms.user)
    facts = host.access(access.ROOT)
    for line in facts.get("passwd", []):
        name, _, uid, *_ = line.split(":")
        assert int(uid) != 0 or name == "root", f"{name} is root by another name: its uid is 0"
    for line in facts.get("group", []):
        name, _, _, members = line.split(":")
        others = set(filter(None, members.split(","))) - declared
        assert name not in ROOTS_GROUPS or not others, (
            f"{', '.join(sorted(others))} may become root by the group {name}, which the release line does"
            " not declare"
        )
    for rule in _sudo_rules(facts.get("sudo", [])):
        who = rule.split()[0]
        asked = "NOPASSWD" not in rule and "!authenticate" not in rule
        assert who in declared or (who in ASKED_GROUPS and asked), (
            f"sudo has a rule that the release line does not declare: {rule[:100]}"
        )
    changed = facts.get("polkit", [])
    assert not changed, f"polkit has rules that are not the commit's: {', '.join(changed[:5])}"
    opened = facts.get("pam", [])
    assert not opened, f"PAM asks for nothing: {opened[0][:100]}"


def _sudo_rules(lines: list[str]) -> list[str]:
    """Return the rules of sudoers(5) that let somebody do something, or that are not understood here."""
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    rules = [re.sub(r"\s+", " ", line).strip() for line in whole]
    plain = re.compile(r"(Defaults\b(?!.*!authenticate)|[@#]includedir /etc/sudoers\.d$|(Host|Cmnd)_Alias )")
    comment = re.compile(r"#(?!include|\d)")
    return [rule for rule in rules if rule and not comment.match(rule) and not plain.match(rule)]


@criterion(
    group=Group.ACCESS,
    about="No program gains rights (setuid, setgid) but those of the commit.",
)
def test_only_the_commits_programs_gain_rights(host: Host) -> None:
    others = host.not_the_commits(host.access(access.SETUID).get("file", []))
    assert not others, f"these programs gain rights, and are not the commit's so: {'; '.join(others[:5])}"


@criterion(
    group=Group.ACCESS,
    about="No console, port or kernel argument gives a shell without log-in.",
)
def test_no_shell_without_a_log_in(host: Host) -> None:
    facts = host.access(access.SHELLS)
    opening = [word for word in " ".join(facts.get("cmdline", [])).split() if OPENS.fullmatch(word)]
    assert not opening, f"the kernel is told to give a shell: {' '.join(opening)}"
    services = host.services(facts.get("unit", []))
    assert services, "the host does not tell its services"
    for service in services:
        for command in service.commands:
            if "sulogin" in command:
                forced = "SULOGIN_FORCE=1" in service.environment or FORCED.search(command)
                assert not forced, f"{service.name} gives a shell to who knows no password: {command}"
            if service.is_wanted:
                _must_ask(service, command)


def _must_ask(service: access.Service, command: str) -> None:
    """Fail where a service gives a shell to somebody whom nobody asks who he is."""
    words = [word.rpartition("/")[2] for word in command.split()]
    assert words[:1] != ["agetty"] or not NOT_ASKED.search(command), (
        f"{service.name} asks nobody who he is: {command}"
    )
    assert not service.input.startswith(("tty", "socket")) or not SHELLS & {*words}, (
        f"{service.name} gives a shell to everybody at its {service.input}: {command}"
    )


@criterion(
    group=Group.ACCESS,
    about="The host's ssh keys were made by its first boot, and nobody but root reads them.",
)
def test_ssh_host_keys_are_the_hosts_own(host: Host) -> None:
    facts = host.access(access.HOST_KEYS)
    assert facts.get("began"), "the host does not say when it was started"
    assert facts.get("key"), "the host has no ssh keys"
    began = int(facts["began"][0])
    for line in facts["key"]:
        mode, made, path = line.split(" ", 2)
        fresh = path.startswith("/etc/") and float(made) >= began
        assert fresh, f"{path} was not made by this boot: every host of this image has it"
        assert int(mode, 8) & 0o037 == 0, f"{path} has mode {mode}: others read it"


@criterion(
    group=Group.ACCESS,
    about="Nothing listens on other addresses than loopback but what the release line declares.",
)
def test_only_declared_services_listen(host: Host, expected: Expected) -> None:
    for line in host.access(access.LISTENERS).get("socket", []):
        # ss(8), -Hltunp: protocol, state, two queues, here, there, who
        words = line.split()
        assert len(words) >= 6, f"ss told what is not understood: {line[:100]}"
        address, _, port = words[4].rpartition(":")
        named = f"{words[0]}/{port}"
        assert _is_loopback(address) or named in expected.terms.access.listen, (
            f"something listens at {named}, which the release line does not declare: {line[:160]}"
        )


def _is_loopback(address: str) -> bool:
    """Whether an address of ss's (`*`, `127.0.0.53%lo`, `[::1]`) is this host's alone."""
    plain = address.strip("[]").partition("%")[0].removeprefix("::ffff:")
    return plain != "*" and ipaddress.ip_address(plain).is_loopback
