"""OpenPGP keys through gpg(1): throw-away signing keys for demonstrations, exported public keys."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command


@contextlib.contextmanager
def keyring(homedir: Path) -> Iterator[Path]:
    """Use a GnuPG home directory (made if needed, mode 0700); its agent is ended afterwards."""
    homedir.mkdir(parents=True, exist_ok=True, mode=0o700)
    homedir.chmod(0o700)
    try:
        yield homedir
    finally:
        command.status(["gpgconf", "--homedir", homedir, "--kill", "gpg-agent"])


def ensure_key(homedir: Path, user_id: str) -> str:
    """Return the fingerprint of the secret key for `user_id`, generated without a passphrase if there is none."""
    found = fingerprint(homedir, user_id)
    if found is None:
        batch: list[str | Path] = ["gpg", "--homedir", homedir, "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
        command.run([*batch, "--quick-generate-key", user_id, "rsa3072", "sign", "never"])
        found = fingerprint(homedir, user_id)
    if found is None:
        raise BuildError(f"gpg made no key for {user_id} in {homedir}")
    return found


def fingerprint(homedir: Path, user_id: str) -> str | None:
    """Return the fingerprint (40 hexadecimal digits) of the secret key for `user_id`, or None."""
    _, listing = command.status(["gpg", "--homedir", homedir, "--batch", "--with-colons", "--list-secret-keys", f"={user_id}"])
    # doc/DETAILS of GnuPG: a record `fpr` carries the fingerprint in field 10
    prints = [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")]
    return prints[0] if prints else None


def export_key(homedir: Path, fingerprint: str, file: Path, *, armor: bool = True) -> None:
    """Write the public key to a file."""
    text = command.run(
        [
            "gpg",
            "--homedir",
            homedir,
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
    """Write a public key as libostree's trusted.gpg.d wants it: binary, whatever the file is (gpg(1), --dearmor). Raises BuildError."""
    data = file.read_bytes()
    if data.lstrip().startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        command.run(["gpg", "--batch", "--yes", "--output", target, "--dearmor", file])
    else:
        target.write_bytes(data)
