"""Loads tokens from what a parsed file holds, as tests write it."""

from collections.abc import Mapping
from typing import Any

from job.config import divided, examined
from job.config.settings import TokenSettings
from job.core.errors import ConfigError


def tokens_of(
    raw: Mapping[str, Any], folder: str = "", environ: Mapping[str, str] | None = None
) -> Mapping[str, TokenSettings]:
    """Return the settings of each token of a parsed file; raises ConfigError with all problems."""
    config, problems = examined(*divided(raw), folder, environ)
    if problems:
        raise ConfigError(list(dict.fromkeys(map(str, problems))))
    return config.tokens
