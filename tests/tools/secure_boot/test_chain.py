"""Who refuses what, of Debian's own shim, GRUB and kernel under the keys of Debian's OVMF."""

import ssl
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from imagebuild.kinds import Firmware
from imagebuild.model import SecureBoot
from imagebuild.tools.secure_boot import chain
from imagebuild.tools.secure_boot.program import Keys, read
from imagebuild.tools.secure_boot.signature import leads_to
from tests import signed_parts as parts

BOTH = ("Microsoft Corporation UEFI CA 2011", "Microsoft UEFI CA 2023")
LEVEL = b"grub,5\n"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a machine is to start."""

    esp: Mapping[str, bytes]
    kernel: bytes
    keys: Keys
    before: Mapping[str, bytes] = field(default_factory=dict)

    def examine(self) -> SecureBoot:
        return chain.examine(self.esp, self.kernel, self.keys, self.before)

    def having(self, name: str, data: bytes | None) -> "Case":
        return replace(self, esp=parts.changed(self.esp, name, data))


@pytest.fixture(scope="module")
def whole() -> Case:
    return Case(esp=parts.esp(), kernel=parts.kernel(), keys=chain.enrolled_keys())


def test_debians_own_is_started_and_who_signed_shim_is_told(whole: Case) -> None:
    found = whole.examine()
    assert found == SecureBoot(reason=None, authorities=BOTH)
    assert found.in_words() == f"for Secure Boot: shim is signed by {BOTH[0]} and by {BOTH[1]}"


def test_the_firmware_of_debian_12_knows_one_of_both(whole: Case) -> None:
    shim = read(parts.SHIM.read_bytes())
    known = [leads_to(shim, certificate) for certificate in whole.keys.trusted]
    # of two, Windows' own does not count: sbverify says OK of it
    assert known.count(True) == 1


REFUSED: dict[str, tuple[Callable[[Case, Path], Case], str]] = {
    "no shim": (
        lambda case, _: case.having("BOOTX64.EFI", None),
        "the ESP has no EFI/BOOT/BOOTX64.EFI",
    ),
    "shim unsigned": (
        lambda case, _: case.having("BOOTX64.EFI", Path("/usr/lib/shim/shimx64.efi").read_bytes()),
        "the firmware refuses EFI/BOOT/BOOTX64.EFI: nobody signed it",
    ),
    "shim changed": (
        lambda case, _: case.having("BOOTX64.EFI", parts.flipped(parts.SHIM.read_bytes(), 0.2)),
        "the firmware refuses EFI/BOOT/BOOTX64.EFI: it was changed after it was signed",
    ),
    "firmware without Microsoft": (
        lambda case, _: replace(case, keys=Keys(trusted=case.keys.trusted[:1])),
        f"the firmware refuses EFI/BOOT/BOOTX64.EFI: its signature leads to {' and '.join(BOTH)}, which is",
    ),
    "GRUB unsigned": (
        lambda case, _: case.having("grubx64.efi", parts.UNSIGNED.read_bytes()),
        "shim refuses EFI/BOOT/grubx64.efi: nobody signed it",
    ),
    "GRUB of nobody": (
        lambda case, place: case.having("grubx64.efi", parts.signed_by_nobody(parts.UNSIGNED, place)),
        "shim refuses EFI/BOOT/grubx64.efi: its signature leads to Nobody, which shim does not hold",
    ),
    "kernel changed": (
        lambda case, _: replace(case, kernel=parts.flipped(case.kernel)),
        "GRUB refuses the kernel: it was changed after it was signed",
    ),
    "kernel that is none": (
        lambda case, _: replace(case, kernel=b"\x7fELF" + bytes(5000)),
        "the kernel: it is no UEFI program",
    ),
    "revoked digest": (
        lambda case, _: replace(
            case, keys=case.keys | Keys(revoked=frozenset({read(parts.GRUB.read_bytes()).digest}))
        ),
        "shim refuses EFI/BOOT/grubx64.efi: its digest is revoked (dbx)",
    ),
    "revoked certificate": (
        lambda case, _: replace(
            case,
            keys=case.keys
            | Keys(
                revoked_certificates=frozenset(read(parts.SHIM.read_bytes()).vendor_keys().trusted),
            ),
        ),
        "shim refuses EFI/BOOT/grubx64.efi: the certificate that it is signed with is revoked (dbx)",
    ),
    "revoked by a newer shim": (
        lambda case, _: replace(
            case,
            before={"release 12.9": parts.SHIM.read_bytes().replace(LEVEL, b"grub,6\n")},
        ),
        "EFI/BOOT/grubx64.efi: revoked by the SBAT levels of release 12.9 (grub is of generation 5, and 6 is",
    ),
}


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(
    whole: Case, tmp_path: Path, change: Callable[[Case, Path], Case], says: str
) -> None:
    reason = change(whole, tmp_path).examine().reason
    assert reason is not None
    assert says in reason


def test_a_loader_without_generations_is_refused(whole: Case) -> None:
    shim = read(parts.SHIM.read_bytes())
    assert chain._without_sbat(shim, replace(shim, sections={})) == "it has no section .sbat"
    old = replace(shim, sections={})
    assert chain._without_sbat(old, old) is None


@pytest.mark.parametrize("garbage", [b"", b"MZ", b"MZ" + bytes(2000), bytes(100_000)])
def test_garbage_is_told_not_raised(whole: Case, garbage: bytes) -> None:
    reason = whole.having("grubx64.efi", garbage).examine().reason
    assert reason is not None
    assert reason.startswith("EFI/BOOT/grubx64.efi: it is no UEFI program")
    assert whole.having("BOOTX64.EFI", garbage).examine().reason is not None
    assert replace(whole, before={"a release": garbage}).examine().reason is not None


def test_sbverify_agrees_where_it_can_be_believed(whole: Case, tmp_path: Path) -> None:
    """Of programs with one signature, whose authority is not beside it."""
    debian = read(parts.SHIM.read_bytes()).vendor_keys().trusted
    certificate = tmp_path / "certificate.pem"
    for der in (*debian, *whole.keys.trusted):
        certificate.write_text(ssl.DER_cert_to_PEM_cert(der))
        for file in (parts.GRUB, parts.MEDIUM, parts.MOK, parts.UNSIGNED):
            argv = ["sbverify", "--cert", str(certificate), str(file)]
            says = subprocess.run(argv, capture_output=True, check=False).returncode == 0
            assert says == leads_to(read(file.read_bytes()), der), file


def test_the_set_of_firmware_follows_from_what_is_found() -> None:
    both, secure = frozenset({Firmware.BIOS, Firmware.UEFI}), {Firmware.UEFI_SECURE}
    good, bad = SecureBoot(reason=None), SecureBoot(reason="no")
    assert chain.firmware_of(both, good) == both | secure
    assert chain.firmware_of(both | secure, bad) == both
    assert chain.firmware_of(frozenset({Firmware.BIOS}), good) == {Firmware.BIOS}
