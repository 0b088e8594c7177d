"""Encrypted storage (LUKS 2) as kickstarts ask for it, and who may have it.

An image that many people start would give all of them one master key, which each of them can read: only an
installation makes encrypted storage. How it is opened: by a passphrase, or by the machine's TPM 2, which the
installed host enrols at its first boot; that is asked for where systemd looks for it, on the kernel's command
line (`bootloader --append="rd.luks.options=tpm2-device=auto"`, systemd-cryptsetup-generator(8)).

A passphrase is shown nowhere: not in messages, logs, argument lists, plans that are kept.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from imagebuild.kickstart import handlers
from imagebuild.kickstart.problems import Problems

ONE_KEY = "one master key for everyone who has the image: --encrypted is executed by the installer ISO only"
HINT = "encrypt at the installation: leave --encrypted to a kickstart that the installer is given"
UNATTENDED = "--encrypted has no --passphrase, and nobody is asked for one in an unattended installation"
ON_MEDIUM = "--passphrase: everyone who has this medium would know it"
GIVE_ONE = (
    "give --passphrase in a kickstart that only this machine gets, or have the machine's TPM 2 open it:"
    ' bootloader --append="rd.luks.options=tpm2-device=auto"'
)
# cryptsetup(8) of 2.6: what a passphrase may have that is read from a file (here: from a pipe)
LONGEST = 512
TPM = re.compile(r"rd\.luks\.options=([^\s=]+=)?\S*\btpm2-device=")
# and every abbreviation that argparse takes for one of them
SECRET_OPTIONS = re.compile(r"--(pas?s?|passp[a-z]*|hw[a-z-]*)(=|$)")
# as shlex(3) reads a word; one whose quote is not closed goes to the end of its line
PASSPHRASE = re.compile(
    r"""(--(?:pas?s?|passp[a-z]*|hw[a-z-]*)(?:=|[ \t]+))"""
    r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|["'].*|(?:[^\s"'\\]|\\.)+)+"""
)
NOT_ENCRYPTED = ("/boot", "/boot/efi", "biosboot")


@dataclass(frozen=True, kw_only=True)
class Encryption:
    """How a partition is encrypted: options of cryptsetup-luksFormat(8). `passphrase` empty: the TPM opens
    it; before the first boot, the empty passphrase does.
    """

    passphrase: str = field(default="", repr=False)
    cipher: str = ""
    pbkdf: str = ""
    pbkdf_memory: int = 0
    pbkdf_time: int = 0
    pbkdf_iterations: int = 0


def given(handler: Any) -> list[Any]:
    """Return what is to be encrypted: pykickstart's objects of `part`, `logvol`, `autopart`."""
    automatic = [handler.autopart] if handler.autopart.seen else []
    return [
        each
        for each in (*handlers.data(handler, "part"), *handlers.data(handler, "logvol"), *automatic)
        if getattr(each, "encrypted", False)
    ]


def of(each: Any) -> Encryption | None:
    """Return how something is encrypted; None when it is not."""
    if not getattr(each, "encrypted", False):
        return None
    return Encryption(
        passphrase=each.passphrase or "",
        cipher=each.cipher or "",
        **{
            name: value
            for name in ("pbkdf", "pbkdf_memory", "pbkdf_time", "pbkdf_iterations")
            if (value := getattr(each, name, None))
        },
    )


def by_tpm(handler: Any) -> bool:
    """Whether the kernel's command line says that a TPM opens what is encrypted."""
    return bool(TPM.search(handler.bootloader.appendLine or ""))


def lacking(handler: Any) -> list[int]:
    """Return the lines of what is encrypted, but nobody could open without being asked now."""
    return [] if by_tpm(handler) else [each.lineno for each in given(handler) if not each.passphrase]


def refuse(handler: Any, problems: Problems, *, allowed: bool) -> None:
    """Refuse encryption where it is not `allowed`, of what cannot have it, and of a kind that is not made."""
    for each in given(handler):
        what = getattr(each, "mountpoint", "") or "autopart"
        if not allowed:
            problems.add(each.lineno, f"{what} --encrypted: {ONE_KEY}", HINT)
        elif what in NOT_ENCRYPTED or getattr(each, "fstype", "") in ("efi", "biosboot"):
            problems.add(each.lineno, f"{what} --encrypted: the boot loader reads it before anybody is asked")
        elif hasattr(each, "vgname"):
            problems.add(
                each.lineno,
                f"logvol {each.name} --encrypted is not executed by imagebuild",
                "encrypt the physical volume: `part pv.01 --encrypted`",
            )
        if getattr(each, "luks_version", "") not in ("", None, "luks2"):
            problems.add(each.lineno, f"{what} --luks-version={each.luks_version}: only luks2 is made")
        _refuse_passphrase(each, what, problems)


def _refuse_passphrase(each: Any, what: str, problems: Problems) -> None:
    secret = each.passphrase or ""
    if len(secret.encode()) > LONGEST or not secret.isprintable():
        problems.add(
            each.lineno,
            f"{what} --passphrase: a person could not type it at the boot (control characters, or longer"
            f" than {LONGEST} bytes)",
        )


def secrets_of(words: list[str]) -> Iterator[str]:
    """Yield the passphrases in a command's words."""
    for index, word in enumerate(words):
        if not SECRET_OPTIONS.match(word):
            continue
        _, equals, value = word.partition("=")
        secret = value if equals else (words[index + 1] if index + 1 < len(words) else "")
        if secret:
            yield secret


def without_passphrases(text: str) -> str:
    """Return a kickstart without its passphrases, for what is kept of it."""
    return PASSPHRASE.sub(r"\1(taken-out)", text)


def refuse_on_medium(handler: Any, problems: Problems, *, unattended: bool) -> None:
    """Refuse what a kickstart that lies on a medium for everyone cannot say: a passphrase, which everyone
    would know, and, where it is `unattended`, storage that nobody could open.
    """
    for each in given(handler):
        if each.passphrase:
            problems.add(each.lineno, ON_MEDIUM, GIVE_ONE)
    for line in lacking(handler) if unattended else ():
        problems.add(line, UNATTENDED, GIVE_ONE)
