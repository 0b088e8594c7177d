"""What a boot has left behind that it should not: processes of root that belong to no unit, files that all
may write, that lend root's rights, or that tell all a secret. One program reads it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imagebuild.smoke.host.programs import Programs

# Images of containers are not the host's files (CIS Debian Linux 12 Benchmark 1.1.0, 7.1.11 leaves out these
# places, too), nor is what ostree keeps.
# Kinds: P a process of root in no unit (`0::/` is the top of the control groups, where only kernel threads
# are, which have no command line; programs whose name begins with @ were told to outlive the initramfs:
# systemd.io, ROOT_STORAGE_DAEMONS); W writable for all (7.1.11; directories with a sticky bit are
# not); S with root's rights outside of /usr (7.1.13); R readable for all, though it is a secret; M left in
# shared memory (podman's and SELinux' locks stay there).
LOOK = r"""# what the boot has left
export LC_ALL=C
{
for process in /proc/[0-9]*; do
    read -r line 2>/dev/null < "$process/cmdline" || [ -n "$line" ] || continue
    case $line in @*) continue ;; esac
    while IFS= read -r group; do
        case $group in 0::/|1:name=systemd:/)
            case $(stat -c %u "$process" 2>/dev/null) in 0)
                [ "${process#/proc/}" = 1 ] || [ "${process#/proc/}" = $$ ] ||
                    printf 'P %s %s\0' "${process#/proc/}" "$(cat "$process/comm")" ;;
            esac ;;
        esac
    done 2>/dev/null < "$process/cgroup"
    line=
done
# /home, /root and more lead into /var
find /etc /run /var /tmp/ \
    \( -path /var/lib/containers -o -path /var/lib/docker -o -path /var/lib/containerd \
    -o -path /run/containers -o -path /run/docker -o -path /run/containerd -o -path '/run/user/*' \
    -o -fstype proc -o -fstype cgroup2 -o -fstype nsfs \) -prune -o \
    \( -type f -perm -0002 -o -type d -perm -0002 ! -perm -1000 \) -printf 'W %m %p\0' -o \
    -type f -perm /6000 -printf 'S %m %p\0' 2>/dev/null
find /etc/shadow* /etc/gshadow* /etc/ssh /var/lib/cloud /run/cloud-init /run/credentials \
    -type f -perm /0004 \
    \( -name '*shadow*' -o -name 'ssh_host_*_key' -o -name 'user-data.txt*' \
    -o -name 'vendor-data.txt*' -o -name '*cloud-config.txt' \
    -o -name '*-sensitive.json' -o -name 'obj.pkl' -o -path '/run/credentials/*' \
    -o -path '/var/lib/cloud/*/scripts/*' \) \
    -printf 'R %m %p\0' 2>/dev/null
find /dev/shm -mindepth 1 -user 0 ! -name 'libpod*lock*' -printf 'M %m %p\0' 2>/dev/null
} | head -c 131072
printf 'looked\0'
"""
KINDS = {
    "P": "a process of root that is of no unit",
    "W": "writable for everybody",
    "S": "a program with other rights than its user's",
    "R": "a secret that everybody can read",
    "M": "left in shared memory",
}
FOUND = re.compile(r"([PWSRM]) (\d{1,7}) (.{1,4096})", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """One thing that was left: what is wrong with it, its mode (a process: its number), and its path (its
    name), with nothing in it that a terminal would take for a command.
    """

    what: str
    number: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.number}): {self.what}"


class Leftovers(Programs):
    """What the boot has left."""

    def leftovers(self) -> Sequence[Leftover]:
        """Return everything that the boot should not have left."""
        return read_leftovers(self.succeeds("sh", "-c", LOOK))


def read_leftovers(text: str) -> list[Leftover]:
    """Return what LOOK's output says. Fails where it does not come to its end, or is of another form."""
    *entries, looked, rest = text.split("\0") if text.count("\0") else ["", "", ""]
    assert (looked, rest.strip()) == ("looked", ""), "nobody could look what the boot has left"
    found = []
    for entry in entries:
        match = FOUND.fullmatch(entry)
        assert match is not None, f"what the boot has left cannot be read: {entry[:100]!r}"
        found.append(Leftover(what=KINDS[match[1]], number=match[2], name=ascii(match[3])[1:-1][:300]))
    return found
