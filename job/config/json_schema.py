"""The JSON Schema of the configuration, made from the types and the texts below their keys."""

import ast
import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import msgspec

from job.config.settings import ConfigFile
from job.values import Table, schema_of, written


def json_schema() -> dict[str, Any]:
    """Return the schema, with defaults that are values as they would be written."""
    schema = msgspec.json.schema(ConfigFile, schema_hook=schema_of)
    for kind in _tables(Table):
        keys = schema["$defs"].get(kind.__name__, {}).get("properties", {})
        texts = _descriptions(kind)
        for field in msgspec.structs.fields(kind) if keys else ():
            if field.name in texts:
                _described(keys[field.name])["description"] = texts[field.name]
            if field.default_factory is not msgspec.NODEFAULT:
                default = msgspec.to_builtins(field.default_factory(), enc_hook=written)
                keys[field.name]["default"] = default
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _tables(kind: type[Table]) -> Iterator[type[Table]]:
    for each in kind.__subclasses__():
        yield each
        yield from _tables(each)


def _described(key: dict[str, Any]) -> dict[str, Any]:
    """Return what carries the description of a key: of one simple type or nothing, the type."""
    kinds = [option for option in key.get("anyOf", ()) if option != {"type": "null"}]
    return kinds[0] if len(kinds) == 1 and "$ref" not in kinds[0] else key


def _descriptions(kind: type) -> dict[str, str]:
    """Return the text below each key in the source of a class and of its bases."""
    texts = {}
    for each in reversed(kind.__mro__):
        for key, below in itertools.pairwise(_body(each)):
            match key, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    texts[name] = " ".join(text.split())
                case _:  # anything else is not a key with a text below it
                    pass
    return texts


def _body(kind: type) -> list[ast.stmt]:
    """Return the statements of a class; none if its source is not there, as of compiled ones."""
    try:
        tree = ast.parse(inspect.getsource(kind))
    except (OSError, TypeError):
        return []
    return [each for node in tree.body if isinstance(node, ast.ClassDef) for each in node.body]
