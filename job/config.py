"""From a file or the environment to settings, or to every problem at once with place and cure."""

import difflib
import os.path
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import msgspec

from job import checks
from job.errors import ConfigError
from job.settings import (
    CommonSettings,
    ConfigFile,
    FileSinkSettings,
    SecretSettings,
    SecretsManagerSinkSettings,
    TokenSettings,
)

DEFAULT_PATHS = ("freshtoken.toml", "/etc/freshtoken/freshtoken.toml")
IDENTITY = ("client_id", "client_secret", "sinks")
SINK_TYPES: Mapping[str, type[FileSinkSettings | SecretsManagerSinkSettings]] = {
    "file": FileSinkSettings,
    "aws_secrets_manager": SecretsManagerSinkSettings,
}
ENVIRONMENT_KEYS = {
    "provider": "FRESHTOKEN_PROVIDER",
    "token_url": "FRESHTOKEN_TOKEN_URL",
    "client_id": "FRESHTOKEN_CLIENT_ID",
    "auth_method": "FRESHTOKEN_AUTH_METHOD",
    "audience": "FRESHTOKEN_AUDIENCE",
    "min_validity": "FRESHTOKEN_MIN_VALIDITY",
}
ENVIRONMENT_PLACES = ENVIRONMENT_KEYS | {
    "client_secret": "FRESHTOKEN_CLIENT_SECRET",
    "scope": "FRESHTOKEN_SCOPE",
    "sinks": "FRESHTOKEN_SINK",
}

