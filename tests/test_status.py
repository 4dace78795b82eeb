"""How every token fares in every sink."""

from pathlib import Path

import pytest
from fakes import START, MemorySink, record

from job.clock import system_clock
from job.config import Config, tokens_of
from job.errors import SinkRejected, SinkUnavailable
from job.schedule import Policy
from job.sinks.file import FileSink
from job.sources import key_of
from job.status import Row, current_record, row_of, rows, table, worst
from job.tokens import OutputFormat, Record
from job.wire import Wiring

POLICY = Policy()
LIFE = 3600
DUE = START + 2412
FINGERPRINT = record().receipt.fingerprint


def look(stored: Record | None, now: float) -> Row:
    """Return how a stored record fares at a moment."""
    return row_of("one", MemorySink("file:/run/one", stored), "key", POLICY, now)


@pytest.mark.parametrize(
    ("now", "state", "problem", "severity"),
    [
        (START, "current", None, 0),
        (DUE - 1, "current", None, 0),
        (DUE, "due", "its refresh is late: see the log of `freshtoken run`", 1),
        (START + LIFE - 1, "due", "its refresh is late: see the log of `freshtoken run`", 1),
        (
            START + LIFE,
            "expired",
            "it is not being refreshed: see the log of `freshtoken run`",
            2,
        ),
    ],
)
def test_a_stored_token_is_current_then_due_then_expired(
    now: int, state: str, problem: str | None, severity: int
) -> None:
    """The state follows from the stored times alone, with exact edges."""
    row = look(record(), now)
    assert row == Row(
        "one",
        "file:/run/one",
        state,
        START + LIFE,
        START + LIFE - now,
        DUE,
        FINGERPRINT,
        problem,
    )
    assert row.severity == severity


def test_a_token_of_another_request_is_due() -> None:
    """After a change of the configuration the stored token waits for its replacement."""
    row = look(record(key="other"), START)
    assert (row.state, row.severity) == ("due", 1)
    assert row.problem == "it was got for another request: the configuration has changed since"
    assert look(record(key="other"), START + LIFE).state == "expired"


def test_a_sink_without_a_token_and_one_that_cannot_be_read_are_critical() -> None:
    """Readers have nothing there; the reason is told."""
    missing = look(None, START)
    sink = MemorySink("file:/run/one")
    sink.read_errors.append(SinkRejected("permission_denied", "no right; get it", permission=True))
    unreadable = row_of("one", sink, "key", POLICY, START)
    assert missing == Row(
        "one",
        "file:/run/one",
        "missing",
        problem="no token has been stored yet; run `freshtoken once`",
    )
    assert unreadable == Row("one", "file:/run/one", "unreadable", problem="no right; get it")
    assert (missing.severity, unreadable.severity) == (2, 2)


def test_the_exit_status_is_the_worst_row() -> None:
    """One bad row is enough, and nothing to show is critical."""
    good, late = look(record(), START), look(record(), DUE)
    assert [worst([good]), worst([good, late]), worst([good, look(None, START), late])] == [0, 1, 2]
    assert worst([]) == 2


def test_every_sink_of_every_token_has_a_row(tmp_path: Path) -> None:
    """Rows come in the order of the configuration, each with its own request key."""
    base = {"token_url": "https://as.example/t", "client_secret": {"file": "s"}}
    tokens = tokens_of(
        {
            "tokens": {
                name: {
                    **base,
                    "client_id": name,
                    "sinks": [{"type": "file", "path": f"{name}{n}.json"} for n in range(2)],
                }
                for name in ("b", "a")
            }
        }
    )
    config = Config(tokens, str(tmp_path), "here")
    stored = FileSink(str(tmp_path / "a1.json"), OutputFormat("json", "a"))
    stored.write(record(key=key_of(tokens["a"])))
    found = rows(config, Wiring({}, "host", system_clock), START)
    assert [(row.token, row.sink, row.state) for row in found] == [
        ("b", f"file:{tmp_path}/b0.json", "missing"),
        ("b", f"file:{tmp_path}/b1.json", "missing"),
        ("a", f"file:{tmp_path}/a0.json", "missing"),
        ("a", f"file:{tmp_path}/a1.json", "current"),
    ]


def test_the_table_is_for_people() -> None:
    """Columns are aligned, times are lengths, and each problem is told once, below."""
    found = [
        look(record(), START + 60),
        look(record(), START + 60 - 0.5),
        Row("longer-name", "file:/b", "due", START + LIFE, 1188, START, "f", "late"),
        Row("gone", "file:/c", "expired", START - 5, -65, START - 900, "f", "not refreshed"),
        Row("none", "file:/d", "missing", problem="no token"),
        Row("none", "file:/e", "missing", problem="no token"),
    ]
    assert "\n".join(table(found, START + 60)).splitlines() == [
        "TOKEN        STATE    TIME LEFT  REFRESH     SINK",
        "one          current  59m        in 39m 12s  file:/run/one",
        "one          current  59m        in 39m 12s  file:/run/one",
        "longer-name  due      19m 48s    1m late     file:/b",
        "gone         expired  none       16m late    file:/c",
        "none         missing  -          -           file:/d",
        "none         missing  -          -           file:/e",
        "",
        "longer-name: late",
        "gone: not refreshed",
        "none: no token",
    ]


def test_a_table_without_problems_is_the_table_alone() -> None:
    """Good news is short."""
    assert len(list(table([look(record(), START)], START))) == 2


def test_a_long_problem_is_wrapped() -> None:
    """What is to be done stays readable at 80 columns."""
    lines = list(table([Row("one", "file:/b", "missing", problem="word " * 20)], START))
    assert all(len(line) <= 80 for line in "\n".join(lines).splitlines())


def test_the_current_record_is_the_first_valid_one() -> None:
    """Sinks that are empty, expired or can't be read are passed over."""
    broken = MemorySink("a")
    broken.read_errors.append(SinkUnavailable("io_error", "disk"))
    expired, good = MemorySink("c", record("old", START - LIFE)), MemorySink("d", record("good"))
    assert current_record([broken, MemorySink("b"), expired, good], START) == (record("good"), [])


def test_without_a_valid_record_the_errors_are_told() -> None:
    """No token and no errors, or no token and why it could not be read."""
    denied, down = SinkRejected("denied", "no right"), SinkUnavailable("io_error", "disk")
    first, second = MemorySink("a"), MemorySink("b")
    first.read_errors.append(denied)
    second.read_errors.append(down)
    assert current_record([first, second], START) == (None, [denied, down])
    assert current_record([MemorySink("a", record("old", START - LIFE))], START) == (None, [])
