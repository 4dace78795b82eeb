"""How every token fares in every sink."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from fakes import START, MemorySink, record
from sinks import file_sink

from job.compose.refreshers import Wiring
from job.compose.token_source import key_of
from job.config import Config, tokens_of
from job.core.clock import system_clock
from job.core.errors import SinkRejected, SinkUnavailable
from job.core.schedule import Policy
from job.core.tokens import OutputFormat, Record
from job.verbs.status import (
    LATE,
    NOT_REFRESHED,
    OTHER_REQUEST,
    Look,
    Row,
    current_record,
    looks,
    rows,
    summary,
    table,
    worst,
)

POLICY = Policy()
LIFE = 3600
DUE = START + 2412
RISK = START + 3300
FINGERPRINT = record().receipt.fingerprint


def look(stored: Record | None, now: float) -> Row:
    """Return how a stored record fares at a moment."""
    return looked(MemorySink("file:/run/one", stored), now)


def looked(sink: MemorySink, now: float) -> Row:
    """Return how the sink of a token fares."""
    (row,) = rows([Look("one", sink, "key", POLICY)], now)
    return row


@pytest.mark.parametrize(
    ("now", "state", "problem", "severity"),
    [
        (START, "current", None, 0),
        (DUE - 1, "current", None, 0),
        (DUE, "due", LATE, 1),
        (RISK - 1, "due", LATE, 1),
        (RISK, "at_risk", LATE, 1),
        (START + LIFE - 1, "at_risk", LATE, 1),
        (START + LIFE, "expired", NOT_REFRESHED, 2),
    ],
)
def test_a_stored_token_is_current_then_due_then_at_risk_then_expired(
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
        START,
    )
    assert row.severity == severity


def test_a_token_of_another_request_is_due() -> None:
    """After a change of the configuration the stored token waits for its replacement."""
    row = look(record(key="other"), START)
    assert (row.state, row.severity) == ("due", 1)
    assert row.problem == OTHER_REQUEST
    assert look(record(key="other"), RISK).state == "at_risk"
    assert look(record(key="other"), START + LIFE).state == "expired"


def test_a_sink_without_a_token_and_one_that_cannot_be_read_are_critical() -> None:
    """Readers have nothing there; the reason is told."""
    missing = look(None, START)
    sink = MemorySink("file:/run/one")
    sink.read_errors.append(SinkRejected("permission_denied", "no right; get it", permission=True))
    unreadable = looked(sink, START)
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
    stored = file_sink(str(tmp_path / "a1.json"), OutputFormat("json", "a"))
    stored.write(record(key=key_of(tokens["a"])))
    found = rows(looks(config, Wiring({}, "host", system_clock)), START)
    assert [(row.token, row.sink, row.state) for row in found] == [
        ("b", f"file:{tmp_path}/b0.json", "missing"),
        ("b", f"file:{tmp_path}/b1.json", "missing"),
        ("a", f"file:{tmp_path}/a0.json", "missing"),
        ("a", f"file:{tmp_path}/a1.json", "current"),
    ]


def test_a_watcher_reads_files_often_and_stores_seldom(tmp_path: Path) -> None:
    """Each sink is read anew when it is old enough; before the first time nothing is known."""
    token = {
        "token_url": "https://as.example/t",
        "client_id": "id",
        "client_secret": {"file": "s"},
        "sinks": [
            {"type": "file", "path": "a"},
            {"type": "aws_secrets_manager", "secret_id": "b", "region": "eu-west-1"},
        ],
    }
    config = Config(tokens_of({"tokens": {"a": token}}), str(tmp_path), "here")
    file, store = looks(config, Wiring({}, "host", system_clock))
    assert (file.every_s, store.every_s) == (2.0, 30.0)
    assert store.row(START) == Row("a", "aws-secrets-manager:b", "unknown")
    assert file.is_old(100.0)
    file.read(100.0)
    assert [file.is_old(boot) for boot in (101.9, 102.0)] == [False, True]


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ("current", ("Every token is good, for at least 1m", "current")),
        ("current due", ("Every token is good, but 1 of 2 tokens waits for a refresh", "due")),
        ("due due", ("Every token is good, but 2 of 2 tokens wait for a refresh", "due")),
        ("current unknown", ("The sinks are being read", "unknown")),
        ("current at_risk due", ("1 of 3 tokens needs you", "at_risk")),
        ("unreadable at_risk current", ("2 of 3 tokens need you", "unreadable")),
    ],
)
def test_the_summary(states: str, told: tuple[str, str]) -> None:
    """One sentence answers whether every token is good, and for how long."""
    found = [Row(f"t{n}", "file:/a", state, left_s=60) for n, state in enumerate(states.split())]
    assert summary(found) == told


def test_the_table_is_for_people() -> None:
    """The worst is first, columns are aligned, times are lengths, and problems are told below."""
    found = [
        look(record(), START + 60),
        Row("longer-name", "file:/a", "current", START + LIFE, 1200, START + 90, "f"),
        Row("longer-name", "file:/b", "due", START + LIFE, 1188, START, "f", "late"),
        Row("gone", "file:/c", "expired", START - 5, -65, START - 900, "f", "not refreshed"),
        Row("risky", "file:/r", "at_risk", START + 60, 0, START, "f", "late"),
        Row("none", "file:/d", "missing", problem="no token"),
        Row("none", "file:/e", "missing", problem="no token"),
    ]
    assert "\n".join(table(found, START + 60)).splitlines() == [
        "3 of 5 tokens need you",
        "",
        "TOKEN        STATE           TIME LEFT       REFRESH     SINK",
        "gone         expired         none for 1m 5s  16m late    file:/c",
        "none         missing         -               -           file:/d",
        "none         missing         -               -           file:/e",
        "risky        at risk         0s              1m late     file:/r",
        "longer-name  refresh is due  19m 48s         1m late     file:/b",
        "longer-name  good            20m             in 30s      file:/a",
        "one          good            59m             in 39m 12s  file:/run/one",
        "",
        "gone: not refreshed",
        "none: no token",
        "risky: late",
        "longer-name: late",
    ]


def test_a_table_without_problems_is_the_table_alone() -> None:
    """Good news is short."""
    assert list(table([look(record(), START)], START)) == [
        "Every token is good, for at least 1h",
        "",
        "TOKEN  STATE  TIME LEFT  REFRESH     SINK",
        "one    good   1h         in 40m 12s  file:/run/one",
    ]


def test_the_json_is_documented() -> None:
    """Each key of a row is explained in docs/monitoring.md, in its order, and no other."""
    page = (Path(__file__).parent.parent / "docs" / "monitoring.md").read_text("utf-8")
    documented = page.partition("| key | meaning |")[2]
    keys = re.findall(r"^\| `(\w+)` \|", documented, re.MULTILINE)
    assert keys == [field.name for field in fields(Row)]


def test_the_table_is_plain_ascii() -> None:
    """What is piped may be read by anything: no marks, no lines, no colours."""
    found = [look(record(), START), look(None, START), Row("a", "file:/a", "unreadable")]
    assert "\n".join(table(found, START)).isascii()


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
