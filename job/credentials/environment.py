"""Secrets in environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from job.core.secret import Secret
from job.credentials.base import Kind, secret_of, unavailable


@dataclass(frozen=True, slots=True)
class EnvironmentSecret:
    """A secret in an environment variable."""

    name: str
    environ: Mapping[str, str]

    def resolve(self) -> Secret:
        """Return the variable's value."""
        value = self.environ.get(self.name, "")
        if not value:
            raise unavailable(f"the environment variable {self.name} is not set", "set it")
        return secret_of(os.fsencode(value), f"the environment variable {self.name}")


KIND = Kind(
    "env",
    lambda settings, environ, _: EnvironmentSecret(settings.env or "", environ),
    is_variable=True,
    is_free=True,
)
