"""What `freshtoken status` shows of every token."""

import re
from pathlib import Path

import pytest
from fakes import START, MemorySink, record
from loading import tokens_of
from sinks import file_sink

from job.compose.token_source import key_of
from job.compose.tools import Tools
from job.config import Config
from job.core.clock import system_clock
from job.core.errors import SinkRejected, SinkUnavailable
from job.core.schedule import Policy
from job.core.tokens import OutputFormat, Record
from job.observe.status import SinkStatus, TokenState, TokenStatus, Trouble, headline, severity
from job.verbs.get import current_record
from job.verbs.status_read import (
    LATE,
    NOT_REFRESHED,
    OTHER_REQUEST,
    Look,
    looks,
    rows,
    statuses,
    table,
)

POLICY = Policy()
LIFE = 3600
DUE = START + 2412
RISK = START + 3300
FINGERPRINT = record().receipt.fingerprint


def look(stored: Record | None, now: float) -> TokenStatus:
    """Return the status of a token with a stored record at a moment."""
    return looked(MemorySink("file:/run/one", stored), now)


def looked(sink: MemorySink, now: float) -> TokenStatus:
    """Read the sink of a token."""
    found = Look("one", sink, "key", POLICY)
    found.read(0.0)
    (status,) = statuses([found], now)
    return status


def made(name: str, *sinks: SinkStatus) -> TokenStatus:
    """Make the status of a token."""
    return TokenStatus(name=name, sinks=sinks)


def trouble(message: str) -> Trouble:
    """Make a trouble that stands in no table of codes."""
    return Trouble(START, "", message)


@pytest.mark.parametrize(
    ("now", "state", "since", "problem", "code"),
    [
        (START, "current", START, None, 0),
        (DUE - 1, "current", START, None, 0),
        (DUE, "due", DUE, LATE, 1),
        (RISK - 1, "due", DUE, LATE, 1),
        (RISK, "at_risk", RISK, LATE, 1),
        (START + LIFE - 1, "at_risk", RISK, LATE, 1),
        (START + LIFE, "expired", START + LIFE, NOT_REFRESHED, 2),
    ],
)
def test_a_stored_token_is_current_then_due_then_at_risk_then_expired(
    now: int, state: TokenState, since: int, problem: str | None, code: int
) -> None:
    """The state follows from the stored times alone, with exact edges."""
    status = look(record(), now)
    assert status.sinks == (
        SinkStatus(
            "file:/run/one",
            state,
            START + LIFE,
            since,
            obtained_at=START,
            refresh_at=DUE,
            fingerprint=FINGERPRINT,
            held=True,
            trouble=Trouble(now, "", problem) if problem else None,
        ),
    )
    assert list(rows([status], now)) == [
        {
            "token": "one",
            "sink": "file:/run/one",
            "state": state,
            "expires_at": START + LIFE,
            "left_s": START + LIFE - now,
            "refresh_at": DUE,
            "fingerprint": FINGERPRINT,
            "problem": problem,
            "obtained_at": START,
        }
    ]
    assert severity([status]) == code


def test_a_token_of_another_request_is_due() -> None:
    """After a change of the configuration the stored token waits for its replacement."""
    status = look(record(key="other"), START)
    (sink,) = status.sinks
    assert (status.state, sink.held, sink.since, severity([status])) == ("due", False, None, 1)
    assert sink.trouble == trouble(OTHER_REQUEST)
    assert look(record(key="other"), RISK).state == "at_risk"
    assert look(record(key="other"), START + LIFE).state == "expired"