NO_CONFIGURATION = (
    "no configuration: neither {paths} nor FRESHTOKEN_CLIENT_ID is there; "
    "write one with `freshtoken init`, or name one with --config"
)
PLACEHOLDERS: Mapping[str, Any] = {
    "client_id": "-",
    "client_secret": {"env": "-"},
    "sinks": [],
}
"""Stand in for what is missing or wrong, so that all the rest is checked in the same run."""
LATER = {
    "issuer": "discovery is not supported; give token_url",
}
"""Keys that people know from elsewhere, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A provider that is known: its settings, and what a person wants to know of it."""

    name: str
    title: str
    docs: str
    settings: Mapping[str, Any]
    notes: str = ""
    lifetime_hint: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The tokens to keep, where relative paths start, and where it was read."""

    tokens: Mapping[str, TokenSettings]
    folder: str
    origin: str


def presets() -> dict[str, Preset]:
    """Return the providers that are known, by name."""
    text = resources.files("job").joinpath("presets.toml").read_text("utf-8")
    return {name: Preset(name, **table) for name, table in tomllib.loads(text).items()}


def load(path: str | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration of `path`, or else of the default files, or else of `environ`.

    Raises ConfigError with every problem, each with its place and its cure, none with a value
    that could be a secret.
    """
    path = path or environ.get("FRESHTOKEN_CONFIG")
    found = path or next(filter(os.path.exists, DEFAULT_PATHS), None)
    if found:
        raw = _read(found)
        return Config(tokens_of(raw), os.path.dirname(os.path.abspath(found)), found)
    described = from_environment(environ)
    if described is None:
        raise ConfigError([NO_CONFIGURATION.format(paths=" nor ".join(DEFAULT_PATHS))])
    try:
        return Config(tokens_of(described), os.getcwd(), "the environment")
    except ConfigError as error:
        raise ConfigError([_as_variable(p) for p in error.problems]) from None


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigError([f"{path}: cannot be read ({reason})"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not a TOML file: {error}"]) from None


def from_environment(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the one token that FRESHTOKEN_ variables describe, as a file would hold it."""
    if "FRESHTOKEN_CLIENT_ID" not in environ:
        return None
    table: dict[str, Any] = {
        key: environ[name] for key, name in ENVIRONMENT_KEYS.items() if environ.get(name)
    }
    if environ.get("FRESHTOKEN_CLIENT_SECRET_FILE"):
        table["client_secret"] = {"file": environ["FRESHTOKEN_CLIENT_SECRET_FILE"]}
    else:
        table["client_secret"] = {"env": "FRESHTOKEN_CLIENT_SECRET"}
    if environ.get("FRESHTOKEN_SCOPE"):
        table["scope"] = environ["FRESHTOKEN_SCOPE"].split()
    layout = environ.get("FRESHTOKEN_FORMAT", "json")
    sinks = environ.get("FRESHTOKEN_SINK", "").split(",")
    table["sinks"] = [_sink_from(text.strip(), layout) for text in sinks if text.strip()]
    return {"tokens": {environ.get("FRESHTOKEN_NAME") or "default": table}}


def _sink_from(text: str, layout: str) -> dict[str, str]:
    kind, _, place = text.partition(":")
    if kind == "aws-secrets-manager":
        return {"type": "aws_secrets_manager", "secret_id": place, "format": layout}
    return {"type": kind, "path": place, "format": layout}


def _as_variable(problem: str) -> str:
    """Name the variable instead of the key that it stands for."""
    place, _, text = problem.partition(": ")
    key = place.split(".")[-1].partition("[")[0]
    if "sinks[" in place and key in {"type", "path", "secret_id"}:
        return "FRESHTOKEN_SINK: must be file:PATH or aws-secrets-manager:SECRET_ID, by commas"
    key = "sinks" if "sinks[" in place else key
    return f"{ENVIRONMENT_PLACES.get(key, place)}: {text}"


def tokens_of(raw: Mapping[str, Any]) -> dict[str, TokenSettings]:
    """Return the settings of each token of a parsed file; raises ConfigError with all problems."""
    problems: list[str] = []
    top = {key: raw.get(key, {}) for key in ("defaults", "tokens")}
    for key, value in top.items():
        if not isinstance(value, dict):
            problems.append(f"{key}: must be a table")
            top[key] = {}
    problems += _unknown(raw, ConfigFile, "")
    known = presets()
    defaults = _clean(top["defaults"], CommonSettings, "defaults", problems)
    if not top["tokens"]:
        problems.append("tokens: there is none; add one, such as [tokens.tiki]")
    tokens = {
        name: _token(name, table, defaults, known, problems)
        for name, table in top["tokens"].items()
    }
    problems += checks.of_places(tokens)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return tokens


def _token(
    name: str,
    table: object,
    defaults: dict[str, Any],
    known: Mapping[str, Preset],
    problems: list[str],
) -> TokenSettings:
    """Return one token's settings; what is wrong with them goes to `problems`.

    Defaults give way to the preset, and both to the token's own table. With problems, the keys
    that are wrong are left out, so that the others are still checked.
    """
    place = f"tokens.{name}"
    if not isinstance(table, dict):
        problems.append(f"{place}: must be a table, such as [{place}]")
        table = dict(PLACEHOLDERS)
    preset = known.get(str((defaults | table).get("provider")))
    merged = defaults | dict(preset.settings if preset else {})
    try:
        settings = msgspec.convert(merged | table, TokenSettings)
    except msgspec.ValidationError:
        cleaned = dict(PLACEHOLDERS) | _clean(table, TokenSettings, place, problems)
        settings = msgspec.convert(merged | cleaned, TokenSettings)
    for key, text in checks.of_token(name, settings, known):
        root = key.partition(".")[0]
        where = "defaults" if root in defaults and root not in table else place
        problems.append(f"{where}.{key}: {text}")
    return settings


def _clean(table: Mapping[str, Any], kind: type, place: str, problems: list[str]) -> dict[str, Any]:
    """Return the keys of a table that are right; what is wrong with others goes to `problems`."""
    problems += _unknown(table, kind, place)
    hints = typing.get_type_hints(kind, include_extras=True)
    cleaned = {}
    for field in msgspec.structs.fields(kind):
        where, before = f"{place}.{field.name}", len(problems)
        if field.name in table:
            value = _clean_value(table[field.name], field.name, hints, where, problems)
            if len(problems) == before or field.name == "sinks":
                cleaned[field.name] = value
        elif field.required:
            problems.append(f"{where}: is missing; it must be {_expected(hints[field.name])}")
    return cleaned


def _clean_value(
    value: object, name: str, hints: Mapping[str, Any], where: str, problems: list[str]
) -> object:
    if name == "sinks":
        return _clean_sinks(value, where, problems)
    if name == "client_secret":
        return _clean_secret(value, where, problems)
    try:
        msgspec.convert(value, hints[name])
    except msgspec.ValidationError:
        problems.append(f"{where}: must be {_expected(hints[name])}")
    return value


def _clean_sinks(value: object, where: str, problems: list[str]) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        problems.append(f"{where}: must be a list of one or more tables, such as [[{where}]]")
        return []
    cleaned = []
    for number, sink in enumerate(value, 1):
        place = f"{where}[{number}]"
        kind = SINK_TYPES.get(str(sink.get("type"))) if isinstance(sink, dict) else None
        if kind is None:
            problems.append(f'{place}.type: must be "file" or "aws_secrets_manager"')
            continue
        rest = {key: setting for key, setting in sink.items() if key != "type"}
        stand_in = {field.name: place for field in msgspec.structs.fields(kind) if field.required}
        cleaned.append({"type": sink["type"]} | stand_in | _clean(rest, kind, place, problems))
    return cleaned


def _clean_secret(value: object, where: str, problems: list[str]) -> object:
    if isinstance(value, dict):
        return _clean(value, SecretSettings, where, problems)
    problems.append(
        f"{where}: must name where the secret is, never hold it: "
        '{ env = "NAME" }, { file = "/path" } or { command = ["..."] }'
    )
    return value


def _unknown(table: Mapping[str, Any], kind: type, place: str) -> Iterator[str]:
    """Yield the keys that `kind` doesn't have, each with the nearest one that it has."""
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in table:
        if key in known:
            continue
        where = f"{place}.{key}" if place else key
        if place == "defaults" and key in IDENTITY:
            yield f"{where}: belongs to each token, not to all of them"
        elif key in LATER:
            yield f"{where}: {LATER[key]}"
        else:
            near = difflib.get_close_matches(key, known, 1)
            cure = f"did you mean {near[0]}?" if near else "see `freshtoken schema`"
            yield f"{where}: unknown key; {cure}"


def _expected(hint: object) -> str:
    """Say in words for people what a type asks for."""
    schema = msgspec.json.schema(hint)
    options = schema.get("anyOf", [schema])
    kinds = [option for option in options if option.get("type") != "null"]
    return " or ".join(dict.fromkeys(map(_words, kinds)))


def _words(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f'"{value}"' for value in schema["enum"])
    words = {
        "string": "text in quotes",
        "boolean": "true or false",
        "array": "a list",
        "object": "a table",
        "integer": "a number",
        "number": "a number",
    }
    text = words.get(str(schema.get("type")), "as described in docs/configuration.md")
    if schema.get("items", {}).get("type") == "string":
        text = "a list of texts in quotes"
    bounds = [
        f"{word} {schema[key]:g}"
        for key, word in (
            ("exclusiveMinimum", "over"),
            ("minimum", "at least"),
            ("exclusiveMaximum", "under"),
            ("maximum", "at most"),
        )
        if key in schema
    ]
    return " ".join([text, " and ".join(bounds)]) if bounds else text
