"""Machines for QEMU."""

from pathlib import Path

from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu.machine import Places

PLACES = Places(serial=Path("/evidence/serial.log"), monitor=Path("/tmp/qmp"), variables=Path("/tmp/vars.fd"))
TCG = Accelerator(name="tcg", slowness=6.0, reason="test")
