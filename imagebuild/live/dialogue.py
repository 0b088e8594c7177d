"""What the kickstart does not say is asked: disk, host name, how to log in. What will be erased is shown
before it is.
"""

import re
import secrets
from collections.abc import Sequence
from typing import Protocol

from imagebuild.errors import BuildError
from imagebuild.kickstart import password
from imagebuild.kickstart.statements import Statements
from imagebuild.live.disks import Candidate

HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62}))*")
USERNAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
SSH_KEY = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( [^\"\\]*)?")


class Person(Protocol):
    """Somebody to ask."""

    def say(self, text: str) -> None:
        """Show a sentence."""

    def ask(self, prompt: str, *, secret: bool = False) -> str:
        """Return an answer."""


def missing(said: Statements) -> list[str]:
    """Return what a kickstart does not say: how to log in.

    Raises BuildError when nobody may be asked for it.
    """
    if said.tells_log_in:
        return []
    if said.non_interactive:
        raise BuildError(
            "the kickstart says --non-interactive, but not how to log in",
            hint="add rootpw, user or sshkey to it",
        )
    return ["how to log in (rootpw, user or sshkey)"]


def choose_disk(person: Person, found: Sequence[Candidate]) -> Candidate:
    """Return the disk that the person chooses."""
    person.say(
        "Disks:\n" + "\n".join(f"  {number}) {each.shown}" for number, each in enumerate(found, start=1))
    )
    if len(found) == 1:
        return found[0]
    while True:
        answer = person.ask(f"Install on which disk (1 … {len(found)})?")
        chosen = [each for number, each in enumerate(found, start=1) if answer in (str(number), each.name)]
        if chosen:
            return chosen[0]
        person.say(f"{answer!r} is none of them")


def confirm(person: Person, disk: Candidate, parts: Sequence[str]) -> None:
    """Show what is lost and what is made, and ask. Raises BuildError when the answer is anything but
    `yes`.
    """
    lost = "\n".join(f"  {line}" for line in disk.content) or "  (nothing that is known)"
    person.say(
        f"Everything on {disk.shown} will be erased:\n{lost}\nIt will have:\n"
        + "\n".join(f"  {part}" for part in parts)
    )
    if person.ask(f"Erase {disk.name} and install (yes/no)?").lower() != "yes":
        raise BuildError(
            "nothing was installed: the answer was not `yes`", hint="start again to choose differently"
        )


def accounts(person: Person, said: Statements, admin_group: str) -> str:
    """Ask for host name and log-ins; return kickstart lines."""
    lines = [] if said.names_host else _host_name(person)
    while True:
        secret = _password(person, "Password of root (empty: none)?")
        key = _key(person) if said.takes_ssh_keys else ""
        user = _user(person, admin_group)
        if secret or key or user:
            break
        person.say("Nobody could log in: give a password, a key or a user")
    lines.append(f"rootpw --iscrypted {secret}" if secret else "rootpw --lock --iscrypted locked")
    lines += [f'sshkey --username=root "{key}"'] if key else []
    return "\n".join([*lines, *user]) + "\n"


def _host_name(person: Person) -> list[str]:
    while True:
        answer = person.ask("Host name (empty: from the network)?")
        if not answer:
            return []
        if HOSTNAME.fullmatch(answer):
            return [f"network --hostname={answer}"]
        person.say(f"{answer!r} is not a host name")


def _password(person: Person, prompt: str) -> str:
    """Return a crypt(5) hash; empty for none."""
    while True:
        first = person.ask(prompt, secret=True)
        if not first or first == person.ask("Once more?", secret=True):
            return password.hashed(first, secrets.token_hex(16)) if first else ""
        person.say("These were two different ones")


def passphrase(person: Person) -> str:
    """Return the passphrase of encrypted storage, which may not be empty."""
    while True:
        first = person.ask("Passphrase of the encrypted disk?", secret=True)
        if first and first == person.ask("Once more?", secret=True):
            return first
        person.say("These were two different ones" if first else "Without one the disk cannot be encrypted")


def _key(person: Person) -> str:
    while True:
        answer = person.ask("SSH public key for root (one line, empty: none)?")
        if not answer or SSH_KEY.fullmatch(answer):
            return answer
        person.say("That is not a line of an authorized_keys file")


def _user(person: Person, admin_group: str) -> list[str]:
    while True:
        name = person.ask("User to be made, an administrator (empty: none)?")
        if not name:
            return []
        if not USERNAME.fullmatch(name):
            person.say(f"{name!r} is not a user name")
            continue
        secret = _password(person, f"Password of {name}?")
        if secret:
            return [f"user --name={name} --groups={admin_group} --iscrypted --password={secret}"]
        person.say("A user without a password could not log in")
