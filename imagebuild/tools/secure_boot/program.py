"""A UEFI program: sections, signatures and the digest that is signed. The door to pefile and virt-firmware.

Sources: Microsoft's PE format ("The Attribute Certificate Table") and "Windows Authenticode Portable
Executable Signature Format" 1.0; shim's .vendor_cert (cert.S: sizes and offsets of db and dbx).
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import pefile
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from virt.firmware.efi import guids, siglist
from virt.peutils import pedecode, pesign

from imagebuild.errors import BuildError

VENDOR_CERTIFICATES = ".vendor_cert"
LARGEST = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Certificates (DER) that are trusted, and what is revoked: SHA-256 digests of programs, certificates."""

    trusted: tuple[bytes, ...] = ()
    revoked: frozenset[bytes] = frozenset()
    revoked_certificates: frozenset[bytes] = frozenset()

    def __or__(self, other: "Keys") -> "Keys":
        """Return what both know."""
        return Keys(
            trusted=(*self.trusted, *other.trusted),
            revoked=self.revoked | other.revoked,
            revoked_certificates=self.revoked_certificates | other.revoked_certificates,
        )


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program: section name -> content, signatures (PKCS #7, DER), and its Authenticode SHA-256."""

    sections: Mapping[str, bytes]
    signatures: tuple[bytes, ...]
    digest: bytes

    @property
    def is_shim(self) -> bool:
        """Whether it holds certificates of its own, as shim does."""
        return VENDOR_CERTIFICATES in self.sections

    def vendor_keys(self) -> Keys:
        """Return what shim trusts and refuses besides the firmware's keys. Raises BuildError."""
        try:
            trusted, revoked = pedecode.pe_vendor_cert(_Section(self.sections[VENDOR_CERTIFICATES]))
            keys = keys_of(pedecode.vendor_cert_sigdb(trusted)) if trusted else Keys()
            return keys | (revocations(siglist.EfiSigDB(revoked)) if revoked else Keys())
        except Exception as error:  # whatever a parser makes of bytes that are none of its own
            raise BuildError(f"its {VENDOR_CERTIFICATES} cannot be read: {error}") from error


@dataclass(frozen=True)
class _Section:
    """A section as virt-firmware asks for its content."""

    data: bytes

    def get_data(self) -> bytes:
        """Return the content."""
        return self.data


def read(data: bytes) -> Program:
    """Read a program. Raises BuildError for what is none."""
    if len(data) > LARGEST:
        raise BuildError(f"it has {len(data)} bytes, too many for a UEFI program")
    try:
        pe = pefile.PE(data=data, fast_load=True)
        sections = {
            pedecode.pe_section_name(pe, section).decode("ascii", "replace"): _content(section)
            for section in pe.sections
        }
        signatures = tuple(bytes(signature) for signature in _signatures(pe, len(data)))
        return Program(sections=sections, signatures=signatures, digest=pesign.pe_authenticode_hash(pe))
    except Exception as error:  # whatever a parser makes of bytes that are none of its own
        raise BuildError(f"it is no UEFI program: {error}") from error


def _content(section: pefile.SectionStructure) -> bytes:
    # what is beyond the section's own size fills the file up to the next one
    data: bytes = section.get_data()
    return data[: section.Misc_VirtualSize] if section.Misc_VirtualSize else data


def _signatures(pe: pefile.PE, size: int) -> list[bytes]:
    table = pe.OPTIONAL_HEADER.DATA_DIRECTORY[4]
    if table.VirtualAddress + table.Size > size:
        raise ValueError("its table of signatures lies outside of it")
    position, end = table.VirtualAddress, table.VirtualAddress + table.Size
    while table.Size and position + 8 <= end:
        length = int.from_bytes(pe.__data__[position : position + 4], "little")
        if length < 8:
            raise ValueError("its table of signatures has an entry without a size")
        position += -(-length // 8) * 8
    return list(pesign.pe_type2_signatures(pe))


def keys_of(database: siglist.EfiSigDB) -> Keys:
    """Return the certificates of a signature database (UEFI 2.10, 32.4.1)."""
    certificates = [entry.x509 for entry in database if entry.x509 is not None]
    return Keys(trusted=tuple(one.public_bytes(Encoding.DER) for one in certificates))


def revocations(database: siglist.EfiSigDB) -> Keys:
    """Return what a signature database of revocations has: digests of programs, and certificates."""
    digests = {
        bytes(item["data"]) for entry in database if str(entry.guid) == guids.EfiCertSha256 for item in entry
    }
    return Keys(revoked=frozenset(digests), revoked_certificates=frozenset(keys_of(database).trusted))


def issuers(signature: bytes) -> tuple[str, ...]:
    """Return the common names of who issued the certificate that a signature is made with. Raises
    BuildError.
    """
    try:
        with warnings.catch_warnings():
            # what Microsoft's signatures are: BER rather than DER
            warnings.simplefilter("ignore")
            certificates = pkcs7.load_der_pkcs7_certificates(signature)
    except ValueError as error:
        raise BuildError(f"a signature cannot be read: {error}") from error
    others = {one.issuer for one in certificates if one.issuer != one.subject}
    leaves = [one for one in certificates if one.subject not in others]
    return tuple(name_of(one.issuer) for one in leaves or certificates)


def certificate_name(certificate: bytes) -> str:
    """Return the common name of a certificate (DER)."""
    return name_of(x509.load_der_x509_certificate(certificate).subject)


def name_of(name: x509.Name) -> str:
    """Return the common name in a name; all of it where there is none."""
    common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
