"""What one start of the program needs: its options, its configuration, its objects and its log."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job.core.clock import system_clock
from job.core.errors import ConfigError
from job.core.events import ConfigRejected, Event

if TYPE_CHECKING:
    from job.config import Config
    from job.core.secret import Secret
    from job.observe.log import LogFormat, LogLevel


@dataclass(frozen=True)
class Options:
    """The options that every verb takes, before it or after it."""

    config: str | None = None
    log_format: "LogFormat | None" = None
    log_level: "LogLevel | None" = None


class Job:
    """What most verbs need: the configuration, what is made of it, and a log made when needed."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        """Read nothing yet."""
        from job.compose.refreshers import RefresherSet  # noqa: PLC0415
        from job.compose.tools import Tools  # noqa: PLC0415

        self._options = options
        self._environ = environ
        self.tools = Tools(environ, os.uname().nodename, system_clock)
        self.refreshers = RefresherSet(self.tools)
        self._observe: Callable[[Event], None] | None = None

    def load(self, *, with_secrets: bool = False) -> "Config":
        """Return the configuration; raises ConfigError, also for client secrets if asked."""
        from job.inventory.kinds import load  # noqa: PLC0415

        return load(self._options.config, self._environ, with_secrets=with_secrets)

    def report(self, event: Event) -> None:
        """Log an event on standard error; where that can't be written, the work goes on."""
        if self._observe is None:
            self._observe = observer(self._options, self.refreshers.live_secrets)
        with suppress(OSError, ValueError):
            self._observe(event)

    def rejected(self, error: ConfigError) -> int:
        """Tell every problem: as an event where the log is JSON, else as lines for people."""
        if format_of(self._options) != "json":
            raise error
        self.report(ConfigRejected(error.problems))
        return error.exit_code


def observer(
    options: Options, live_secrets: "Callable[[str | None], Iterable[Secret]]"
) -> Callable[[Event], None]:
    """Return the log on standard error; JSON lines unless that is a terminal."""
    from job.observe.log import log_observer  # noqa: PLC0415

    level = options.log_level or "info"
    return log_observer(sys.stderr, format_of(options), level, live_secrets)


def format_of(options: Options) -> "LogFormat":
    """Return the format of the log."""
    return options.log_format or ("console" if sys.stderr.isatty() else "json")
