"""From a file or the environment to settings, or to every problem at once with place and cure."""

import itertools
import os.path
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

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
OTHER_VARIABLES = {
    "issuer": "FRESHTOKEN_ISSUER",
    "client_secret": "FRESHTOKEN_CLIENT_SECRET",
    "client_secret.file": "FRESHTOKEN_CLIENT_SECRET_FILE",
    "scope": "FRESHTOKEN_SCOPE",
    "sinks": "FRESHTOKEN_SINK",
    "format": "FRESHTOKEN_FORMAT",
    "name": "FRESHTOKEN_NAME",
    "config": "FRESHTOKEN_CONFIG",
}
VARIABLES = ENVIRONMENT_KEYS | OTHER_VARIABLES
DESCRIBING = ("provider", "token_url", "issuer", "client_id", "sinks")
"""One of these in the environment is meant to describe a token."""
CLOSE = 0.85
"""How much alike two names of variables are for one to be a slip of the other. Where services are
injected as variables, FRESHTOKEN_PORT and its kind are nobody's mistake."""

NO_CONFIGURATION = (
    "no configuration: neither {paths} is there, nor is FRESHTOKEN_CLIENT_ID set; "
    "write one with `freshtoken init`, or name one with --config"
)
LATER = {
    "issuer": "discovery is not supported; give the URL of the token endpoint",
    "aws_secret": 'is not supported; use command = ["aws", "secretsmanager", ...]',
}
"""Keys that people know from elsewhere, and what to do instead."""
SOURCES = '{ env = "NAME" }, { file = "/path" } or { command = ["..."] }'
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
    # importlib.resources would cost a twentieth of a whole `once`.
    with open(os.path.join(os.path.dirname(__file__), "presets.toml"), "rb") as file:
        return {name: Preset(name, **table) for name, table in tomllib.load(file).items()}


def load(path: str | None, environ: Mapping[str, str], *, with_secrets: bool = False) -> Config:
    """Return the configuration of `path`, or else of the default files, or else of `environ`.

    `with_secrets` demands that the variables which are to hold client secrets are set. Raises
    ConfigError with every problem, each with its place and its cure, none with a value that could
    be a secret.
    """
    needed = environ if with_secrets else None
    found = path or environ.get(VARIABLES["config"])
    found = found or next(filter(os.path.exists, DEFAULT_PATHS), None)
    if found:
        folder, origin = os.path.dirname(os.path.abspath(found)), found
        tokens, problems = _examined(_read(found), folder, needed)
    else:
        folder, origin = os.getcwd(), "the environment"
        tokens, problems = _examined(from_environment(environ), folder, needed)
        token = checks.place_of(next(iter(tokens)))
        problems = [_as_variable(problem, token) for problem in problems]
        problems += _amiss(environ)
    if problems:
        raise ConfigError(list(dict.fromkeys(map(str, problems))), origin)
    return Config(tokens, folder, origin)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        cure = "check the path and its permissions, or write one with `freshtoken init`"
        raise ConfigError([f"{path}: cannot be read ({reason}); {cure}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text; write it anew"]) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the one token that FRESHTOKEN_ variables describe, as a file would hold it.

    Raises ConfigError if they describe none.
    """
    given = {key: environ[name] for key, name in VARIABLES.items() if environ.get(name)}
    if not any(key in given for key in DESCRIBING):
        raise ConfigError([NO_CONFIGURATION.format(paths=" nor ".join(DEFAULT_PATHS))])
    table: dict[str, Any] = {
        key: text for key, text in given.items() if key in ENVIRONMENT_KEYS or key in LATER
    }
    table["client_secret"] = {"env": VARIABLES["client_secret"]}
    if "client_secret.file" in given:
        table["client_secret"] = {"file": given["client_secret.file"]}
    if "scope" in given:
        table["scope"] = given["scope"].split()
    layout = given.get("format", "json")
    sinks = given.get("sinks", "").split(",")
    table["sinks"] = [_sink_from(text.strip(), layout) for text in sinks if text.strip()]
    return {"tokens": {given.get("name", "default"): table}}


def _sink_from(text: str, layout: str) -> dict[str, str]:
    kind, _, place = text.partition(":")
    if kind == "aws-secrets-manager":
        return {"type": "aws_secrets_manager", "secret_id": place, "format": layout}
    return {"type": kind, "path": place, "format": layout}


def _as_variable(problem: Problem, token: str) -> Problem:
    """Name the variable instead of the key that it stands for."""
    place, text = problem
    key = place.removeprefix(token).removeprefix(".")
    root, last = key.partition(".")[0].partition("[")[0], key.rpartition(".")[2]
    if last in {"format", "template"}:
        return Problem(VARIABLES["format"], "must be json, raw, header or env")
    if last in {"type", "path", "secret_id", "sinks"}:
        text = "must be file:PATH or aws-secrets-manager:SECRET_ID, several with commas"
    elif root == "sinks":
        text = "names one place twice"
    elif root == "client_secret":
        text = f"is not set; set it, or {VARIABLES['client_secret.file']}"
    variable = VARIABLES.get(root or "name", place)
    return Problem(variable, text.partition("; it must be")[0])


def _amiss(environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the variables that are not ours, but nearly, and those that hold no text."""
    prefix = "FRESHTOKEN_"
    known = [name.removeprefix(prefix) for name in VARIABLES.values()]
    for name in sorted(name for name in environ if name.startswith(prefix)):
        own = name.removeprefix(prefix)
        near = None if own in known else checks.nearest(own, known, CLOSE)
        if near:
            yield Problem(name, f"unknown variable; did you mean {prefix}{near}?")
        if own in known and environ[name].encode(errors="replace").decode() != environ[name]:
            yield Problem(name, "is not UTF-8 text")


