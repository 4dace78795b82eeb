import base64
import io
import json
import logging
import re
import secrets
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest

from job.core.events import (
    ClockStepped,
    ConfigRejected,
    Event,
    JobCrashed,
    JobStarted,
    TokenAdopted,
    TokenAtRisk,
    TokenDelivered,
    TokenDeliveryFailed,
    TokenExpired,
    TokenRefreshed,
    TokenRefreshFailed,
)
from job.core.secret import Secret
from job.observe.log import LogFormat, LogLevel, log_observer

TIMESTAMP = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
REFUSED = TokenRefreshFailed(
    "tiki",
    "invalid_client",
    "the server does not accept this client",
    401,
    3,
    1_764_000_300,
    1_764_003_600,
    retryable=False,
    exit_code=77,
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def libraries_may_log_again() -> Iterator[None]:
    """Undo what making an observer does to the logging of this whole process."""
    before = logging.root.manager.disable
    yield
    logging.disable(before)


def lines(
    *events: Event,
    log_format: LogFormat = "json",
    level: LogLevel = "info",
    live: tuple[Secret, ...] = (),
    stream: io.StringIO | None = None,
) -> list[str]:
    """Log some events and return the lines, without the newline that each must end with."""
    stream = stream or io.StringIO()
    observe = log_observer(stream, log_format, level, lambda _: live)
    for event in events:
        observe(event)
    *whole, rest = stream.getvalue().split("\n")
    assert rest == ""
    return whole


def line(event: Event, **options: object) -> str:
    """Log one event, without its timestamp, which is checked."""
    (text,) = lines(event, **options)  # type: ignore[arg-type]
    assert len(TIMESTAMP.findall(text)) == 1
    return TIMESTAMP.sub("NOW", text, count=1)


# JSON


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            JobStarted("0.1.0", 3),
            (
                '{"timestamp": "NOW", "level": "info", "event": "job.started", "version": "0.1.0",'
                ' "tokens": 3}'
            ),
        ),
        (
            TokenAdopted("tiki", "9f2c51b0d4e7", 1_764_000_000, 1_763_999_000, "file:/t"),
            (
                '{"timestamp": "NOW", "level": "info", "event": "token.adopted", "token": "tiki",'
                ' "fingerprint": "9f2c51b0d4e7", "expires_at": 1764000000,'
                ' "refresh_at": 1763999000, "sink": "file:/t"}'
            ),
        ),
        (
            REFUSED,
            (
                '{"timestamp": "NOW", "level": "error", "event": "token.refresh_failed",'
                ' "token": "tiki", "code": "invalid_client",'
                ' "message": "the server does not accept this client", "http_status": 401,'
                ' "failures": 3, "retry_at": 1764000300, "expires_at": 1764003600}'
            ),
        ),
        (
            TokenDeliveryFailed("t", "file:/t", "disk_full", "free some", 1, 2, True, 74),  # noqa: FBT003  # positions are the fields
            (
                '{"timestamp": "NOW", "level": "warning", "event": "token.delivery_failed",'
                ' "token": "t", "sink": "file:/t", "code": "disk_full", "message": "free some",'
                ' "failures": 1, "retry_at": 2}'
            ),
        ),
        (
            TokenExpired("t", "file:/t", 5, 2, 300),
            (
                '{"timestamp": "NOW", "level": "critical", "event": "token.expired", "token": "t",'
                ' "sink": "file:/t", "expires_at": 5, "failures": 2, "min_validity_s": 300}'
            ),
        ),
        (
            ConfigRejected(("tokens.a.scope: no", "tokens.b: no")),
            (
                '{"timestamp": "NOW", "level": "error", "event": "config.rejected",'
                ' "problems": ["tokens.a.scope: no", "tokens.b: no"]}'
            ),
        ),
        (
            ClockStepped(-3600.0),
            '{"timestamp": "NOW", "level": "warning", "event": "clock.stepped", "step_s": -3600.0}',
        ),
        (
            JobCrashed("KeyError", "a.py:1 f\nb.py:2 g"),
            (
                '{"timestamp": "NOW", "level": "critical", "event": "job.crashed",'
                ' "error": "KeyError", "traceback": "a.py:1 f\\nb.py:2 g"}'
            ),
        ),
        (
            JobCrashed("KeyError", "", "tiki"),
            (
                '{"timestamp": "NOW", "level": "critical", "event": "job.crashed",'
                ' "error": "KeyError", "traceback": "", "token": "tiki"}'
            ),
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Event) else "",
)
def test_an_event_is_one_json_line(event: Event, expected: str) -> None:
    """Promise: timestamp, level, event, then the fields in the order of the type."""
    assert line(event) == expected


