import dataclasses
import secrets

import pytest

from job.core import events
from job.core.events import Event, TokenDeliveryFailed, TokenEvent, TokenRefreshFailed, crashed

CONTRACT: dict[str, tuple[str, tuple[str, ...]]] = {
    "job.started": ("info", ("version", "tokens")),
    "job.stopped": ("info", ("reason",)),
    "job.reloaded": ("info", ("version", "tokens")),
    "job.crashed": ("critical", ("error", "traceback", "token")),
    "config.rejected": ("error", ("problems",)),
    "clock.stepped": ("warning", ("step_s",)),
    "token.adopted": ("info", ("token", "fingerprint", "expires_at", "refresh_at", "sink")),
    "token.refreshed": (
        "info",
        (
            *("token", "fingerprint", "expires_at", "expiry_source", "refresh_at"),
            *("exchange_ms", "attempts", "note", "secret_position"),
        ),
    ),
    "token.delivered": ("info", ("token", "sink", "fingerprint", "write_ms")),
    "token.unchanged": ("warning", ("token", "fingerprint", "expires_at", "refresh_at")),
    "token.refresh_failed": (
        "warning or error",
        (
            *("token", "code", "message", "http_status", "failures", "retry_at", "expires_at"),
            *("retryable", "exit_code"),
        ),
    ),
    "token.delivery_failed": (
        "warning or error",
        (
            *("token", "sink", "code", "message", "failures", "retry_at"),
            *("retryable", "exit_code"),
        ),
    ),
    "token.at_risk": ("error", ("token", "sink", "expires_at", "failures", "min_validity_s")),
    "token.expired": ("critical", ("token", "sink", "expires_at", "failures", "min_validity_s")),
    "token.budget_short": (
        "warning or error",
        ("token", "spent", "left", "budget", "message", "next_at"),
    ),
    "token.promise_unholdable": ("warning", ("token", "life_s", "min_validity_s", "reason")),
    "hook.ran": ("debug", ("token", "hook", "occasion", "took_ms", "output")),
    "hook.failed": ("warning", ("token", "hook", "occasion", "message", "failures", "retry_at")),
}
"""Every event: its level and its fields in the order of the line. `message` says what to do."""


def kinds() -> dict[str, type[Event]]:
    """Return every event type by the name of its event."""
    found = [kind for kind in vars(events).values() if isinstance(kind, type)]
    named = [kind for kind in found if issubclass(kind, Event) and "name" in vars(kind)]
    return {kind.name: kind for kind in named}


def level_of(kind: type[Event]) -> str:
    """Return the level of all events of a kind."""
    return "warning or error" if isinstance(kind.level, property) else kind.level


def test_the_vocabulary_is_the_contract() -> None:
    """Promise: each event has this name, this level and these fields, and there are no others."""
    built = {
        name: (level_of(kind), tuple(field.name for field in dataclasses.fields(kind)))
        for name, kind in kinds().items()
    }
    assert built == CONTRACT


@pytest.mark.parametrize("kind", kinds().values(), ids=kinds())
def test_events_are_frozen_and_small(kind: type[Event]) -> None:
    """Promise: an event can't be changed by one observer under the eyes of the next."""
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__dict__" not in dir(kind)


def test_token_events_begin_with_their_token() -> None:
    """Promise: every event about a token names it first."""
    about = {name for name, kind in kinds().items() if issubclass(kind, TokenEvent)}
    assert about == {name for name in CONTRACT if name.startswith(("token.", "hook."))}
    assert all(CONTRACT[name][1][0] == "token" for name in about)


def test_no_field_can_hold_a_secret() -> None:
    """Promise: fields are of plain types: a Secret or a whole record fits in none of them."""
    plain = {"str", "int", "float", "bool", "int | None", "str | None", "tuple[str, ...]"}
    types = {
        str(getattr(field.type, "__name__", field.type))
        if isinstance(field.type, type)
        else str(field.type)
        for kind in kinds().values()
        for field in dataclasses.fields(kind)
    }
    assert types <= plain


@pytest.mark.parametrize(("retryable", "level"), [(True, "warning"), (False, "error")])
def test_a_failure_is_an_error_when_a_person_has_to_act(retryable: bool, level: str) -> None:  # noqa: FBT001  # a value of the table
    """Promise: what passes by itself is a warning, the rest an error."""
    refresh = TokenRefreshFailed("t", "timeout", "m", None, 1, 2, None, retryable, 75)
    delivery = TokenDeliveryFailed("t", "file:/t", "disk_full", "m", 1, 2, retryable, 74)
    assert (refresh.level, delivery.level) == (level, level)


def test_a_crash_shows_places_and_never_values() -> None:
    """Promise: a bug is told by its type and its places; its message and locals stay inside."""
    value = secrets.token_urlsafe(24)

    def fail() -> None:
        held = value
        raise ValueError(held)

    try:
        fail()
    except ValueError as error:
        told = crashed(error, "tiki")
    first, last = told.traceback.splitlines()
    assert (told.error, told.token) == ("ValueError", "tiki")
    assert first.startswith(f"{__file__}:")
    assert first.endswith(" test_a_crash_shows_places_and_never_values")
    assert last.endswith(" fail")
    assert value not in repr(told)


def test_a_crash_without_a_traceback_is_told_too() -> None:
    """Promise: an error that was made but never raised has no places, and that is no problem."""
    assert crashed(KeyError("x"), None) == events.JobCrashed("KeyError", "", None)
