"""What a release line declares of access to its hosts, as criteria compare it."""

from dataclasses import dataclass

from imagebuild.config.access import LISTENING, AccessConfig, Way
from imagebuild.kinds import Login
from imagebuild.tools import vagrant_key

BOTH = (Way.KEY, Way.PASSWORD)


@dataclass(frozen=True, kw_only=True)
class Access:
    """`accounts` and `become_root` are those besides the default user; `listen` is the whole list."""

    accounts: tuple[tuple[str, tuple[Way, ...]], ...] = ()
    become_root: tuple[str, ...] = ()
    listen: tuple[str, ...] = LISTENING

    def log_in(self, login: Login, user: str) -> dict[str, tuple[Way, ...]]:
        """Return the accounts that may be logged into, and how; `user` is cloud-init's default user. A box
        has Vagrant's user and root's password (Vagrant, "Creating a Base Box").
        """
        own = {vagrant_key.USER: BOTH, "root": (Way.PASSWORD,)}
        return (own if login is Login.VAGRANT else {user: (Way.KEY,)}) | dict(self.accounts)

    def roots(self, login: Login, user: str) -> frozenset[str]:
        """Return the accounts that may become root."""
        own = vagrant_key.USER if login is Login.VAGRANT else user
        return frozenset({"root", own, *self.become_root})


NOTHING_MORE = Access()


def access_of(config: AccessConfig) -> Access:
    """Return what a configuration declares."""
    return Access(
        accounts=tuple(config.accounts.items()), become_root=config.become_root, listen=config.listen
    )
