"""Who may get into a host of this release line, who may become root there, and what may listen."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from imagebuild.config.fields import Model, Word

# sshd; the DHCP clients of IPv4 and IPv6 (RFC 2131, 4.1; RFC 8415, 7.2)
LISTENING = ("tcp/22", "udp/68", "udp/546")


class Way(StrEnum):
    """How an account may be logged into."""

    KEY = "key"
    PASSWORD = "password"  # noqa: S105 - a word, not a secret


class AccessConfig(Model):
    """Who gets in, besides cloud-init's default user with the key that the cloud gives (in a Vagrant box:
    vagrant with the well-known key and password, and root with that password).
    """

    accounts: dict[Word, tuple[Way, ...]] = Field(
        default={}, description="account -> how it may be logged into: key, password"
    )
    become_root: tuple[Word, ...] = Field(
        default=(),
        description="other accounts that sudo, or a group that amounts to root, may make root",
    )
    listen: tuple[Annotated[str, Field(pattern=r"^(tcp|udp)/[0-9]{1,5}$")], ...] = Field(
        default=LISTENING,
        description="ports on which something may listen on other addresses than loopback, such as tcp/22",
    )
