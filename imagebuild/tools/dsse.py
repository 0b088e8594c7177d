"""Signed statements that other people's tools read: DSSE envelopes, and Sigstore bundles of them.

Sources: secure-systems-lab/dsse 1.0.2 (its protocol and envelope), sigstore/protobuf-specs
(sigstore_bundle.proto, v0.3). Checked against cosign 3.1.1 (Debian forky), `verify-blob-attestation --key …
--bundle …`, without any network: it wants exactly one signature, no `keyid`, and at most 1024 subjects; the
hint is what its own bundles have.
"""

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from imagebuild import files
from imagebuild.errors import BuildError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MOST_SUBJECTS = 1024
READABLE_BY_OTHERS = 0o077
# a key file of PEM; a longer one is something else
LARGEST_KEY = 64 << 10


class DsseError(BuildError):
    """An envelope, a bundle or a key that is not what it should be."""


class Attester:
    """A P-256 key that signs statements."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def public_pem(self) -> bytes:
        """Return the public half, as `cosign --key` reads it."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def envelope(self, payload: bytes) -> dict[str, Any]:
        """Return a statement's envelope. The same statement has the same signature (RFC 6979)."""
        how = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        try:
            signature = self._key.sign(pae(payload), how)
        except UnsupportedAlgorithm:  # an OpenSSL before 3.2
            signature = self._key.sign(pae(payload), ec.ECDSA(hashes.SHA256()))
        return {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        }

    def bundle(self, envelope: Mapping[str, Any]) -> dict[str, Any]:
        """Return a bundle of an envelope."""
        return {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {
                "publicKey": {"hint": hint_of(self._key.public_key())},
                "tlogEntries": [],
            },
            "dsseEnvelope": dict(envelope),
        }


def pae(payload: bytes) -> bytes:
    """Return what is signed (DSSE, "pre-authentication encoding")."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def hint_of(key: ec.EllipticCurvePublicKey) -> str:
    """Return what tells a key from others: the SHA-256 of its SubjectPublicKeyInfo."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def attester(file: Path, *, generate: bool = False) -> Attester:
    """Read a private key (PEM, P-256, no passphrase), made first when `generate` says so. Raises DsseError
    naming the file and what is wrong with it.
    """
    if generate and not file.exists():
        _generate(file)
    try:
        if file.stat().st_mode & READABLE_BY_OTHERS:
            raise DsseError(f"others than its owner can read {file}", hint=f"chmod 600 {file}")
        with file.open("rb") as stream:
            data = stream.read(LARGEST_KEY)
        key = serialization.load_pem_private_key(data, password=None)
    except OSError as error:
        raise DsseError(
            f"the key {file} cannot be read: {error.strerror or error}",
            hint="openssl ecparam -genkey -name prime256v1 -noout -out FILE makes one",
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DsseError(
            f"{file} is not a private key in PEM without a passphrase",
            hint="openssl ecparam -genkey -name prime256v1 -noout -out FILE makes one",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DsseError(
            f"{file} is not a P-256 key: not every tool takes others",
            hint="openssl ecparam -genkey -name prime256v1 -noout -out FILE makes one",
        )
    return Attester(key)


def _generate(file: Path) -> None:
    data = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
        # whoever was first has made it
        with contextlib.suppress(FileExistsError):
            os.link(partial, file)
    finally:
        partial.unlink(missing_ok=True)
    files.sync(file.parent)


def public_key(data: bytes) -> ec.EllipticCurvePublicKey:
    """Read a public key (PEM). Raises DsseError for anything but P-256."""
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DsseError("it is not a public key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DsseError("it is not a P-256 key")
    return key


def opened(envelope: object, key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the statement in an envelope whose signature is the key's. Raises DsseError."""
    if not isinstance(envelope, dict) or envelope.get("payloadType") != PAYLOAD_TYPE:
        raise DsseError(f"it is not an envelope of {PAYLOAD_TYPE}")
    signatures = envelope.get("signatures")
    if not (isinstance(signatures, list) and len(signatures) == 1 and isinstance(signatures[0], dict)):
        raise DsseError("it does not have exactly one signature")
    if signatures[0].get("keyid"):
        raise DsseError("its signature has a keyid, which cosign refuses")
    payload = _decoded(envelope.get("payload"))
    try:
        key.verify(_decoded(signatures[0].get("sig")), pae(payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise DsseError("its signature is not this key's, or it was changed since") from error
    return payload


def envelope_of(bundle: object, key: ec.EllipticCurvePublicKey) -> object:
    """Return the envelope in a bundle that is for a key. Raises DsseError."""
    if not isinstance(bundle, dict) or bundle.get("mediaType") != BUNDLE_TYPE:
        raise DsseError(f"it is not a bundle of {BUNDLE_TYPE}")
    material = bundle.get("verificationMaterial")
    named = material.get("publicKey") if isinstance(material, dict) else None
    if not isinstance(named, dict) or named.get("hint") != hint_of(key):
        raise DsseError("it is a bundle for another key")
    return bundle.get("dsseEnvelope")


def _decoded(value: object) -> bytes:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError) as error:
        raise DsseError("it is not base64") from error
