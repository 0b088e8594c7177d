"""Whether a program's signature leads to a certificate: proved by openssl.

sbverify (sbsigntool 0.9.4) is not asked: of the shim that Microsoft signed it says "Signature verification
OK" for any certificate, since that signature brings its authority's certificate along; and osslsigncode 2.9
does not read a program with two signatures. An Authenticode signature is PKCS #7 over
SpcIndirectDataContent ("Windows Authenticode Portable Executable Signature Format" 1.0), which holds the
program's digest; firmware trusts a certificate of db whether it is a root or not, and asks no clock (UEFI
2.10, 32.5.1).
"""

import ssl
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command, temporary
from imagebuild.tools.secure_boot.program import Program

# SPC_INDIRECT_DATA_OBJID, 1.3.6.1.4.1.311.2.1.4, with its tag and length
INDIRECT_DATA = bytes.fromhex("060a2b060104018237020104")
VERIFY = ("openssl", "smime", "-verify", "-inform", "DER", "-binary", "-out", "/dev/null")
TRUST = ("-partial_chain", "-purpose", "any", "-no_check_time")


def leads_to(program: Program, certificate: bytes) -> bool:
    """Whether one of a program's signatures is over this program, and its chain leads to a certificate
    (DER).
    """
    return any(
        _holds(signature, content, certificate)
        for signature in program.signatures
        if (content := _signed_content(signature)) and program.digest in content
    )


def is_intact(program: Program) -> bool:
    """Whether a signature is over this program as it is: otherwise it was changed after it was signed."""
    return any(program.digest in _signed_content(signature) for signature in program.signatures)


def _holds(signature: bytes, content: bytes, certificate: bytes) -> bool:
    with temporary.directory("signature") as place:
        Path(place / "content").write_bytes(content)
        Path(place / "signature").write_bytes(signature)
        Path(place / "trusted.pem").write_text(ssl.DER_cert_to_PEM_cert(certificate))
        files = ("-in", "signature", "-content", "content", "-CAfile", "trusted.pem")
        status, _ = command.status([*VERIFY, *TRUST, *files], cwd=place)
    return status == 0


def _signed_content(signature: bytes) -> bytes:
    """Return the content that a signature is over, without its outer tag and length (PKCS #7, 9.3); empty
    when there is none.
    """
    start = signature.find(INDIRECT_DATA)
    try:
        if start < 0:
            return b""
        first, _ = _element(signature, start + len(INDIRECT_DATA))
        return signature[slice(*_element(signature, first))]
    except (IndexError, BuildError):
        return b""


def _element(data: bytes, position: int) -> tuple[int, int]:
    """Return where the content of a DER element begins and ends (X.690, 8.1)."""
    length, start = data[position + 1], position + 2
    if length & 0x80:
        octets = length & 0x7F
        length, start = int.from_bytes(data[start : start + octets], "big"), start + octets
    if start + length > len(data):
        raise BuildError("an element is longer than what holds it")
    return start, start + length
