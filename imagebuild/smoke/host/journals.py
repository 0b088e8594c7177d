"""Where the host's journal is kept: what journald is told, where it writes, and which boots it remembers."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from imagebuild.smoke.host.programs import Programs

# journald.conf(5): one main file, then all drop-ins by their names, of which that in /etc counts, then /run's
LOOK = """# where the journal is kept
export LC_ALL=C
read -r machine < /etc/machine-id
for top in /etc /run /usr/local/lib /usr/lib; do
    for file in $top/systemd/journald.conf $top/systemd/journald.conf.d/*.conf; do
        if [ -e "$file" ]; then
            printf '=file %s\\n' "$file"
            grep -E '^[[:space:]]*Storage[[:space:]]*=' "$file" | tail -n 1 | head -c 200
        fi
    done
done
printf '=made\\n'
cat /etc/tmpfiles.d/*.conf /usr/lib/tmpfiles.d/*.conf 2>/dev/null |
    grep -cE '^[dDvqQ][^[:space:]]*[[:space:]]+/var/log/journal/?([[:space:]]|$)'
printf '=places\\n'
for place in /var/log/journal "/var/log/journal/$machine/system.journal" \
    "/run/log/journal/$machine/system.journal"; do
    if [ -e "$place" ]; then echo "${place%"/$machine/system.journal"}"; fi
done
printf '=boots\\n'
journalctl --list-boots --no-pager --quiet | head -c 65536
"""
STORAGE = re.compile(r"\s*Storage\s*=\s*(\w+)\s*")
KINDS = ("volatile", "persistent", "auto", "none")
# what journalctl --list-boots prints: offset, boot id, first and last entry; newer ones say so above
LISTED = re.compile(r"\s*-?\d+ [0-9a-f]{32} .*")
ON_DISK, IN_MEMORY = "/var/log/journal", "/run/log/journal"
TOPS = ("/usr/lib", "/usr/local/lib", "/run", "/etc")


@dataclass(frozen=True, kw_only=True)
class JournalFacts:
    """`storage` is what journald is told; `kept`: whether that means that it outlasts a reboot; `writes` is
    where this boot's journal lies. `made`: the tree has the directory made at boot, after journald was told
    to write there. `boots`: how many are listed.
    """

    storage: str
    kept: bool
    writes: frozenset[str]
    made: bool
    boots: int


class Journals(Programs):
    """Where the journal is kept."""

    def journal_facts(self) -> JournalFacts:
        """Return where the journal is kept, and where it should be."""
        return read_journal_facts(self.succeeds("sh", "-c", LOOK))


def read_journal_facts(text: str) -> JournalFacts:
    """Return what LOOK's output says."""
    files, _, rest = text.partition("=made\n")
    made, _, rest = rest.partition("=places\n")
    places, _, boots = rest.partition("=boots\n")
    storage, places_there = _storage(files), places.split()
    by_tree = made.strip().isdecimal() and int(made) > 0
    # each place of a journal is named once; the directory of those on disk once more
    on_disk = places_there.count(ON_DISK)
    writes = {ON_DISK} if on_disk > 1 else set()
    if IN_MEMORY in places_there:
        writes.add(IN_MEMORY)
    return JournalFacts(
        storage=storage,
        kept=storage == "persistent" or (storage == "auto" and (on_disk > 0 or by_tree)),
        writes=frozenset(writes),
        made=by_tree,
        boots=sum(1 for line in boots.splitlines() if LISTED.fullmatch(line)),
    )


def _storage(files: str) -> str:
    """Return what is configured, from files that each begin with a line `=file PATH`."""
    told: dict[tuple[bool, str], tuple[int, str]] = {}
    for part in files.split("=file ")[1:]:
        path, _, line = part.partition("\n")
        name = PurePosixPath(path).name
        top = next((number for number, top in enumerate(TOPS) if path.startswith(f"{top}/systemd/")), -1)
        key = (PurePosixPath(path).parent.name.endswith(".d"), name)
        if top > told.get(key, (-1, ""))[0]:
            match = STORAGE.match(line)
            told[key] = (top, match[1].lower() if match else "")
    words = [told[key][1] for key in sorted(told) if told[key][1] in KINDS]
    return words[-1] if words else "auto"