@pytest.mark.parametrize(
    ("note", "more"), [("", ""), ("without write", ', "note": "without write"')]
)
def test_a_note_is_in_the_line_only_if_there_is_one(note: str, more: str) -> None:
    """What is remarkable about an answer is told with the token; mostly nothing is."""
    event = TokenRefreshed("tiki", "9f2c", 1_764_003_600, "expires_in", 1_764_002_400, 40, 1, note)
    assert line(event) == (
        '{"timestamp": "NOW", "level": "info", "event": "token.refreshed", "token": "tiki", '
        '"fingerprint": "9f2c", "expires_at": 1764003600, "expiry_source": "expires_in", '
        f'"refresh_at": 1764002400, "exchange_ms": 40, "attempts": 1{more}}}'
    )


def test_the_timestamp_is_rfc_3339_in_utc() -> None:
    """Promise: the time of a line is in UTC, with a Z, and to the microsecond."""
    (text,) = lines(JobStarted("0.1.0", 1))
    assert TIMESTAMP.fullmatch(json.loads(text)["timestamp"])


@pytest.mark.fault("secret-in-output")
def test_a_line_stays_one_line() -> None:
    """Promise: no text of a server can forge a second log line."""
    forged = 'x\n{"level": "info", "event": "token.refreshed"}\r\n'
    event = TokenDelivered("tiki", "file:/t", forged, 1)
    assert json.loads(line(event))["fingerprint"] == forged
    assert len(lines(event, log_format="console")) == 1


def test_text_is_readable_in_any_language() -> None:
    """Promise: JSON lines hold UTF-8, not escapes."""
    assert "Lộc" in line(TokenDelivered("Lộc", "file:/t", "fp", 1))


# The console


def test_the_console_line_is_for_people() -> None:
    """Promise: one short line, with the moments as dates."""
    text = line(REFUSED, log_format="console")
    assert text == (
        "NOW [error    ] token.refresh_failed           token=tiki code=invalid_client "
        "message='the server does not accept this client' http_status=401 failures=3 "
        "retry_at=2025-11-24T16:05:00Z expires_at=2025-11-24T17:00:00Z"
    )


def test_the_console_shows_what_is_not_there_and_what_is_no_date() -> None:
    """Promise: a moment that is absent, or beyond all dates, is shown as it is."""
    event = TokenRefreshFailed("t", "timeout", "m", None, 1, 10**18, None, True, 75)  # noqa: FBT003  # positions are the fields
    assert line(event, log_format="console") == (
        "NOW [warning  ] token.refresh_failed           token=t code=timeout message=m "
        "http_status=None failures=1 retry_at=1000000000000000000 expires_at=None"
    )


def test_colours_are_for_terminals() -> None:
    """Promise: escape codes go to a terminal and nowhere else."""
    event = JobStarted("0.1.0", 1)
    assert "\x1b[" in lines(event, log_format="console", stream=Terminal())[0]
    assert "\x1b[" not in lines(event, log_format="console")[0]
    assert "\x1b[" not in lines(event, stream=Terminal())[0]


# The level


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["info", "warning", "error", "critical"]),
        ("info", ["info", "warning", "error", "critical"]),
        ("warning", ["warning", "error", "critical"]),
        ("error", ["error", "critical"]),
        ("critical", ["critical"]),
    ],
)
def test_lines_below_the_level_are_left_out(level: LogLevel, seen: list[str]) -> None:
    """Promise: the level is a floor."""
    events = (
        JobStarted("0.1.0", 1),
        ClockStepped(9.0),
        TokenAtRisk("t", "file:/t", 1, 2, 3),
        TokenExpired("t", "file:/t", 1, 2, 3),
    )
    assert [json.loads(text)["level"] for text in lines(*events, level=level)] == seen


