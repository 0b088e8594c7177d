"""QEMU's monitor (QMP)."""

import asyncio
from pathlib import Path
from typing import Any

from imagebuild.errors import BuildError

QMP_SECONDS = 20.0


def execute(monitor: Path, name: str, arguments: dict[str, Any], *, seconds: float) -> Any:
    """Run one QMP command at a monitor's socket and return its answer. Raises BuildError."""
    from qemu.qmp import QMPError  # noqa: PLC0415  dear, and only for those who start guests

    try:
        return asyncio.run(asyncio.wait_for(_execute(monitor, name, arguments), seconds))
    except (QMPError, OSError, TimeoutError) as error:
        raise BuildError(f"QEMU's monitor does not answer to {name}: {error}") from error


async def _execute(monitor: Path, name: str, arguments: dict[str, Any]) -> Any:
    from qemu.qmp import QMPClient  # noqa: PLC0415  as above

    client = QMPClient("imagebuild")
    await client.connect(str(monitor))
    try:
        return await client.execute(name, arguments)
    finally:
        await client.disconnect()
