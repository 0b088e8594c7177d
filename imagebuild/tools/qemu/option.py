"""Values in QEMU's options."""

from pathlib import Path


def escape(value: str | Path) -> str:
    """Return a value as QEMU's option parser reads it: commas are doubled."""
    return str(value).replace(",", ",,")