def test_a_sink_without_a_token_and_one_that_cannot_be_read_are_critical() -> None:
    """Readers have nothing there; the reason is told."""
    missing = look(None, START)
    sink = MemorySink("file:/run/one")
    sink.read_errors.append(SinkRejected("permission_denied", "no right; get it", permission=True))
    unreadable = looked(sink, START)
    never = trouble("no token has been stored yet; run `freshtoken once`")
    denied = Trouble(START, "permission_denied", "no right; get it")
    assert missing.sinks == (SinkStatus("file:/run/one", "missing", trouble=never),)
    assert unreadable.sinks == (SinkStatus("file:/run/one", "unreadable", trouble=denied),)
    assert (never.cause, never.cure) == ("no token has been stored yet", "run `freshtoken once`")
    assert (severity([missing]), severity([unreadable])) == (2, 2)


def test_the_exit_status_is_that_of_the_worst_sink() -> None:
    """One bad sink is enough, and nothing to show is critical."""
    good, late, none = look(record(), START), look(record(), DUE), look(None, START)
    assert [severity(found) for found in ([good], [good, late], [good, none, late])] == [0, 1, 2]
    assert severity([made("a", SinkStatus("b", "at_risk"), SinkStatus("c", "unknown"))]) == 2
    assert severity([]) == 2


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
        },
        str(tmp_path),
    )
    config = Config(tokens, "here")
    stored = file_sink(str(tmp_path / "a1.json"), OutputFormat("json", "a"))
    stored.write(record(key=key_of(tokens["a"])))
    found = looks(config, Tools({}, "host", system_clock))
    for one in found:
        one.read(0.0)
    shown = rows(statuses(found, START), START)
    assert [(row["token"], row["sink"], row["state"]) for row in shown] == [
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
    config = Config(tokens_of({"tokens": {"a": token}}, str(tmp_path)), "here")
    file, store = looks(config, Tools({}, "host", system_clock))
    assert (file.every_s, store.every_s) == (2.0, 30.0)
    assert store.status(START) == SinkStatus("aws-secrets-manager:b", "unknown")
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
    late = trouble(LATE)
    sinks: dict[str, SinkStatus] = {
        "current": SinkStatus("file:/a", "current", START + 60),
        "due": SinkStatus("file:/a", "due", START + 60, trouble=late),
        "at_risk": SinkStatus("file:/a", "at_risk", START + 60, trouble=late),
        "unknown": SinkStatus("file:/a", "unknown"),
        "unreadable": SinkStatus("file:/a", "unreadable"),
    }
    found = [made(f"t{n}", sinks[state]) for n, state in enumerate(states.split())]
    assert headline(found, START) == told


def test_the_table_is_for_people() -> None:
    """The worst is first, columns are aligned, times are lengths, and problems are told below."""
    now = START + 60
    none = trouble("no token")
    late = SinkStatus("file:/b", "due", now + 1188, refresh_at=START, trouble=trouble("late"))
    found = [
        look(record(), now),
        made(
            "longer-name", SinkStatus("file:/a", "current", now + 1200, refresh_at=now + 30), late
        ),
        made(
            "gone",
            SinkStatus(
                "file:/c",
                "expired",
                START - 5,
                refresh_at=START - 900,
                trouble=trouble("not refreshed"),
            ),
        ),
        made(
            "risky",
            SinkStatus("file:/r", "at_risk", now, refresh_at=START, trouble=trouble("late")),
        ),
        made(
            "none",
            SinkStatus("file:/d", "missing", trouble=none),
            SinkStatus("file:/e", "missing", trouble=none),
        ),
    ]
    assert "\n".join(table(found, now)).splitlines() == [
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
    (row,) = rows([look(record(), START)], START)
    assert keys == list(row)


def test_the_table_is_plain_ascii() -> None:
    """What is piped may be read by anything: no marks, no lines, no colours."""
    found = [
        look(record(), START),
        look(None, START),
        made("a", SinkStatus("file:/a", "unreadable")),
    ]
    assert "\n".join(table(found, START)).isascii()


def test_a_long_problem_is_wrapped() -> None:
    """What is to be done stays readable at 80 columns."""
    long = SinkStatus("file:/b", "missing", trouble=trouble("word " * 20))
    lines = list(table([made("one", long)], START))
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
