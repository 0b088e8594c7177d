"""Keys of a configuration that records tell: each has the record's own model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from imagebuild.config.fields import Model


@dataclass(frozen=True)
class Sections:
    """Mark a mapping as one of known keys to their models; a key that is not given, or null, is left out.

    In the order of the keys here, whatever their order in the file. `title` is the schema's name for it.
    """

    title: str
    models: Mapping[str, type[Model]]

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check with a model that has a field for each key, as any other model would."""
        fields: dict[str, Any] = {
            _identifier(name): (model | None, Field(default=None, alias=name))
            for name, model in self.models.items()
        }
        checked = create_model(self.title, __base__=Model, **fields)
        checked.__doc__ = f"Any of {', '.join(self.models)}."
        return core_schema.no_info_after_validator_function(
            self._given,
            handler.generate_schema(checked),
            serialization=core_schema.plain_serializer_function_ser_schema(_dumped),
        )

    def _given(self, checked: Model) -> dict[str, Model]:
        options = {name: getattr(checked, _identifier(name)) for name in self.models}
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True)
class OneOf:
    """Mark a text as one of known names."""

    names: Iterable[str]

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check as a Literal of the names would."""
        return core_schema.literal_schema(list(self.names))


@dataclass(frozen=True)
class Checked:
    """Mark a model as one that is read with a model which is made of it and has more fields."""

    model: type[Model]

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check with that model."""
        return handler.generate_schema(self.model)


def _identifier(name: str) -> str:
    return "key_" + name.replace(".", "_").replace("-", "_")


def _dumped(value: Mapping[str, Model]) -> dict[str, Any]:
    return {name: options.model_dump(mode="json") for name, options in value.items()}
