"""Tokens that a TOML file lists."""

import os
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

from job.config import divided
from job.core.errors import ConfigError, Problem


class TomlFile:
    """The tokens of a file as it is now."""

    def __init__(self, path: str) -> None:
        """Read the file; raises ConfigError where it can't be read, or is not TOML."""
        self.origin = path
        self.folder = os.path.dirname(os.path.abspath(path))
        self.head, self._entries = divided(_read(path))

    def version(self) -> str:
        """Return a text that differs when the file has been replaced, written or removed."""
        try:
            found = os.stat(self.origin)
        except OSError:
            return ""
        return f"{found.st_dev}.{found.st_ino}.{found.st_size}.{found.st_mtime_ns}"

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Yield the tables of [tokens]."""
        yield from self._entries

    def explained(self, problems: Iterable[Problem]) -> Iterable[Problem]:
        """Return the problems unchanged: their places are those of the file."""
        return problems


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        cure = "check the path and its permissions, or write one with `freshtoken init`"
        raise ConfigError([f"{path}: cannot be read ({reason}); {cure}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text; save it as UTF-8"]) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None
