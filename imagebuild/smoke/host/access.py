"""What the host says of who can get in, who becomes root, and what listens.

One program for each criterion: guests that are emulated are slow. Every line begins with what it is of, so no
file's content can pass for another; and an answer has an end.
"""

from dataclasses import dataclass

from imagebuild.smoke.host.boots import Boots

# characters, and lines, that any healthy host stays far below
MOST, MOST_LINES = 400_000, 6000
END = f" 2>&1 | head -c {MOST}"
# passwd(5), shadow(5) as NSS has them; every account's keys; the settings that are in force (sshd(8), -T)
ACCOUNTS = """# access: accounts
{
getent passwd | sed 's/^/passwd /'
getent shadow | sed 's/^/shadow /'
getent passwd | cut -d: -f1,6 | sort -u | while IFS=: read -r name home; do
    for file in "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2"; do
        [ ! -f "$file" ] || awk -v name="$name" '{ print "key " name " " $0 }' "$file"
    done
done
$(command -v sshd || echo /usr/sbin/sshd) -T 2>&1 | sed 's/^/sshd /'
}"""
# sudoers(5), polkit(8); a file in /etc is the commit's where it equals the one in /usr/etc
ROOT = """# access: root
{
getent passwd | sed 's/^/passwd /'
getent group | sed 's/^/group /'
for file in /etc/sudoers /etc/sudoers.d/*; do
    [ ! -f "$file" ] || sed 's/^/sudo /' "$file"
    echo 'sudo '
done
find /etc/polkit-1/rules.d /etc/polkit-1/localauthority -type f 2>/dev/null | while read -r file; do
    cmp -s "$file" "/usr$file" || echo "polkit $file"
done
grep -HE '^[[:space:]]*auth[[:space:]]+sufficient[[:space:]]+pam_permit|pam_wheel.*trust' /etc/pam.d/* |
    grep -v ':[[:space:]]*#' | sed 's/^/pam /'
}"""
# containers' layers have programs of their own, which the host's users cannot reach
SETUID = """# access: setuid
find /usr /etc /var /opt /srv /tmp -xdev \\( -path /var/lib/containers -o -path /var/lib/docker \\) -prune \
 -o -type f -perm /6000 -printf 'file 0%m %U %G %p\\n'"""
SHELLS = """# access: shells
{
sed 's/^/cmdline /' /proc/cmdline
systemctl show --no-pager --property=Id,ActiveState,UnitFileState,StandardInput,Environment,ExecStart \
 '*.service' debug-shell.service emergency.service rescue.service | sed 's/^/unit /'
}"""
# the wall clock as it was when the host's own systemd started
HOST_KEYS = """# access: host keys
{
began=$(systemctl show --property=UserspaceTimestamp)
[ -z "${began#*=}" ] || echo "began $(date -d "${began#*=}" +%s)"
find /etc/ssh /usr/etc/ssh -name 'ssh_host_*_key' -printf 'key %m %T@ %p\\n' 2>/dev/null
}"""
LISTENERS = """# access: listeners
ss -Hltunp | sed 's/^/socket /'"""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service that systemd has loaded, as systemctl(1) shows it."""

    name: str
    is_wanted: bool
    input: str
    environment: str
    commands: tuple[str, ...]


class Access(Boots):
    """Who gets in."""

    def access(self, script: str) -> dict[str, list[str]]:
        """Return what a script printed: the rest of each line by its first word, in order. Fails where the
        host prints more than any healthy one.
        """
        output = self.succeeds("sh", "-c", script + END)
        lines = output.splitlines()
        assert len(output) < MOST, f"the host's answer has no end: {lines[0][:80]!r} …"
        assert len(lines) < MOST_LINES, f"the host's answer has no end: {lines[0][:80]!r} …"
        facts: dict[str, list[str]] = {}
        for line in lines:
            kind, _, rest = line.partition(" ")
            facts.setdefault(kind, []).append(rest)
        return facts

    def not_the_commits(self, programs: list[str]) -> list[str]:
        """Return those of programs (`0MODE UID GID PATH`) that the booted commit does not have with this
        mode and owner.
        """
        paths = [line.split(" ", 3)[3] for line in programs]
        outside = [line for line, path in zip(programs, paths, strict=True) if not path.startswith("/usr/")]
        inside = [path for path in paths if path.startswith("/usr/")]
        if not inside:
            return outside
        listed = self.run("ostree", "--repo=/sysroot/ostree/repo", "ls", self.booted().commit, *inside)
        if listed.status != 0:
            return [*outside, listed.complaint.strip()[-200:]]
        # a line is `-04755 0 0 281624 /usr/bin/sudo` (ostree 2016.15 … 2025.3, ot-builtin-ls.c)
        known = {
            f"{int(words[0].lstrip('-'), 8):05o} {words[1]} {words[2]} {words[4]}"
            for words in (line.split(maxsplit=4) for line in listed.output.splitlines())
            if len(words) == 5 and words[0].startswith("-")
        }
        changed = [line for line in programs if line not in known and line not in outside]
        return changed + outside

    def services(self, shown: list[str]) -> list[Service]:
        """Return services from what `systemctl show` printed: one block for each, an empty line between."""
        services = []
        for block in "\n".join(shown).split("\n\n"):
            pairs = [line.partition("=")[::2] for line in block.splitlines()]
            have = dict(pairs)
            services.append(
                Service(
                    name=have.get("Id", ""),
                    is_wanted=have.get("ActiveState") in ("active", "activating", "reloading")
                    or have.get("UnitFileState") in ("enabled", "enabled-runtime", "linked"),
                    input=have.get("StandardInput", ""),
                    environment=have.get("Environment", ""),
                    commands=tuple(
                        value.partition("argv[]=")[2].partition(" ; ")[0]
                        for key, value in pairs
                        if key == "ExecStart"
                    ),
                )
            )
        return [service for service in services if service.name]
