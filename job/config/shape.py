"""Checks that a table of the file has the right keys, each of the right type.

What a key may hold is read from the types, which is slow: only tables with a mistake come here.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from job.config import checks
from job.config.settings import CommonSettings, TokenSettings
from job.core.errors import Problem
from job.sinks.kinds import SinkTypes
from job.values import Table, schema_of, value_reader

WORDS = {
    "string": "text in quotes",
    "boolean": "true or false",
    "texts": "a list of texts in quotes",
    "array": "a list of tables",
    "object": "a table of texts in quotes",
    "integer": "a number",
    "number": "a number",
}
BOUNDS = {
    "exclusiveMinimum": "over",
    "minimum": "at least",
    "exclusiveMaximum": "under",
    "maximum": "at most",
}


def placeholders(place: str) -> dict[str, Any]:
    """Return stand-ins for what is missing or wrong: the rest is checked in the same run."""
    return {"client_id": "-", "client_secret": {"file": "-"}, "sinks": [_stand_in(place)]}


class Cleaner:
    """Takes tables apart, key by key; what is wrong goes to `problems`."""

    def __init__(self, folder: str = "") -> None:
        """Clean nothing yet; relative paths start at `folder`."""
        self.problems: list[Problem] = []
        self.values = value_reader(folder)
        self.sinks = SinkTypes()

    def tell(self, place: str, text: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(place, text))

    def table(self, table: Mapping[str, Any], kind: type[Table], place: str) -> dict[str, Any]:
        """Return the valid keys of a table."""
        self.problems += unknown_keys(table, kind, place)
        cleaned = {}
        for field in msgspec.structs.fields(kind):
            where, before = f"{place}.{field.name}", len(self.problems)
            if field.name in table:
                value = self._value(table[field.name], field.type, where)
                # Sinks that are wrong have a stand-in.
                if len(self.problems) == before or field.name == "sinks":
                    cleaned[field.name] = value
            elif field.required:
                self.tell(where, f"is missing; it must be {_expected(field.type)}")
        return cleaned

    def _value(self, value: object, hint: object, where: str) -> object:
        """Return the valid part of the value of a key."""
        one, listed = tables_of(hint)
        if any(kind.__struct_config__.tag for kind in listed):
            return self._tagged(value, where)
        if isinstance(value, list) and value and listed:
            return [
                self.one(each, listed[0], f"{where}[{number}]")
                for number, each in enumerate(value, 1)
            ]
        if one:
            return self.one(value, one[0], where)
        try:
            msgspec.convert(value, hint, dec_hook=self.values)
        except msgspec.ValidationError as error:
            told = str(error.__cause__ or "")
            self.tell(where, told or f"must be {_expected(hint)}")
        return value

    def one(self, value: object, kind: type[Table], where: str) -> object:
        """Return the valid keys of what should be a table."""
        if isinstance(value, dict):
            return self.table(value, kind, where)
        self.tell(where, kind.otherwise)
        return value

    def _tagged(self, value: object, where: str) -> list[dict[str, Any]]:
        """Return the valid part of a list of sinks, each of which names its type."""
        if not isinstance(value, list) or not value:
            self.tell(where, f"must be a list of one or more tables, such as [[{where}]]")
            return [_stand_in(where)]
        return [self._sink(sink, f"{where}[{number}]") for number, sink in enumerate(value, 1)]

    def _sink(self, sink: object, place: str) -> dict[str, Any]:
        """Return the valid part of a sink, with stand-ins for the rest."""
        table = sink if isinstance(sink, dict) else {}
        try:
            kind = self.sinks.named(str(table.get("type")))
        except ValueError as error:
            self.tell(f"{place}.type", str(error))
            return _stand_in(place)
        stand_in = {f.name: place for f in msgspec.structs.fields(kind) if f.required}
        rest = {key: setting for key, setting in table.items() if key != "type"}
        cleaned = {"type": table["type"]} | stand_in | self.table(rest, kind, place)
        try:
            msgspec.convert(cleaned, kind, dec_hook=self.values)
        except msgspec.ValidationError:  # a key of a plug-in that must be given, and is not a text
            return _stand_in(place)
        return cleaned


def _stand_in(place: str) -> dict[str, Any]:
    return {"type": "file", "path": place}


def tables_of(hint: object) -> tuple[list[type[Table]], list[type[Table]]]:
    """Return the types of table that a key may hold, and those that it may hold a list of."""
    options = [*_options(inspect.type_info(hint))]
    items = [option.item_type for option in options if isinstance(option, inspect.VarTupleType)]
    listed = [option for item in items for option in _options(item)]
    return _classes(options), _classes(listed)


def _classes(options: Sequence[inspect.Type]) -> list[type[Table]]:
    structs = (option.cls for option in options if isinstance(option, inspect.StructType))
    return [kind for kind in structs if issubclass(kind, Table)]


def _options(info: inspect.Type) -> Iterator[inspect.Type]:
    """Yield the members of a union, or the type itself."""
    if isinstance(info, inspect.Metadata):
        yield from _options(info.type)
    elif isinstance(info, inspect.UnionType):
        for option in info.types:
            yield from _options(option)
    else:
        yield info


def unknown_keys(table: Mapping[str, Any], kind: type[Table], place: str) -> Iterator[Problem]:
    """Yield the keys that `kind` doesn't have, each with the nearest one that it has."""
    known = kind.__struct_fields__
    for key in table:
        if key in known:
            continue
        where = checks.place_of(key, place)
        if kind is CommonSettings and key in TokenSettings.__struct_fields__:
            yield Problem(where, "belongs to each token, not to all of them")
        else:
            near = checks.nearest(key, known)
            cure = f"did you mean {near}?" if near else "see `freshtoken schema`"
            yield Problem(where, f"unknown key; {cure}")


def _expected(hint: object) -> str:
    """Describe in words what a type accepts."""
    schema = msgspec.json.schema(hint, schema_hook=schema_of)
    kinds = [kind for kind in _kinds(schema) if kind.get("type") != "null"]
    return " or ".join(dict.fromkeys(map(_words, kinds)))


def _kinds(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "anyOf" not in schema:
        yield schema
    for option in schema.get("anyOf", ()):
        yield from _kinds(option)


def _words(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f'"{value}"' for value in schema["enum"])
    kind = "texts" if schema.get("items", {}).get("type") == "string" else schema["type"]
    bounds = [f"{word} {schema[key]:g}" for key, word in BOUNDS.items() if key in schema]
    return " ".join(filter(None, [WORDS[kind], " and ".join(bounds)]))
