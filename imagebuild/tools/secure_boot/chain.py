"""From the firmware to the kernel: would each start the next, on a machine with Secure Boot?

The firmware starts what leads to its db (UEFI 2.10, 32.5.3), shim what leads to that or to its own
certificate and is not below its SBAT levels (shim 16.1, shim.c and pe.c: without a .sbat section nothing is
started), and GRUB asks shim for the kernel, which needs no such section.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from imagebuild.architectures.registry import DEFAULT, loader_of
from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.model import SecureBoot
from imagebuild.tools.qemu.registry import FIRMWARES
from imagebuild.tools.secure_boot import enrolled, sbat
from imagebuild.tools.secure_boot.esp import programs_on
from imagebuild.tools.secure_boot.program import Keys, Program, certificate_name, issuers, read
from imagebuild.tools.secure_boot.signature import is_intact, leads_to

KERNEL = "the kernel"


def judge(
    image: Path, offset: int, kernel: bytes, shims_before: Mapping[str, bytes], arch: str = DEFAULT
) -> SecureBoot:
    """Return whether the ESP that begins at an offset of a file leads to a kernel under the firmware that
    this machine has for guests of an architecture. `shims_before`: whose -> shims that machines may have run,
    which leave their levels there.
    """
    try:
        keys = enrolled_keys(arch)
        found = programs_on(image, offset)
    except BuildError as error:
        return SecureBoot(reason=f"it could not be looked into: {error.message}")
    return examine(found, kernel, keys, shims_before, arch)


def firmware_of(asked: frozenset[Firmware], found: SecureBoot) -> frozenset[Firmware]:
    """Return under which firmware a disk or an ISO for `asked` boots."""
    secure = {Firmware.UEFI_SECURE}
    with_uefi = found.reason is None and any(firmware.is_uefi for firmware in asked)
    return asked | secure if with_uefi else asked - secure


def first_program(arch: str) -> str:
    """Return the path of what firmware starts from any disk. Raises BuildError."""
    return f"EFI/BOOT/{loader_of(arch).removable}"


def enrolled_keys(arch: str = DEFAULT) -> Keys:
    """Return the keys of this machine's firmware for guests with Secure Boot. Raises BuildError,
    MissingToolError.
    """
    flash = FIRMWARES[Firmware.UEFI_SECURE].find_flash(arch)
    assert flash is not None, "that firmware is kept in files"
    return enrolled.read(flash.variables)


def examine(
    esp: Mapping[str, bytes],
    kernel: bytes,
    keys: Keys,
    shims_before: Mapping[str, bytes],
    arch: str = DEFAULT,
) -> SecureBoot:
    """Return whether programs of an ESP (path -> content) lead to a kernel with the keys of a firmware."""
    first_path, problems = first_program(arch), list[str]()
    programs = {name: program for name, data in esp.items() if (program := _read(name, data, problems))}
    first = programs.get(first_path)
    if first is None:
        return SecureBoot(reason="; ".join([*problems, f"the ESP has no {first_path}"]))
    shims = {name: program for name, program in programs.items() if program.is_shim}
    problems += [
        f"the firmware refuses {name}: {why}"
        for name, program in ({first_path: first} | shims).items()
        if (why := _untrusted(program, keys, "is not enrolled"))
    ]
    if not first.is_shim:
        return SecureBoot(
            reason="; ".join(problems) or f"{first_path} is not shim: what it starts is not known"
        )
    known = keys
    try:
        known |= first.vendor_keys()
    except BuildError as error:
        problems.append(f"{first_path} cannot be shim: {error.message}")
    loaders = {name: program for name, program in programs.items() if not program.is_shim}
    problems += [
        f"shim refuses {name}: {why}"
        for name, program in loaders.items()
        if (why := _untrusted(program, known, "shim does not hold") or _without_sbat(first, program))
    ]
    image = _read(KERNEL, kernel, problems)
    if image is not None and (why := _untrusted(image, known, "shim does not hold")):
        problems.append(f"GRUB refuses {KERNEL}: {why}")
    others = {whose: shim for whose, data in shims_before.items() if (shim := _read(whose, data, problems))}
    problems += _below(programs, {first_path: first} | others)
    return SecureBoot(reason="; ".join(problems) or None, authorities=_authorities(first))


def _read(name: str, data: bytes, problems: list[str]) -> Program | None:
    try:
        return read(data)
    except BuildError as error:
        problems.append(f"{name}: {error.message}")
        return None


def _untrusted(program: Program, keys: Keys, unknown: str) -> str | None:
    """Return why a program is not started with some keys; None when it is. `unknown`: what a certificate is
    that is none of them, a clause's end.
    """
    if program.digest in keys.revoked:
        return "its digest is revoked (dbx)"
    if not program.signatures:
        return "nobody signed it"
    if not is_intact(program):
        return "it was changed after it was signed"
    if any(leads_to(program, certificate) for certificate in keys.revoked_certificates):
        return "the certificate that it is signed with is revoked (dbx)"
    if any(leads_to(program, certificate) for certificate in keys.trusted):
        return None
    known = ", ".join(certificate_name(certificate) for certificate in keys.trusted) or "nothing"
    names = " and ".join(_authorities(program)) or "an unknown certificate"
    return f"its signature leads to {names}, which {unknown} (known: {known})"


def _without_sbat(shim: Program, program: Program) -> str | None:
    # a shim without generations of its own is older than SBAT and asks for none
    wanted = sbat.SECTION in shim.sections and sbat.SECTION not in program.sections
    return f"it has no section {sbat.SECTION}" if wanted else None


def _below(programs: Mapping[str, Program], shims: Mapping[str, Program]) -> Iterator[str]:
    """Yield what is below the levels of shims: the one that is started, and those that machines have run."""
    for whose, shim in shims.items():
        if sbat.LEVELS not in shim.sections:
            continue
        try:
            least = sbat.levels(shim.sections[sbat.LEVELS])
        except BuildError as error:
            yield f"{whose}: {error.message}"
            continue
        for name, program in programs.items():
            if sbat.SECTION in program.sections:
                yield from _refused(name, program, least, whose)


def _refused(name: str, program: Program, least: Mapping[str, int], whose: str) -> Iterator[str]:
    try:
        below = sbat.refused(sbat.generations(program.sections[sbat.SECTION]), least)
    except BuildError as error:
        below = [error.message]
    if below:
        yield f"shim refuses {name}: revoked by the SBAT levels of {whose} ({'; '.join(below)})"


def _authorities(program: Program) -> tuple[str, ...]:
    """Return the names of who issued the certificates that a program is signed with, each once."""
    try:
        names = [name for signature in program.signatures for name in issuers(signature)]
    except BuildError:
        return ()
    return tuple(dict.fromkeys(names))
