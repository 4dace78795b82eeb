"""The kinds of inventory, and the one that a run uses."""

import os.path
from collections.abc import Mapping
from dataclasses import replace

from job.config import Config, examined
from job.core.errors import ConfigError
from job.core.ports import Inventory
from job.inventory.environment import DEFAULT_PATHS, VARIABLES, Environment
from job.inventory.toml_file import TomlFile


def inventory_of(path: str | None, environ: Mapping[str, str]) -> Inventory:
    """Return the inventory at `path`, else in a default file, else in `environ`.

    Raises ConfigError if it can't be read, or there is none.
    """
    found = path or environ.get(VARIABLES["config"])
    found = found or next(filter(os.path.exists, DEFAULT_PATHS), None)
    return TomlFile(found) if found else Environment(environ)


def load(path: str | None, environ: Mapping[str, str], *, with_secrets: bool = False) -> Config:
    """Return the configuration of all tokens that the inventory lists.

    `with_secrets` requires that the variables for client secrets are set. Raises ConfigError with
    every problem, each with its place and what to do, never with a value that could be a secret.
    """
    inventory = inventory_of(path, environ)
    needed = environ if with_secrets else None
    config, found = examined(inventory.head, inventory.entries(), inventory.folder, needed)
    if problems := dict.fromkeys(map(str, inventory.explained(found))):
        raise ConfigError(list(problems), inventory.origin)
    return replace(config, origin=inventory.origin)
