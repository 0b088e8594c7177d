"""A site's own criteria: a configuration names their directory, and what is in it is read with it."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationInfo, WithJsonSchema, field_serializer, model_validator

from imagebuild.config.beside import DIRECTORY
from imagebuild.config.fields import Model, TreePath
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.criterion import BY_ATOMIC
from imagebuild.smoke.site.reading import read_criteria
from imagebuild.smoke.site.record import SiteCriterion
from imagebuild.smoke.waivers import GROWTH, SLEPT


class SiteDirectory(Model):
    """The directory, and the criteria in it; a configuration gives its name only."""

    directory: TreePath
    criteria: tuple[SiteCriterion, ...]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: object, info: ValidationInfo) -> object:
        if not isinstance(given, str):
            return given
        return {"directory": given, "criteria": _read(given, info.context)}

    @field_serializer("criteria")
    def _told(self, criteria: tuple[SiteCriterion, ...]) -> dict[str, str]:
        """Return what stands for them where a configuration is kept: names, and digests of their content."""
        return {site.name: site.digest for site in criteria}


SiteSection = Annotated[SiteDirectory, WithJsonSchema({"type": "string"})]


def _read(name: str, context: Any) -> tuple[SiteCriterion, ...]:
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"{name}: must lie in the configuration's directory, or below it")
    if DIRECTORY not in (context or {}):
        raise ValueError(f"{name}: nobody knows where the configuration lies")
    root = Path(context[DIRECTORY]) / name
    if not root.is_dir():
        raise ValueError(f"{root}: is not a directory")
    ours = frozenset({*criteria.names(), *criteria.required(atomic=True, installer=True), *GROWTH})
    found = read_criteria(root, ours)
    for site in found:
        # cells of ours are called so
        if site.name.startswith(f"{SLEPT}-") or site.name.endswith(BY_ATOMIC):
            raise ValueError(f"{name}: {site.name}: is a name of imagebuild's own")
    return found
