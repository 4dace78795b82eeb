"""The JSON Schema of the configuration, made from the types and the texts below their keys."""

import ast
import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import msgspec

from job.config.settings import ConfigFile, extended, with_sinks
from job.config.shape import tables_of
from job.core.errors import ConfigError
from job.sinks.kinds import SinkTypes
from job.sinks.settings import SinkSettings
from job.values import Table, schema_of, written


def json_schema() -> dict[str, Any]:
    """Return the schema, with defaults that are values as they would be written.

    Every plug-in that is installed is in it; raises ConfigError for one that can't be loaded.
    """
    token: Any = with_sinks(_all_sinks())
    file = extended(ConfigFile, "tokens", dict[str, token])
    schema = msgspec.json.schema(file, schema_hook=schema_of)
    tables = {*_tables(file), *_tables(token)}
    texts = {
        each: _descriptions(each) for each in {base for kind in tables for base in kind.__mro__}
    }
    for kind in tables:
        keys = schema["$defs"][kind.__name__]["properties"]
        for field in msgspec.structs.fields(kind):
            own = (texts[each][field.name] for each in kind.__mro__ if field.name in texts[each])
            if text := next(own, ""):
                _described(keys[field.name])["description"] = text
            if field.default_factory is not msgspec.NODEFAULT:
                default = msgspec.to_builtins(field.default_factory(), enc_hook=written)
                keys[field.name]["default"] = default
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _all_sinks() -> list[type[SinkSettings]]:
    types = SinkTypes()
    try:
        return [types.named(name) for name in dict.fromkeys([*types.known, *types.plugins])]
    except ValueError as error:
        raise ConfigError([f"sinks: {error}"]) from None


def _tables(kind: type[Table]) -> Iterator[type[Table]]:
    """Yield a table and those that its keys hold."""
    yield kind
    for field in msgspec.structs.fields(kind):
        for each in itertools.chain(*tables_of(field.type)):
            yield from _tables(each)


def _described(key: dict[str, Any]) -> dict[str, Any]:
    """Return what carries the description of a key: of one simple type or nothing, the type."""
    kinds = [option for option in key.get("anyOf", ()) if option != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 and "$ref" not in kinds[0] else key


def _descriptions(kind: type) -> dict[str, str]:
    """Return the text below each key in the source of a class, if that is there."""
    try:
        tree = ast.parse(inspect.getsource(kind))
    except (OSError, TypeError):
        return {}
    texts = {}
    for key, below in itertools.pairwise(ast.walk(tree)):  # it yields siblings in their order
        match key, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                texts[name] = " ".join(text.split())
            case _:  # anything else is not a key with a text below it
                pass
    return texts
