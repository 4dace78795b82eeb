"""The one token that environment variables describe, as a file would hold it."""

from collections.abc import Iterator, Mapping
from typing import Any

from job.config import checks
from job.config.shape import LATER, Problem
from job.errors import ConfigError

DEFAULT_PATHS = ("freshtoken.toml", "/etc/freshtoken/freshtoken.toml")
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


def as_variable(problem: Problem, token: str) -> Problem:
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


def amiss(environ: Mapping[str, str]) -> Iterator[Problem]:
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
