"""From entries to settings, or to every problem at once with place and cure."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from job.config import checks, limit_checks
from job.config.entry import EntryReader
from job.config.settings import ConfigFile, TokenSettings
from job.config.shape import Problem, clean, unknown_keys
from job.config.watch_checks import of_http
from job.config.watch_settings import HttpSettings
from job.core.errors import ConfigError

Entries = Iterable[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Config:
    """The tokens to keep, where they are listed, and where HTTP is answered."""

    tokens: Mapping[str, TokenSettings]
    origin: str = ""
    http: HttpSettings | None = None


def tokens_of(
    raw: Mapping[str, Any], folder: str = "", environ: Mapping[str, str] | None = None
) -> Mapping[str, TokenSettings]:
    """Return the settings of each token of a parsed file; raises ConfigError with all problems.

    Relative paths start at `folder`. With `environ`, variables that are to hold client secrets
    must be set in it.
    """
    config, problems = examined(*divided(raw), folder, environ)
    if problems:
        raise ConfigError(list(dict.fromkeys(map(str, problems))))
    return config.tokens


def divided(raw: Mapping[str, Any]) -> tuple[dict[str, Any], Entries]:
    """Return what a parsed file says of all tokens, and its entries."""
    tokens = raw.get("tokens", {})
    if not isinstance(tokens, dict):
        return {**raw}, ()
    return {key: table for key, table in raw.items() if key != "tokens"}, tokens.items()


def examined(
    head: Mapping[str, Any], entries: Entries, folder: str, environ: Mapping[str, str] | None
) -> tuple[Config, list[Problem]]:
    """Return the configuration and what is wrong with it; with problems, it has gaps.

    `head` is all of a parsed file but its entries; the rest is as in `tokens_of`.
    """
    problems = [
        Problem(key, "must be a table")
        for key in ("defaults", "tokens")
        if not isinstance(head.get(key, {}), dict)
    ]
    problems += unknown_keys(head, ConfigFile, "")
    reader = EntryReader(head.get("defaults", {}), folder, problems)
    tokens = {name: reader.settings(name, table) for name, table in entries}
    if not tokens and "tokens" not in head:
        problems.append(Problem("tokens", "there is none; add one, such as [tokens.tiki]"))
    http = _http(head, problems)
    problems += itertools.starmap(Problem, checks.of_places(tokens))
    for name, key, text in limit_checks.of_shared(tokens):
        problems.append(Problem(f"{checks.place_of(name)}.{key}", text))
    if environ is not None:
        problems += itertools.starmap(Problem, checks.of_environment(tokens, environ))
    return Config(tokens, http=http), problems


def _http(head: Mapping[str, Any], problems: list[Problem]) -> HttpSettings | None:
    """Return where HTTP is answered, if it is; what is wrong with that goes to `problems`."""
    if "http" not in head:
        return None
    if not isinstance(head["http"], dict):
        problems.append(Problem("http", 'must be a table: [http] with listen = "127.0.0.1:9464"'))
        return None
    before = len(problems)
    cleaned = clean(head["http"], HttpSettings, "http", problems)
    if len(problems) > before:
        return None
    http = msgspec.convert(cleaned, HttpSettings)
    problems += [Problem(f"http.{key}", text) for key, text in of_http(http)]
    return http
