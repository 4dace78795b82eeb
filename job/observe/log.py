"""Events as log lines: JSON for machines, or a console line for people. One line per outcome."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import structlog

from job.events import Event
from job.secret import Secret, mask

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error", "critical")
NOT_LOGGED = ("exit_code", "retryable")
"""Fields for our own decisions: the level of the line says the same to people."""

LiveSecrets = Callable[[str | None], Iterable[Secret]]
Fields = MutableMapping[str, Any]
Render = Callable[[object, str, Fields], str]


def log_observer(
    stream: TextIO, log_format: LogFormat, level: LogLevel, live_secrets: LiveSecrets
) -> Callable[[Event], None]:
    """Return an observer that writes each event of at least `level` as one line to `stream`.

    Fields are an allow-list by their types; should a live secret still stand in one, in whatever
    form, it is masked. `live_secrets` gives those of a token, or all of them for None.
    """
    silence_libraries()
    render = _json() if log_format == "json" else _console(colors=stream.isatty())
    logger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            _line(render, live_secrets),
        ],
        wrapper_class=structlog.BoundLogger,
    )
    lowest = LEVELS.index(level)

    def observe(event: Event) -> None:
        if LEVELS.index(event.level) >= lowest:
            getattr(logger, event.level)(event.name, **fields_of(event))

    return observe


def fields_of(event: Event) -> dict[str, Any]:
    """Return what is logged of an event beside its name and level."""
    fields = {
        field.name: getattr(event, field.name)
        for field in dataclasses.fields(event)
        if field.name not in NOT_LOGGED
    }
    if fields.get("token", "") is None:
        del fields["token"]
    return fields


def silence_libraries() -> None:
    """Keep the log to our own vocabulary: libraries log queries, headers and secrets."""
    root = logging.getLogger()
    root.setLevel(logging.CRITICAL)
    root.addHandler(logging.NullHandler())


def _line(render: Render, live_secrets: LiveSecrets) -> Render:
    """Return the last processor: order the fields, render them, and mask."""

    def line(logger: object, level: str, fields: Fields) -> str:
        head = {"timestamp": fields.pop("timestamp"), "level": level, "event": fields.pop("event")}
        return mask(render(logger, level, head | dict(fields)), live_secrets(fields.get("token")))

    return line


def _json() -> Render:
    renderer = structlog.processors.JSONRenderer(ensure_ascii=False)

    def render(logger: object, level: str, fields: Fields) -> str:
        return str(renderer(logger, level, fields))

    return render


def _console(*, colors: bool) -> Render:
    renderer = structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False)

    def render(logger: object, level: str, fields: Fields) -> str:
        for name, value in fields.items():
            if name.endswith("_at") and isinstance(value, int):
                fields[name] = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return str(renderer(logger, level, fields))

    return render
