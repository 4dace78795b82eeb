"""The one token that environment variables describe, as a file would hold it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from job.config import checks
from job.core.errors import ConfigError, Problem
from job.oauth.auth_methods import METHODS, methods_with
from job.sinks.kinds import SinkTypes, sink_types

DEFAULT_PATHS = ("freshtoken.toml", "/etc/freshtoken/freshtoken.toml")
ENVIRONMENT_KEYS = {
    "provider": "FRESHTOKEN_PROVIDER",
    "token_url": "FRESHTOKEN_TOKEN_URL",
    "issuer": "FRESHTOKEN_ISSUER",
    "client_id": "FRESHTOKEN_CLIENT_ID",
    "auth_method": "FRESHTOKEN_AUTH_METHOD",
    "audience": "FRESHTOKEN_AUDIENCE",
    "min_validity": "FRESHTOKEN_MIN_VALIDITY",
}
OTHER_VARIABLES = {
    "provider_params": "FRESHTOKEN_PROVIDER_PARAMS",
    "client_secret": "FRESHTOKEN_CLIENT_SECRET",
    "client_secret.file": "FRESHTOKEN_CLIENT_SECRET_FILE",
    "scope": "FRESHTOKEN_SCOPE",
    "sinks": "FRESHTOKEN_SINK",
    "format": "FRESHTOKEN_FORMAT",
    "name": "FRESHTOKEN_NAME",
    "http": "FRESHTOKEN_HTTP_LISTEN",
    "config": "FRESHTOKEN_CONFIG",
}
VARIABLES = ENVIRONMENT_KEYS | OTHER_VARIABLES
DESCRIBING = ("provider", "token_url", "issuer", "client_id", "sinks")
"""If one of these is set, the environment describes a token."""
WITHOUT_SECRET = METHODS.keys() - methods_with("client_secret")
BY_FILE_ONLY = ("private_key", "client_assertion", "certificate_file", "key_file")
"""Keys that have no variable."""
CLOSE = 0.85
"""How similar an unknown variable must be to a known one to count as a typo. Kubernetes injects
variables for services: FRESHTOKEN_PORT and the like are not mistakes."""

NO_CONFIGURATION = (
    "no configuration: neither {paths} is there, nor is FRESHTOKEN_CLIENT_ID set; "
    "write one with `freshtoken init`, or name one with --config"
)


class Environment:
    """The one token that FRESHTOKEN_ variables describe."""

    origin = "the environment"

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read the variables; raises ConfigError if they describe no token."""
        given = {key: _utf_8(environ[name]) for key, name in VARIABLES.items() if environ.get(name)}
        if not any(key in given for key in DESCRIBING):
            raise ConfigError([NO_CONFIGURATION.format(paths=" nor ".join(DEFAULT_PATHS))])
        self.folder = os.getcwd()
        self.head = {"http": {"listen": given["http"]}} if "http" in given else {}
        self._environ = environ
        self._name = given.get("name", "default")
        self._entry = _entry(given)

    def version(self) -> str:
        """Return a constant: the environment of a process stays as it is."""
        return ""

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Yield the token as a file would hold it."""
        yield self._name, self._entry

    def explained(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Yield the problems by the names of variables, and those of the variables themselves."""
        token = checks.place_of(self._name)
        yield from (_as_variable(problem, token) for problem in problems)
        yield from _variable_problems(self._environ)


def _entry(given: Mapping[str, str]) -> dict[str, Any]:
    table: dict[str, Any] = {key: text for key, text in given.items() if key in ENVIRONMENT_KEYS}
    if given.get("auth_method") not in WITHOUT_SECRET:
        table["client_secret"] = {"env": VARIABLES["client_secret"]}
    if "client_secret.file" in given:
        table["client_secret"] = {"file": given["client_secret.file"]}
    if "provider_params" in given:
        pairs = (pair.partition("=") for pair in given["provider_params"].split())
        table["provider_params"] = {name: value for name, _, value in pairs}
    if "scope" in given:
        table["scope"] = given["scope"].split()
    layout = given.get("format", "json")
    sinks = given.get("sinks", "").split(",")
    table["sinks"] = [_sink_from(text.strip(), layout) for text in sinks if text.strip()]
    return table


def _utf_8(text: str) -> str:
    """Return the text with ? for bytes that are not UTF-8; `explained` names the variable."""
    return text.encode(errors="replace").decode()


def _sink_from(text: str, layout: str) -> dict[str, str]:
    word, _, place = text.partition(":")
    types = SinkTypes()
    own = (kind for kind, one in types.known.items() if one.variable.startswith(f"{word}:"))
    kind = next(own, word.replace("-", "_"))
    sink = {"type": kind, "format": layout}
    try:
        known, _, key = types.named(kind).variable.partition(":")
    except ValueError:  # reported when the entry is read
        return sink
    return sink | ({key.lower(): place} if word == known else {"type": ""})


def _as_variable(problem: Problem, token: str) -> Problem:
    """Return the problem with the variable in place of the key that it stands for."""
    place, text = problem
    key = place.removeprefix(token).removeprefix(".")
    root, last = key.partition(".")[0].partition("[")[0], key.rpartition(".")[2]
    if last in {"format", "template"}:
        return Problem(VARIABLES["format"], "must be json, raw, header or env")
    sinks = [settings.variable for settings in sink_types().values()]
    if last == "type" and not text.startswith("must be "):
        return Problem(VARIABLES["sinks"], text)
    if last in {"type", "sinks", *(one.partition(":")[2].lower() for one in sinks)}:
        text = f"must be {' or '.join(sinks)}, several with commas"
    elif root == "sinks":
        text = f"{last} {text}" if last != key else "names one place twice"
    elif root in BY_FILE_ONLY:
        cure = "such a client needs a file; see `freshtoken init`"
        return Problem(VARIABLES["auth_method"], cure)
    elif root == "client_secret" and "goes with" not in text:
        text = f"is not set; set it, or {VARIABLES['client_secret.file']}"
    variable = VARIABLES.get(root or "name", place)
    return Problem(variable, text.partition("; it must be")[0])


def _variable_problems(environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the variables whose names look like typos, and those that are not text."""
    prefix = "FRESHTOKEN_"
    known = [name.removeprefix(prefix) for name in VARIABLES.values()]
    for name in sorted(name for name in environ if name.startswith(prefix)):
        own = name.removeprefix(prefix)
        near = None if own in known else checks.nearest(own, known, CLOSE)
        if near:
            yield Problem(name, f"unknown variable; did you mean {prefix}{near}?")
        if own in known and _utf_8(environ[name]) != environ[name]:
            yield Problem(name, "is not UTF-8 text")
