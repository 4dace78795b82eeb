"""From entries to settings, or to all problems at once, each with its place and what to do."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from job.config import checks
from job.config.entry import EntryReader
from job.config.settings import ConfigFile, TokenSettings
from job.config.shape import Cleaner, unknown_keys
from job.config.watch_checks import address_of
from job.config.watch_settings import HttpSettings
from job.core.errors import Problem

Entries = Iterable[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Config:
    """The tokens to keep, where they are listed, and where HTTP is answered."""

    tokens: Mapping[str, TokenSettings]
    origin: str = ""
    http: HttpSettings | None = None


def divided(raw: Mapping[str, Any]) -> tuple[dict[str, Any], Entries]:
    """Return what a parsed file says about all tokens, and its entries."""
    tokens = raw.get("tokens", {})
    if not isinstance(tokens, dict):
        return {**raw}, ()
    return {key: table for key, table in raw.items() if key != "tokens"}, tokens.items()


def examined(
    head: Mapping[str, Any], entries: Entries, folder: str, environ: Mapping[str, str] | None
) -> tuple[Config, list[Problem]]:
    """Return the configuration and its problems; if there are any, it has gaps.

    `head` is a parsed file without its entries. Relative paths start at `folder`. If `environ` is
    given, the variables of client secrets must be set in it.
    """
    cleaner = Cleaner(folder)
    for key in ("defaults", "tokens"):
        if not isinstance(head.get(key, {}), dict):
            cleaner.tell(key, "must be a table")
    cleaner.problems += unknown_keys(head, ConfigFile, "")
    reader = EntryReader(head.get("defaults", {}), cleaner)
    tokens = {name: reader.settings(name, table) for name, table in entries}
    if not tokens and "tokens" not in head:
        cleaner.tell("tokens", "there is none; add one, such as [tokens.tiki]")
    http = _http(head, cleaner)
    found = itertools.chain(checks.of_places(tokens), checks.of_limits(tokens))
    unset = checks.of_environment(tokens, environ) if environ is not None else ()
    cleaner.problems += itertools.starmap(Problem, itertools.chain(found, unset))
    return Config(tokens, http=http), cleaner.problems


def _http(head: Mapping[str, Any], cleaner: Cleaner) -> HttpSettings | None:
    if "http" not in head:
        return None
    before = len(cleaner.problems)
    cleaned = cleaner.one(head["http"], HttpSettings, "http")
    if len(cleaner.problems) > before:
        return None
    http = msgspec.convert(cleaned, HttpSettings)
    if address_of(http.listen) is None:
        cleaner.tell("http.listen", 'must be HOST:PORT, such as "127.0.0.1:9464" or "[::1]:9464"')
    return http
