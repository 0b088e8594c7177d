"""How a tree is composed here: a configuration's `compose` has the options of one composer."""

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from imagebuild.composers.composer import ComposerConfig
from imagebuild.composers.registry import COMPOSERS

_MODELS: Any = reduce(or_, (record.options for record in COMPOSERS.values()))


class _ByComposer:
    """Mark a composer's options as those of the composer that they name."""

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check with that composer's model."""
        return handler.generate_schema(Annotated[_MODELS, Field(discriminator="composer")])


ComposeSection = Annotated[ComposerConfig, _ByComposer()]