# Secrets


def forms(value: str) -> dict[str, str]:
    """Return the ways in which a value may stand in a text."""
    return {
        "plain": value,
        "url": quote_plus(value),
        "path": quote(value),
        "path in small letters": re.sub("%..", lambda escape: escape[0].lower(), quote(value)),
        "base64": base64.b64encode(value.encode()).decode(),
        "base64url": base64.urlsafe_b64encode(value.encode()).decode(),
        "json": json.dumps(value, ensure_ascii=False)[1:-1],
        "json ascii": json.dumps(value)[1:-1],
    }


SHAPES = ["", '"\\', "'\"", ":+%&=/ ", "é", "a b\tc"]


@pytest.mark.fault("secret-in-output")
@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("form", list(forms("x")))
@pytest.mark.parametrize("shape", SHAPES)
def test_a_live_secret_is_masked(log_format: LogFormat, form: str, shape: str) -> None:
    """Promise: a live secret that got into a field, in whatever form, is not in the line."""
    value = secrets.token_urlsafe(9) + shape + secrets.token_urlsafe(9)
    shown = forms(value)[form]
    events = (
        TokenRefreshFailed("tiki", "code", f"before {shown} after", 1, 1, 1, 1, True, 75),  # noqa: FBT003  # positions are the fields
        ConfigRejected((f"first {shown}", "second")),
        JobCrashed("KeyError", f"{shown}.py:1 f"),
    )
    written = lines(*events, log_format=log_format, live=(Secret(value),))
    assert len(written) == 3
    for text in written:
        assert "***" in text
        assert not [found for found in forms(value).values() if found in text]
        assert repr(value)[1:-1] not in text


def test_the_secrets_asked_for_are_those_of_the_event() -> None:
    """Promise: the secrets of a token are looked up by its name, and all of them without one."""
    asked: list[str | None] = []

    def live_secrets(name: str | None) -> Iterator[Secret]:
        asked.append(name)
        yield Secret("s3cret")

    observe = log_observer(io.StringIO(), "json", "info", live_secrets)
    observe(TokenDelivered("tiki", "file:/t", "fp", 1))
    observe(JobStarted("0.1.0", 1))
    assert asked == ["tiki", None]


@pytest.mark.fault("secret-in-output")
@pytest.mark.parametrize("value", ["e", ":", '"', "{", "token", "info", "2", "", "job.crashed"])
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_poor_secret_breaks_no_line(log_format: LogFormat, value: str) -> None:
    """Promise: a secret like "test" can't hide the level, the event or the shape of a line."""
    event = JobCrashed("KeyError", "x", "tiki")
    text = line(event, log_format=log_format, live=(Secret(value),))
    if log_format == "json":
        document = json.loads(text)
        assert list(document) == ["timestamp", "level", "event", "error", "traceback", "token"]
        assert (document["level"], document["event"]) == ("critical", "job.crashed")
    else:
        assert text.startswith("NOW [critical ] job.crashed")


# Libraries


@pytest.mark.fault("secret-in-output")
@pytest.mark.parametrize(
    "name", ["", "urllib3.connectionpool", "botocore.endpoint", "boto3", "apscheduler.executors"]
)
@pytest.mark.parametrize("level", ["DEBUG", "WARNING", "CRITICAL"])
def test_libraries_are_silent_at_every_level(
    name: str, level: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Promise: our log at debug level holds our events, and nothing that a library says."""
    library, shown = logging.getLogger(name), io.StringIO()
    handler, before = logging.StreamHandler(shown), library.level
    library.addHandler(handler)
    library.setLevel(logging.DEBUG)
    try:
        assert lines(level="debug") == []
        library.log(getattr(logging, level), "Authorization: Basic s3cret")
    finally:
        library.removeHandler(handler)
        library.setLevel(before)
    assert (shown.getvalue(), capfd.readouterr().err) == ("", "")
