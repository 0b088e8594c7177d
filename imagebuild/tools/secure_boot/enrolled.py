"""The keys that a firmware knows: db and dbx in its variables (UEFI 2.10, 32.4), as OVMF keeps them in a file
of flash memory. Parsed by virt-firmware.
"""

from pathlib import Path

from virt.firmware.varstore import edk2

from imagebuild.errors import BuildError
from imagebuild.tools.secure_boot.program import Keys, keys_of, revocations


def read(variables: Path) -> Keys:
    """Return what the variables of a new machine have enrolled. Raises BuildError for a file without any."""
    try:
        found = edk2.Edk2VarStore(str(variables)).get_varlist() if _has_store(variables) else {}
    except (OSError, ValueError, SystemExit) as error:
        raise BuildError(f"{variables} cannot be read: {error}") from error
    if "db" not in found:
        raise BuildError(f"{variables} has no keys enrolled", hint="apt-get install ovmf")
    keys = keys_of(found["db"].sigdb)
    return keys | (revocations(found["dbx"].sigdb) if "dbx" in found else Keys())


def _has_store(variables: Path) -> bool:
    return bool(edk2.Edk2VarStore.probe(str(variables)))
