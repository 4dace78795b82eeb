"""From a file or the environment to settings, or to every problem at once with place and cure."""

import itertools
import os.path
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from job.config import checks, limit_checks
from job.config.client_checks import method_for, unused
from job.config.environment import DEFAULT_PATHS, VARIABLES, amiss, as_variable, from_environment
from job.config.presets import Preset, layered, params_amiss, presets
from job.config.settings import CommonSettings, ConfigFile, TokenSettings
from job.config.shape import Problem, clean, placeholders, unknown_keys
from job.config.watch_checks import of_http
from job.config.watch_settings import HttpSettings
from job.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Config:
    """The tokens to keep, where relative paths start, where it was read, and who is told."""

    tokens: Mapping[str, TokenSettings]
    folder: str
    origin: str
    http: HttpSettings | None = None


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
        folder, origin, raw = os.path.dirname(os.path.abspath(found)), found, _read(found)
        tokens, problems = _examined(raw, folder, needed)
    else:
        folder, origin, raw = os.getcwd(), "the environment", from_environment(environ)
        tokens, problems = _examined(raw, folder, needed)
        token = checks.place_of(next(iter(tokens)))
        problems = [as_variable(problem, token) for problem in problems]
        problems += amiss(environ)
    if problems:
        raise ConfigError(list(dict.fromkeys(map(str, problems))), origin)
    http = msgspec.convert(raw["http"], HttpSettings) if "http" in raw else None
    return Config(tokens, folder, origin, http)


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
    problems += unknown_keys(raw, ConfigFile, "")
    known = presets()
    defaults = clean(top["defaults"], CommonSettings, "defaults", problems)
    if raw.get("tokens", {}) == {}:
        problems.append(Problem("tokens", "there is none; add one, such as [tokens.tiki]"))
    tokens = {
        name: _token(name, table, defaults, known, problems)
        for name, table in top["tokens"].items()
    }
    _http(raw, problems)
    problems += itertools.starmap(Problem, checks.of_places(tokens, folder))
    for name, key, text in limit_checks.of_shared(tokens):
        problems.append(Problem(f"{checks.place_of(name)}.{key}", text))
    if environ is not None:
        problems += itertools.starmap(Problem, checks.of_environment(tokens, environ))
    return tokens, problems


def _http(raw: Mapping[str, Any], problems: list[Problem]) -> None:
    """Tell what is wrong with where HTTP is answered, if it is to be."""
    if "http" not in raw:
        return
    if not isinstance(raw["http"], dict):
        problems.append(Problem("http", 'must be a table: [http] with listen = "127.0.0.1:9464"'))
        return
    before = len(problems)
    cleaned = clean(raw["http"], HttpSettings, "http", problems)
    if len(problems) == before:
        found = of_http(msgspec.convert(cleaned, HttpSettings))
        problems += [Problem(f"http.{key}", text) for key, text in found]


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
        table = placeholders(place)
    told: set[str] = set()
    try:
        settings = msgspec.convert(_merged(defaults, known, table), TokenSettings)
    except msgspec.ValidationError:
        cleaned = clean(table, TokenSettings, place, problems)
        told = table.keys() - cleaned.keys()
        whole = {"sinks": placeholders(place)["sinks"]} | cleaned
        settings = msgspec.convert(_merged(defaults, known, whole), TokenSettings)
    preset = known.get(settings.provider or "")
    amiss = params_amiss(preset, settings.provider_params, table)
    idle = (problem for problem in unused(settings) if problem[0] in table)
    for key, text in itertools.chain(checks.of_token(name, settings, known), amiss, idle):
        root = key.partition(".")[0]
        if root not in told:
            where = "defaults" if root in defaults and root not in table else place
            problems.append(Problem(f"{where}.{key}" if key else where, text))
    return settings


def _merged(
    defaults: Mapping[str, Any], known: Mapping[str, Preset], table: Mapping[str, Any]
) -> dict[str, Any]:
    """Join the layers of one token's settings, the preset filled in with what both others say."""
    own = layered(defaults, table)
    preset = known.get(str(own.get("provider")))
    if preset is not None:
        own = layered(defaults, preset.filled(own.get("provider_params")), table)
    if "issuer" in own and not own.keys() & {"token_url", "auth_method"}:
        return {"discover_auth_method": True} | own | {"auth_method": method_for(own)}
    return own
