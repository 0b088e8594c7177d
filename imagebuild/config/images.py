"""Kickstarts: the descriptions of installed systems."""

from typing import Annotated

from pydantic import AfterValidator, Field

from imagebuild.config import syntaxes
from imagebuild.config.fields import Model


def _syntax(value: str) -> str:
    if (problem := syntaxes.problem(value)) is not None:
        raise ValueError(f"{problem}; there are: {', '.join(syntaxes.usable())}")
    return value


class KickstartConfig(Model):
    """One kickstart template and the pykickstart version of the release it is for."""

    template: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*\.ks$")]
    syntax: Annotated[str, AfterValidator(_syntax), Field(json_schema_extra={"enum": [*syntaxes.usable()]})]
    values: dict[Annotated[str, Field(pattern=r"^[a-z_]+$")], str] = Field(
        default={}, description="values of the template's own placeholders"
    )