def tokens_of(
    raw: Mapping[str, Any], folder: str = "", environ: Mapping[str, str] | None = None
) -> dict[str, TokenSettings]:
    """Return the settings of each token of a parsed file; raises ConfigError with all problems.

    Relative paths start at `folder`. With `environ`, variables that are to hold client secrets
    must be set in it.
    """
    tokens, problems = _examined(raw, folder, environ)
    if problems:
        raise ConfigError(list(dict.fromkeys(map(str, problems))))
    return tokens


def _examined(
    raw: Mapping[str, Any], folder: str, environ: Mapping[str, str] | None
) -> tuple[dict[str, TokenSettings], list[Problem]]:
    """Return settings and what is wrong with them; with problems, the settings have gaps."""
    problems: list[Problem] = []
    top = {key: raw.get(key, {}) for key in ("defaults", "tokens")}
    for key, value in top.items():
        if not isinstance(value, dict):
            problems.append(Problem(key, "must be a table"))
            top[key] = {}
    problems += _unknown(raw, ConfigFile, "")
    known = presets()
    defaults = _clean(top["defaults"], CommonSettings, "defaults", problems)
    if raw.get("tokens", {}) == {}:
        problems.append(Problem("tokens", "there is none; add one, such as [tokens.tiki]"))
    tokens = {
        name: _token(name, table, defaults, known, problems)
        for name, table in top["tokens"].items()
    }
    problems += itertools.starmap(Problem, checks.of_places(tokens, folder))
    if environ is not None:
        problems += itertools.starmap(Problem, checks.of_environment(tokens, environ))
    return tokens, problems


def _token(
    name: str,
    table: object,
    defaults: dict[str, Any],
    known: Mapping[str, Preset],
    problems: list[Problem],
) -> TokenSettings:
    """Return one token's settings; what is wrong with them goes to `problems`.

    Defaults give way to the preset, and both to the token's own table. With problems, the keys
    that are wrong are left out, so that the others are still checked.
    """
    place = checks.place_of(name)
    if not isinstance(table, dict):
        problems.append(Problem(place, f"must be a table, such as [{place}]"))
        table = _placeholders(place)
    preset = known.get(str((defaults | table).get("provider")))
    merged = defaults | dict(preset.settings if preset else {})
    told: set[str] = set()
    try:
        settings = msgspec.convert(merged | table, TokenSettings)
    except msgspec.ValidationError:
        cleaned = _clean(table, TokenSettings, place, problems)
        told = table.keys() - cleaned.keys()
        settings = msgspec.convert(merged | _placeholders(place) | cleaned, TokenSettings)
    for key, text in checks.of_token(name, settings, known):
        root = key.partition(".")[0]
        if root not in told:
            where = "defaults" if root in defaults and root not in table else place
            problems.append(Problem(f"{where}.{key}" if key else where, text))
    return settings


def _placeholders(place: str) -> dict[str, Any]:
    """Stand in for what is missing or wrong, so that all the rest is checked in the same run."""
    sinks = [{"type": "file", "path": place}]
    return {"client_id": "-", "client_secret": {"file": "-"}, "sinks": sinks}


def _clean(
    table: Mapping[str, Any], kind: type, place: str, problems: list[Problem]
) -> dict[str, Any]:
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
            text = f"is missing; it must be {_expected(hints[field.name])}"
            problems.append(Problem(where, text))
    return cleaned


def _clean_value(
    value: object, name: str, hints: Mapping[str, Any], where: str, problems: list[Problem]
) -> object:
    if name == "sinks":
        return _clean_sinks(value, where, problems)
    if name == "client_secret":
        return _clean_secret(value, where, problems)
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
    cleaned = []
    for number, sink in enumerate(value, 1):
        place = f"{where}[{number}]"
        kind = SINK_TYPES.get(str(sink.get("type"))) if isinstance(sink, dict) else None
        if kind is None:
            problems.append(Problem(f"{place}.type", 'must be "file" or "aws_secrets_manager"'))
            cleaned.append({"type": "file", "path": place})
            continue
        rest = {key: setting for key, setting in sink.items() if key != "type"}
        stand_in = {field.name: place for field in msgspec.structs.fields(kind) if field.required}
        cleaned.append({"type": sink["type"]} | stand_in | _clean(rest, kind, place, problems))
    return cleaned


def _clean_secret(value: object, where: str, problems: list[Problem]) -> object:
    if isinstance(value, dict):
        return _clean(value, SecretSettings, where, problems)
    problems.append(Problem(where, f"must say where the secret is, not hold it: {SOURCES}"))
    return value


def _unknown(table: Mapping[str, Any], kind: type, place: str) -> Iterator[Problem]:
    """Yield the keys that `kind` doesn't have, each with the nearest one that it has."""
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in table:
        if key in known:
            continue
        where = checks.place_of(key, place)
        if place == "defaults" and key in IDENTITY:
            yield Problem(where, "belongs to each token, not to all of them")
        elif key in LATER:
            yield Problem(where, LATER[key])
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
    if "$ref" in schema:
        return SOURCES
    if "enum" in schema:
        return "one of " + ", ".join(f'"{value}"' for value in schema["enum"])
    kind = "texts" if schema.get("items", {}).get("type") == "string" else schema["type"]
    bounds = [f"{word} {schema[key]:g}" for key, word in BOUNDS.items() if key in schema]
    return " ".join(filter(None, [WORDS[kind], " and ".join(bounds)]))
