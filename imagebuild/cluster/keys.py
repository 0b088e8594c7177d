"""A cluster's certificates: an authority of its own, and one certificate each for head, workers and clients.

X.509 (RFC 5280) with P-256 keys, as `cryptography` makes them. Whoever has a certificate of this authority is
trusted with everything: it may run any program on every worker. So dask asks for no more than that, and names
in certificates are for people.
"""

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from imagebuild.errors import UsageError

AUTHORITY, AUTHORITY_KEY = "ca.pem", "ca.key"
ROLES = ("head", "worker", "client")
DAYS = 365
# the clocks of a cluster's machines may differ by this much on the day of its first use
SKEW = datetime.timedelta(hours=1)


def make_keys(place: Path, *, days: int = DAYS, names: Sequence[str] = ROLES) -> list[Path]:
    """Write ca.pem, ca.key, and NAME.pem (key and certificate in one file) for each name into a directory;
    return what was written. An authority that is there signs the new ones.

    Raises UsageError rather than write over a certificate.
    """
    there = [place / f"{name}.pem" for name in names if (place / f"{name}.pem").exists()]
    if there:
        raise UsageError(
            f"{there[0]} is there already", hint="remove it, or make the new keys in another directory"
        )
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o700)
    made = []
    if not (place / AUTHORITY).exists():
        _write_authority(place, days)
        made += [place / AUTHORITY, place / AUTHORITY_KEY]
    authority = x509.load_pem_x509_certificate((place / AUTHORITY).read_bytes())
    signer = _load_key(place / AUTHORITY_KEY)
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, authority.subject, signer, days, authority=False)
        file = place / f"{name}.pem"
        _write_secret(file, _private(key) + certificate.public_bytes(serialization.Encoding.PEM))
        made.append(file)
    return made


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"the authority's key {file} cannot be read: {error}",
            hint="certificates are made where that key is: it should be on one machine only",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{file} is not a key that imagebuild cluster-keys made")
    return key


def _write_authority(place: Path, days: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("imagebuild cluster")
    certificate = _certificate("imagebuild cluster", key, name, key, days, authority=True)
    _write_secret(place / AUTHORITY_KEY, _private(key))
    (place / AUTHORITY).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    days: int,
    *,
    authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(
            x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name.replace(" ", "-"))]), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_secret(file: Path, data: bytes) -> None:
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:  # noqa: PTH123  # with its mode from the start
        stream.write(data)
