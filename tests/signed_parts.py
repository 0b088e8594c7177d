"""Debian's own signed boot loader and kernel, as the packages of this machine have them (shim-signed,
grub-efi-amd64-signed, linux-image-amd64: .ci/bootstrap), and a key of nobody's.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from imagebuild.tools import command

SHIM_PLACE, GRUB_PLACE = Path("/usr/lib/shim"), Path("/usr/lib/grub/x86_64-efi-signed")
SHIM, MOK, UNSIGNED = (SHIM_PLACE / name for name in ("shimx64.efi.signed", "mmx64.efi.signed", "mmx64.efi"))
GRUB, MEDIUM = (GRUB_PLACE / name for name in ("grubx64.efi.signed", "gcdx64.efi.signed"))


def kernel() -> bytes:
    return max(Path("/boot").glob("vmlinuz-*-amd64")).read_bytes()


def esp() -> dict[str, bytes]:
    """Return path -> content of programs that a machine starts."""
    files = {"BOOTX64.EFI": SHIM, "grubx64.efi": GRUB, "mmx64.efi": MOK}
    return {f"EFI/BOOT/{name}": file.read_bytes() for name, file in files.items()}


def signed_by_nobody(program: Path, place: Path) -> bytes:
    """Return a program that is signed by a key which no firmware and no shim knows, and by no other
    (sbsigntool).
    """
    subject = ("-subj", "/CN=Nobody", "-days", "1", "-nodes", "-newkey", "rsa:2048")
    command.run(
        ["openssl", "req", "-x509", *subject, "-keyout", "key.pem", "-out", "certificate.pem"],
        cwd=place, quiet=True,
    )  # fmt: skip
    keys = ("--key", "key.pem", "--cert", "certificate.pem")
    bare = place / "bare.efi"
    bare.write_bytes(program.read_bytes())
    # sbsign(1) adds a signature to those that are there
    for _ in re.findall(r"^signature \d", command.run(["sbverify", "--list", bare]), re.MULTILINE):
        command.run(["sbattach", "--remove", bare], quiet=True)
    command.run(["sbsign", *keys, "--output", "signed.efi", bare], cwd=place, quiet=True)
    return (place / "signed.efi").read_bytes()


def flipped(data: bytes, at: float = 0.5) -> bytes:
    """Return data with one byte changed."""
    position = int(len(data) * at)
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def changed(esp: Mapping[str, bytes], name: str, data: bytes | None) -> dict[str, bytes]:
    """Return an ESP with one program changed, or without it."""
    path = f"EFI/BOOT/{name}"
    rest = {other: content for other, content in esp.items() if other != path}
    return rest if data is None else rest | {path: data}
