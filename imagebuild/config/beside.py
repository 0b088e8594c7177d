"""Files that lie beside a configuration, or beside the product's own: several share them."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, WithJsonSchema, model_validator

from imagebuild.config.fields import Model, TreePath
from imagebuild.config.places import shared_directory

# of a validation's context: where the configuration lies
DIRECTORY = "directory"
# a pattern is a line; whatever is longer is something else
MOST = 1 << 20

Pattern = Annotated[str, Field(pattern=r"^/[^\s,]+$")]


class PatternFile(Model):
    """A file with patterns, and what stands in it; a configuration gives its name only."""

    file: TreePath
    patterns: tuple[Pattern, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: object, info: ValidationInfo) -> object:
        if not isinstance(given, str):
            return given
        return {"file": given, "patterns": _patterns(_beside(given, info.context))}


SharedPatterns = Annotated[PatternFile, WithJsonSchema({"type": "string"})]


def _beside(name: str, context: Any) -> Path:
    """Return the file of that name in the configuration's own directory; without one, the product's."""
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"{name}: must lie in the configuration's directory, or below it")
    product = shared_directory("configs")
    own = Path((context or {}).get(DIRECTORY, product)) / name
    return own if own.exists() else product / name


def _patterns(file: Path) -> list[str]:
    """Return the lines that say something. Raises ValueError when the file cannot be read."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MOST + 1)
        text = data.decode()
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if len(data) > MOST:
        raise ValueError(
            f"{file} is larger than {MOST >> 20} MiB: nobody writes a list of patterns of that size"
        )
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
