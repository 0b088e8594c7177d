"""An installer that fits on a floppy disk."""

from pathlib import Path

from imagebuild.config.fields import Model
from imagebuild.installers.installer import Installer, Request


class FloppyConfig(Model):
    """How many sides the floppy disk has."""

    sides: int = 2


def build(out: Path, request: Request) -> Path:
    file = out / f"{request.name}.iso"
    file.write_text(f"{request.config.options(FloppyConfig).sides} sides")
    return file


RECORD = Installer(
    name="floppy", options=FloppyConfig, build=build, tools=("cat",), when="everybody has a floppy drive"
)
