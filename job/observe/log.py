"""Events as log lines: JSON for machines, or a console line for people. One line per outcome."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import structlog

from job.core.events import Event
from job.core.secret import Secret, mask

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error", "critical")
NOT_LOGGED = ("exit_code", "retryable")
"""Fields for our own decisions: the level of the line says the same to people."""
OMITTED: Mapping[str, object] = {"token": None, "note": "", "secret_position": None}
"""Fields that are left out when they say nothing, and their values then."""

LiveSecrets = Callable[[str | None], Iterable[Secret]]
Fields = MutableMapping[str, Any]
Render = Callable[[object, str, Fields], str]


def log_observer(
    stream: TextIO, log_format: LogFormat, level: LogLevel, live_secrets: LiveSecrets
) -> Callable[[Event], None]:
    """Return an observer that writes each event of at least `level` as one line to `stream`.

    The types of the events are the allow-list of fields; a live secret that still stands in one, in
    any form, is masked. `live_secrets` gives those of a token, or all of them for None.
    """
    silence_libraries()
    logger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            _masking(live_secrets),
            structlog.processors.JSONRenderer(ensure_ascii=False)
            if log_format == "json"
            else _console(colors=stream.isatty()),
        ],
        wrapper_class=structlog.BoundLogger,
    )
    lowest = LEVELS.index(level)

    def observe(event: Event) -> None:
        if LEVELS.index(event.level) >= lowest:
            getattr(logger, event.level)(event.name, **fields_of(event))

    return observe


def fields_of(event: Event) -> dict[str, Any]:
    """Return the fields of an event that are logged beside its name and level."""
    names = (field.name for field in dataclasses.fields(event) if field.name not in NOT_LOGGED)
    pairs = ((name, getattr(event, name)) for name in names)
    return {name: value for name, value in pairs if value != OMITTED.get(name, ...)}


def silence_libraries() -> None:
    """Keep libraries out of the log: they log queries, headers and secrets."""
    logging.disable(logging.CRITICAL)


def _masking(live_secrets: LiveSecrets) -> Callable[[object, str, Fields], Fields]:
    """Return the processor that orders the fields and masks the values of the event's own.

    It masks values, not the whole line: a secret such as `:` or `e` must not break the JSON, and a
    renderer's escapes must not hide a secret.
    """

    def masking(_: object, level: str, fields: Fields) -> Fields:
        secrets = tuple(live_secrets(fields.get("token")))
        head = {"timestamp": fields.pop("timestamp"), "level": level, "event": fields.pop("event")}
        return head | {name: _masked(value, secrets) for name, value in fields.items()}

    return masking


def _masked(value: object, secrets: Sequence[Secret]) -> object:
    if isinstance(value, tuple):
        return [_masked(item, secrets) for item in value]
    return mask(value, secrets) if isinstance(value, str) else value


def _console(*, colors: bool) -> Render:
    renderer = structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False)

    def render(logger: object, level: str, fields: Fields) -> str:
        dated = {name: _dated(name, value) for name, value in fields.items()}
        return str(renderer(logger, level, dated))

    return render


def _dated(name: str, value: object) -> object:
    """Return epoch seconds as a date; a number beyond all dates stays as it is."""
    if name.endswith("_at") and isinstance(value, int):
        with suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value
