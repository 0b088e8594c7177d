"""Certificates in use: what is wrong with one's own is said before a connection is made, and whom the other
side refuses, and why, is asked of it once: dask itself would try again until its time is over, and name no
reason.
"""

import datetime
import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from imagebuild.cluster.keys import AUTHORITY
from imagebuild.errors import BuildError, UsageError

# where the keys lie when nobody says
VARIABLE = "IMAGEBUILD_CLUSTER_KEYS"
PORT = 8786
CONNECT_SECONDS = 8.0
TLS, PLAIN = "tls", "tcp"
ONE_AUTHORITY = "its keys and these must come from one imagebuild cluster-keys, and both clocks be right"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a head is: tls://HOST:PORT, or tcp:// on loopback."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Return the address that a person gave. Raises UsageError for what is none, and for tcp:// to another
    machine.
    """
    try:
        parts = urlsplit(text)
        address = Address(scheme=parts.scheme, host=parts.hostname or "", port=parts.port or PORT)
    except ValueError as error:
        raise UsageError(f"{text} is not the address of a head: {error}", hint="tls://HOST:8786") from error
    if address.scheme not in (TLS, PLAIN) or not address.host or parts.path.strip("/") or parts.username:
        raise UsageError(f"{text} is not the address of a head", hint="tls://HOST:8786")
    if address.scheme == PLAIN and not _is_loopback(address.host):
        raise UsageError(
            f"{text}: tcp:// is for this machine alone, since whoever connects may run any program",
            hint=f"imagebuild cluster-keys makes certificates for tls://{address.host}:{address.port}",
        )
    return address


def check_listen(head: Address, listen: str) -> None:
    """Raise UsageError for a worker of a head of this machine alone that others could reach."""
    if head.scheme == PLAIN and not _is_loopback(listen):
        raise UsageError(
            f"--listen {listen}: with {head} a worker is for this machine alone, since whoever connects may"
            " run any program",
            hint="--listen 127.0.0.1, or tls://",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The certificates of one side: the authority's, and its own with its key."""

    authority: Path
    own: Path


def identity(address: Address, keys: Path | None, role: str) -> Identity | None:
    """Return the certificates that a role (head, worker, client) shows; None for tcp://.

    Raises UsageError when they are missing, expired, not valid yet, or not of that authority.
    """
    if address.scheme == PLAIN:
        return None
    place = keys or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if place is None:
        raise UsageError(
            f"{address} needs certificates",
            hint=f"--keys DIR, or {VARIABLE}=DIR; imagebuild cluster-keys DIR makes some",
        )
    found = Identity(authority=place / AUTHORITY, own=place / f"{role}.pem")
    authority, own = _read(found.authority), _read(found.own)
    _check_time(found.authority, authority)
    _check_time(found.own, own)
    try:
        own.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise UsageError(
            f"{found.own} is not a certificate of the authority {found.authority}",
            hint="all certificates of a cluster come from one imagebuild cluster-keys",
        ) from error
    return found


def _read(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no certificate can be read from {file}: {error}", hint="imagebuild cluster-keys DIR makes them"
        ) from error


def _check_time(file: Path, certificate: x509.Certificate) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if now > certificate.not_valid_after_utc:
        raise UsageError(
            f"the certificate {file} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            hint="imagebuild cluster-keys makes new ones",
        )
    if now < certificate.not_valid_before_utc:
        raise UsageError(
            f"the certificate {file} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on,"
            f" and this machine's clock says {now:%Y-%m-%d %H:%M}",
            hint="set the clock (timedatectl)",
        )


def check_head(address: Address, shown: Identity | None) -> None:
    """Raise BuildError when a head cannot be reached, is not one of this cluster, or refuses our certificate.

    A head of dask greets whoever connects: with TLS 1.3 a refused certificate is told of instead of that.
    """
    try:
        with socket.create_connection((address.host, address.port), timeout=CONNECT_SECONDS) as plain:
            if shown is None:
                greeted = plain.recv(1)
            else:
                with _context(shown).wrap_socket(plain) as encrypted:
                    greeted = encrypted.recv(1)
    except ssl.SSLCertVerificationError as error:
        raise BuildError(
            f"the certificate of the head at {address} is refused: {error.verify_message}",
            hint=ONE_AUTHORITY,
        ) from error
    except ssl.SSLError as error:
        raise BuildError(
            f"the head at {address} refused the certificate {shown.own if shown else ''}: {error.reason}",
            hint=ONE_AUTHORITY,
        ) from error
    except TimeoutError as error:
        raise _unreachable(address, f"no answer within {CONNECT_SECONDS:.0f} s") from error
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error
    if not greeted:
        raise _unreachable(address, "it closed the connection")


def _unreachable(address: Address, why: str) -> BuildError:
    return BuildError(
        f"no head can be reached at {address}: {why}", hint="imagebuild head starts one; is it that port?"
    )


def _context(shown: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(shown.authority))
    context.load_cert_chain(shown.own)
    # as dask does: an authority of the cluster's own, and machines that may be known by their numbers only
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
