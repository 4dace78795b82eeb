"""Whether a table of the file has the right keys, each of the right type; else what is wrong."""

import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from job.config import checks
from job.config.client_checks import SOURCES
from job.config.secret_settings import AssertionSettings, SecretSettings
from job.config.watch_settings import HookSettings, SignalSettings
from job.sinks.kinds import sink_types

IDENTITY = ("client_id", "client_secret", "private_key", "client_assertion", "sinks")
_SECRET = f"must say where the secret is, not hold it: {SOURCES}"
_HOOK = 'must be { command = ["..."] }, { webhook = "https://..." } or { signal = { ... } }'
TABLES: Mapping[str, tuple[type, str]] = {
    "client_secret": (SecretSettings, _SECRET),
    "private_key": (SecretSettings, _SECRET),
    "client_assertion": (AssertionSettings, _SECRET),
    "hmac_secret": (SecretSettings, _SECRET),
    "on_refresh": (HookSettings, _HOOK),
    "on_trouble": (HookSettings, _HOOK),
    "signal": (SignalSettings, 'must be { pidfile = "/path", name = "HUP" }'),
}
"""The keys that hold a table of their own, its type, and what to say of anything else."""
LISTED = ("client_secret", "on_refresh", "on_trouble")
"""Those of them that may hold a list of such tables."""
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


class Problem(NamedTuple):
    """What is wrong at a place, and the cure; never a value that could be a secret."""

    place: str
    text: str

    def __str__(self) -> str:
        """Give the line that people read."""
        return f"{self.place}: {self.text}"


def placeholders(place: str) -> dict[str, Any]:
    """Stand in for what is missing or wrong, so that all the rest is checked in the same run."""
    sinks = [{"type": "file", "path": place}]
    return {"client_id": "-", "client_secret": {"file": "-"}, "sinks": sinks}


def clean(
    table: Mapping[str, Any], kind: type, place: str, problems: list[Problem]
) -> dict[str, Any]:
    """Return the keys of a table that are right; what is wrong with others goes to `problems`."""
    problems += unknown_keys(table, kind, place)
    hints = typing.get_type_hints(kind, include_extras=True)
    cleaned = {}
    for field in msgspec.structs.fields(kind):
        where, before = f"{place}.{field.name}", len(problems)
        if field.name in table:
            value = _clean_value(table[field.name], field.name, hints, where, problems)
            if len(problems) == before or field.name == "sinks":
                cleaned[field.name] = value
        elif field.required:
            text = f"is missing; it must be {_expected(hints[field.name])}"
            problems.append(Problem(where, text))
    return cleaned


def _clean_value(
    value: object, name: str, hints: Mapping[str, Any], where: str, problems: list[Problem]
) -> object:
    if name == "sinks":
        return _clean_sinks(value, where, problems)
    if name in TABLES:
        return _clean_tables(value, name, where, problems)
    try:
        msgspec.convert(value, hints[name])
    except msgspec.ValidationError:
        problems.append(Problem(where, f"must be {_expected(hints[name])}"))
    return value


def _clean_sinks(value: object, where: str, problems: list[Problem]) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        text = f"must be a list of one or more tables, such as [[{where}]]"
        problems.append(Problem(where, text))
        return [{"type": "file", "path": where}]
    cleaned, kinds = [], sink_types()
    for number, sink in enumerate(value, 1):
        place = f"{where}[{number}]"
        kind = kinds.get(str(sink.get("type"))) if isinstance(sink, dict) else None
        if kind is None:
            text = "must be " + " or ".join(f'"{name}"' for name in kinds)
            problems.append(Problem(f"{place}.type", text))
            cleaned.append({"type": "file", "path": place})
            continue
        rest = {key: setting for key, setting in sink.items() if key != "type"}
        stand_in = {field.name: place for field in msgspec.structs.fields(kind) if field.required}
        cleaned.append({"type": sink["type"]} | stand_in | clean(rest, kind, place, problems))
    return cleaned


def _clean_tables(value: object, name: str, where: str, problems: list[Problem]) -> object:
    """Return what is right of the table of a key, or of a list of them where that may be."""
    if isinstance(value, list) and value and name in LISTED:
        return [
            _clean_table(one, name, f"{where}[{number}]", problems)
            for number, one in enumerate(value, 1)
        ]
    return _clean_table(value, name, where, problems)


def _clean_table(value: object, name: str, where: str, problems: list[Problem]) -> object:
    kind, otherwise = TABLES[name]
    if isinstance(value, dict):
        return clean(value, kind, where, problems)
    problems.append(Problem(where, otherwise))
    return value


def unknown_keys(table: Mapping[str, Any], kind: type, place: str) -> Iterator[Problem]:
    """Yield the keys that `kind` doesn't have, each with the nearest one that it has."""
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in table:
        if key in known:
            continue
        where = checks.place_of(key, place)
        if place == "defaults" and key in IDENTITY:
            yield Problem(where, "belongs to each token, not to all of them")
        else:
            near = checks.nearest(key, known)
            cure = f"did you mean {near}?" if near else "see `freshtoken schema`"
            yield Problem(where, f"unknown key; {cure}")


def _expected(hint: object) -> str:
    """Say in words for people what a type asks for."""
    kinds = [kind for kind in _kinds(msgspec.json.schema(hint)) if kind.get("type") != "null"]
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
