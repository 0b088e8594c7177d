"""OpenPGP through gpg(1): keys, clear-signed texts, and what is really signed in a file from outside."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command, temporary

AGENT_SOCKET = "S.gpg-agent"
AGENT_SECONDS = 5.0
# sun_path of a UNIX socket has 108 bytes (unix(7)); gpg-agent's longest name there is S.gpg-agent.browser
LONGEST_HOME = 108 - len("/S.gpg-agent.browser") - 1


@contextlib.contextmanager
def keyring(homedir: Path, *, end_agent: bool = True) -> Iterator[Path]:
    """Use a GnuPG home directory (made if needed, mode 0700); its agent is ended afterwards (not where it is
    somebody's, who gave it passphrases).

    What is yielded is another, short name of it when its own is too long for the agent's sockets.
    """
    homedir.mkdir(parents=True, exist_ok=True, mode=0o700)
    homedir.chmod(0o700)
    with contextlib.ExitStack() as stack:
        used = homedir.absolute()
        if len(os.fsencode(used)) > LONGEST_HOME:
            short = stack.enter_context(temporary.directory("gpg", sockets=True)) / "home"
            short.symlink_to(used)
            used = short
        try:
            yield used
        finally:
            # one that was reached through the short name could not be found again
            if end_agent or used != homedir.absolute():
                command.status(["gpgconf", "--homedir", used, "--kill", "gpg-agent"])
                # it ends in its own time: whoever asked it meanwhile would be told that there are no secret
                # keys
                deadline = time.monotonic() + AGENT_SECONDS
                while (used / AGENT_SOCKET).exists() and time.monotonic() < deadline:
                    time.sleep(0.01)


def ensure_key(homedir: Path, user_id: str) -> str:
    """Return the fingerprint of the secret key for `user_id`, generated without a passphrase if there is
    none.
    """
    found = fingerprint(homedir, user_id)
    if found is None:
        batch: list[str | Path] = [
            "gpg",
            "--homedir",
            homedir,
            "--batch",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
        ]
        command.run([*batch, "--quick-generate-key", user_id, "rsa3072", "sign", "never"])
        found = fingerprint(homedir, user_id)
    if found is None:
        raise BuildError(f"gpg made no key for {user_id} in {homedir}")
    return found


def fingerprint(homedir: Path, user_id: str) -> str | None:
    """Return the fingerprint (40 hexadecimal digits) of the secret key for `user_id`, or None."""
    prints = _secret_keys(homedir, f"={user_id}")
    return prints[0] if prints else None


def _secret_keys(homedir: Path | None, user: str) -> list[str]:
    """Return the fingerprints of the secret keys that match a user id or fingerprint."""
    _, listing = command.status(
        ["gpg", *_where(homedir), "--batch", "--with-colons", "--list-secret-keys", user]
    )
    return _fingerprints(listing, "sec")


def _fingerprints(listing: str, record: str) -> list[str]:
    """Return the keys' fingerprints of what gpg lists (doc/DETAILS of GnuPG).

    A key begins with a record `sec`, or `pub`; the first record `fpr` after it carries its fingerprint in
    field 10.
    """
    found, awaited = [], False
    for fields in (line.split(":") for line in listing.splitlines()):
        if fields[0] == record:
            awaited = True
        elif fields[0] == "fpr" and awaited:
            found.append(fields[9])
            awaited = False
    return found


def fingerprints(file: Path) -> list[str]:
    """Return the fingerprints of the public keys in a file, armoured or not; none when it holds none (gpg(1),
    --show-keys).
    """
    with temporary.directory("gpg", sockets=True) as place, keyring(place) as home:
        _, listing = command.status(
            ["gpg", "--homedir", home, "--batch", "--with-colons", "--show-keys", file]
        )
    return _fingerprints(listing, "pub")


def _where(homedir: Path | None) -> list[str | Path]:
    return ["--homedir", homedir] if homedir is not None else []


def export_key(homedir: Path | None, fingerprint: str, file: Path, *, armor: bool = True) -> None:
    """Write the public key to a file."""
    text = command.run(
        [
            "gpg",
            *_where(homedir),
            "--batch",
            *(["--armor"] if armor else []),
            "--export-options",
            "export-minimal",
            "--export",
            fingerprint,
        ]
    )
    file.write_text(text)


def dearmored(file: Path, target: Path) -> None:
    """Write a public key as libostree's trusted.gpg.d wants it: binary, whatever the file is (gpg(1),
    --dearmor). Raises BuildError.
    """
    data = file.read_bytes()
    if data.lstrip().startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        command.run(["gpg", "--batch", "--yes", "--output", target, "--dearmor", file])
    else:
        target.write_bytes(data)


# --- signatures ---------------------------------------------------------------------------------------------

BEGIN, SIGNATURE, END = (
    b"-----BEGIN PGP SIGNED MESSAGE-----",
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----END PGP SIGNATURE-----",
)
# doc/DETAILS of GnuPG, status lines of --status-fd; what each says of a signature that is not to be trusted
BAD = {
    "BADSIG": "the signature is bad: the text was changed",
    "ERRSIG": "the signature cannot be checked: it is by another key",
    "NO_PUBKEY": "the signature is by another key",
    "EXPKEYSIG": "the key has expired",
    "EXPSIG": "the signature has expired",
    "REVKEYSIG": "the key was revoked",
    "NODATA": "there is no signature",
    "FAILURE": "the signature cannot be checked",
}


class SignatureError(BuildError):
    """A file is not signed as it should be."""


@contextlib.contextmanager
def signer(user: str, *, homedir: Path | None, key_file: Path | None, generate: bool) -> Iterator["Signer"]:
    """Yield a signer with the key of `user`: of the user's own keyring and agent, of a GnuPG home directory,
    or of a file.

    Raises BuildError when there is no such secret key.
    """
    if key_file is not None:
        with temporary.directory("gpg", secret=True, sockets=True) as place, keyring(place) as home:
            command.run(["gpg", "--homedir", home, "--batch", "--import", key_file])
            yield _signer(user, home, key_file)
    elif homedir is not None:
        with keyring(homedir, end_agent=generate) as home:
            if generate:
                ensure_key(home, user)
            yield _signer(user, home, homedir)
    else:
        yield _signer(user, None, "your keyring")


def _signer(user: str, homedir: Path | None, where: Path | str) -> "Signer":
    prints = _secret_keys(homedir, user)
    if not prints:
        raise BuildError(
            f"there is no secret key of {user} in {where}",
            hint="check publish.signing; `gpg --list-secret-keys` shows what there is",
        )
    if len(prints) > 1:
        raise BuildError(
            f"{len(prints)} secret keys in {where} are of {user}: {', '.join(prints)}",
            hint="give the fingerprint of one as publish.signing.user",
        )
    return Signer(prints[0], homedir)


class Signer:
    """A secret key that signs texts and files; `fingerprint` has 40 hexadecimal digits."""

    def __init__(self, fingerprint: str, homedir: Path | None) -> None:
        self.fingerprint = fingerprint
        self.homedir = homedir
        self._plain: list[str | Path] = ["gpg", *_where(homedir), "--batch", "--yes"]
        self._begin: list[str | Path] = [*self._plain, "--local-user", fingerprint]

    def clearsign(self, text: str) -> str:
        """Return a text within its signature (RFC 9580, 7)."""
        with temporary.directory("sign") as place:
            source, target = place / "text", place / "signed"
            source.write_text(text)
            command.run([*self._begin, "--output", target, "--clearsign", source])
            return target.read_text()

    def detach(self, file: Path, target: Path) -> None:
        """Write the signature of a file into another one, binary."""
        command.run([*self._begin, "--output", target, "--detach-sign", file])

    def public_key(self) -> str:
        """Return the public key, armoured."""
        return command.run(
            [*self._plain, "--armor", "--export-options", "export-minimal", "--export", self.fingerprint]
        )


def signed_payload(data: bytes, keys: Sequence[Path], *, what: str, then: bool = False) -> bytes:
    """Return what is really signed in a clear-signed file; `then`: the key may have expired since. Raises
    SignatureError.

    gpg ends with 0 for a file that has unsigned lines before or after the signed block (measured with gpg
    2.2): the file must be the block and nothing else, and what counts is what gpg extracts from it.
    """
    if (
        not data.startswith(BEGIN + b"\n")
        or not data.rstrip().endswith(END)
        or any(data.count(each) != 1 for each in (BEGIN, SIGNATURE, END))
    ):
        raise SignatureError(
            f"{what}: is not one signed block and nothing else",
            hint="unsigned lines around a signed block are worth nothing: fetch it again",
        )
    with _public(keys) as homedir:
        source, target = homedir / "signed", homedir / "payload"
        source.write_bytes(data)
        argv: list[str | Path] = [
            "gpg",
            "--homedir",
            homedir,
            "--batch",
            "--status-fd",
            "1",
            "--output",
            target,
            "--decrypt",
            source,
        ]
        _check(command.status(argv), keys, what, then=then)
        return target.read_bytes()


def check_detached(file: Path, signature: Path, keys: Sequence[Path], *, what: str) -> None:
    """Raise SignatureError when a detached signature is not by one of the keys over exactly this file."""
    with _public(keys) as homedir:
        _check(
            command.status(
                ["gpg", "--homedir", homedir, "--batch", "--status-fd", "1", "--verify", signature, file]
            ),
            keys,
            what,
        )


@contextlib.contextmanager
def _public(keys: Sequence[Path]) -> Iterator[Path]:
    with temporary.directory("verify", sockets=True) as place, keyring(place) as homedir:
        for key in keys:
            if not key.is_file():
                raise BuildError(f"there is no public key {key}")
            code, said = command.status(["gpg", "--homedir", homedir, "--batch", "--import", key])
            if code != 0:
                raise BuildError(
                    f"{key} holds no public key: {said.strip().splitlines()[-1] if said.strip() else ''}"
                )
        yield homedir


def _check(finished: tuple[int, str], keys: Sequence[Path], what: str, *, then: bool = False) -> None:
    code, said = finished
    lines = [
        words[1:]
        for words in (line.split() for line in said.splitlines())
        if words[:1] == ["[GNUPG:]"] and len(words) > 1
    ]
    states = [words[0] for words in lines]
    good = "GOODSIG"
    if then and _signed_before_it_expired(lines):
        good = "EXPKEYSIG"
    found = next((state for state in BAD if state in states and state != good), None)
    if found is not None or code != 0 or states.count("VALIDSIG") != 1 or good not in states:
        said_so = BAD.get(found or "", "it is not signed")
        raise SignatureError(
            f"{what}: {said_so} (key: {', '.join(str(key) for key in keys)})",
            hint="do not use what it lists; ask who publishes it for the right key",
        )


def _signed_before_it_expired(lines: Sequence[Sequence[str]]) -> bool:
    """Return whether gpg says that a key expired after it had signed (doc/DETAILS: KEYEXPIRED time; VALIDSIG,
    field 3: time of the signature).
    """
    expired = [
        int(words[1]) for words in lines if words[0] == "KEYEXPIRED" and len(words) > 1 and words[1].isdigit()
    ]
    signed = [
        int(words[3]) for words in lines if words[0] == "VALIDSIG" and len(words) > 3 and words[3].isdigit()
    ]
    return bool(expired) and len(signed) == 1 and signed[0] < min(expired)
