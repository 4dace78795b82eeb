"""The JSON Schema of the configuration, made from the types."""

from collections.abc import Iterator
from typing import Any

import msgspec

from job.config.settings import ConfigFile
from job.values import Table, schema_of, written


def json_schema() -> dict[str, Any]:
    """Return the schema, with defaults that are values as they would be written."""
    schema = msgspec.json.schema(ConfigFile, schema_hook=schema_of)
    for kind in _tables(Table):
        described = schema["$defs"].get(kind.__name__, {})
        for field in msgspec.structs.fields(kind) if described else ():
            if field.default_factory is not msgspec.NODEFAULT:
                default = msgspec.to_builtins(field.default_factory(), enc_hook=written)
                described["properties"][field.name]["default"] = default
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _tables(kind: type[Table]) -> Iterator[type[Table]]:
    for each in kind.__subclasses__():
        yield each
        yield from _tables(each)
