"""The journal is kept, or not, as the tree says (journald.conf(5), Storage=, and /var/log/journal)."""

from imagebuild.smoke.criterion import Asks, Group, criterion
from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.host.journals import IN_MEMORY, ON_DISK, JournalFacts
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.journey import Journey


@criterion(
    group=Group.SYSTEM,
    about="The journal is written to disk, to memory or nowhere, as the tree says.",
    boots=True,
)
def test_the_journal_is_kept_where_the_tree_says(host: Host) -> None:
    facts = host.journal_facts()
    if facts.storage == "none":
        assert not facts.writes, f"the journal is to be kept nowhere, but it is in {_where(facts)}"
    elif facts.kept:
        # at a first boot /var/log/journal is made after journald looked for it (systemd-journal-flush.service
        # is Before=systemd-tmpfiles-setup.service)
        late = facts.storage == "auto" and facts.made and facts.writes == {IN_MEMORY}
        assert facts.writes == {ON_DISK} or late, (
            f"the journal is to be kept on disk (Storage={facts.storage}), but it is in {_where(facts)}"
        )
    else:
        assert facts.writes == {IN_MEMORY}, (
            f"the journal is to be kept in memory only (Storage={facts.storage}), but it is in"
            f" {_where(facts)}"
        )


@criterion(
    group=Group.SYSTEM,
    about="After reboots the journal lists earlier boots, or does not, as the tree says.",
    asks=Asks.JOURNEY,
)
def test_the_journal_of_earlier_boots_is_there_as_the_tree_says(journey: Journey) -> None:
    # two reboots: a first boot may have found no directory on disk yet
    journey.rolled_back()
    if journey.over:
        raise NotTestedError("the host went on to another journey before its journal was looked at")
    facts = journey.host.journal_facts()
    if facts.kept:
        assert facts.boots > 1, (
            f"the journal is to outlast reboots (Storage={facts.storage}), but lists {facts.boots} boots"
        )
    else:
        assert facts.boots <= 1, (
            f"the journal is not to outlast reboots (Storage={facts.storage}), but lists {facts.boots} boots"
        )


def _where(facts: JournalFacts) -> str:
    return " and ".join(sorted(facts.writes)) or "no place"
