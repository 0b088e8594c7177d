"""Hosts on which the criteria of test_journal.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_journal as journal
from tests.smoke.criteria.cases import Case, OnHost, OnJourney

LOOK = "sh -c # where the journal is kept"
BOOT = " 0 0d7a3f0d5b1e4e0f8c7a9c1fd3a5b7e9 Sat 2026-11-28 06:11:02 UTC Sat 2026-11-28 06:14:40 UTC\n"
EARLIER = BOOT.replace(" 0 0d", "-1 1e")
# systemd 254 and newer have a head line
HEAD = "IDX BOOT ID                          FIRST ENTRY                 LAST ENTRY\n"
AUTO = "=file /etc/systemd/journald.conf\n"
DISK, MEMORY = "/var/log/journal\n", "/run/log/journal\n"


def answer(files: str, made: int, places: str, boots: str = BOOT) -> str:
    """Return what a host says that keeps its journal in these places."""
    return f"{files}=made\n{made}\n=places\n{places}=boots\n{HEAD}{boots}"


def storage(word: str, directory: str = "/usr/lib/systemd/journald.conf.d/50-tree.conf") -> str:
    """Return a drop-in, after the main file."""
    return f"{AUTO}=file {directory}\nStorage={word}\n"


IN_MEMORY = answer(AUTO, 0, MEMORY)

CASES: dict[str, Case] = {
    "the-journal-is-kept-where-the-tree-says": OnHost(
        run=lambda host, _: journal.test_the_journal_is_kept_where_the_tree_says(host),
        broken=[
            ({LOOK: answer(storage("persistent"), 0, MEMORY)}, "kept on disk .Storage=persistent.*/run/log"),
            ({LOOK: answer(AUTO, 0, DISK + MEMORY)}, "kept on disk .Storage=auto., but it is in /run"),
            ({LOOK: answer(AUTO, 1, DISK)}, "kept on disk .Storage=auto., but it is in no place"),
            ({LOOK: answer(storage("volatile"), 1, DISK * 2)}, "kept in memory only .Storage=volatile"),
            ({LOOK: answer(storage("none"), 0, MEMORY)}, "kept nowhere, but it is in /run/log/journal"),
        ],
    ),
    "the-journal-of-earlier-boots-is-there-as-the-tree-says": OnJourney(
        run=journal.test_the_journal_of_earlier_boots_is_there_as_the_tree_says,
        broken=[
            (
                {"answers": {LOOK: answer(storage("persistent"), 0, DISK * 2)}},
                "is to outlast reboots (Storage=persistent), but lists 1 boots",
            ),
            (
                {"answers": {LOOK: answer(AUTO, 0, MEMORY, EARLIER + BOOT)}},
                "is not to outlast reboots (Storage=auto), but lists 2 boots",
            ),
        ],
    ),
}
