import re
from pathlib import Path

import pytest
from fakes import START, FakeClock, MemorySink, ScriptedSource, token

from job import __version__
from job.core.errors import EndpointUnavailable, SinkUnavailable
from job.core.events import JobStarted, TokenRefreshed
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.observe.metrics import Metrics
from job.observe.status_board import StatusBoard

DOWN = EndpointUnavailable("timeout", "no answer in time")
FULL = SinkUnavailable("disk_full", "no space is left")


class Night:
    """A token in two sinks, its board and its metrics."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sinks = [MemorySink("file:/run/a"), MemorySink("file:/run/b")]
        again = token(requested_at=START + 2413, life=1187)
        script = (token(), DOWN, again, token("tok-2", START + 3300))
        source = ScriptedSource(*script)
        plan = Plan(Policy(jitter=0.0), "")
        self.refresher = Refresher("tiki", source, self.sinks, plan, "key", self.clock)
        board = StatusBoard(lambda: {"tiki": self.refresher}, str, self.clock)
        self.metrics = Metrics(board.statuses)

    def play(self, seconds: float = 0.0) -> None:
        """Let time pass and step."""
        self.clock.advance(seconds)
        for event in self.refresher.step():
            self.metrics.observe(event)


def told(metrics: Metrics) -> dict[str, float]:
    """Return our own samples, by name and labels."""
    text, _ = metrics.exposition()
    lines = re.findall(r"^(freshtoken_\S+(?:\{.*\})?) (\S+)$", text.decode(), re.MULTILINE)
    return {name: float(value) for name, value in lines if "_created" not in name}


def gauges(
    expiry: dict[str, float], refresh: float, current: float, fails: float
) -> dict[str, float]:
    """Return the gauges of the token."""
    name = "freshtoken_token_expiry_timestamp_seconds"
    return {
        **{f'{name}{{sink="{sink}",token="tiki"}}': value for sink, value in expiry.items()},
        'freshtoken_token_refresh_timestamp_seconds{token="tiki"}': refresh,
        'freshtoken_token_current{token="tiki"}': current,
        'freshtoken_token_min_validity_seconds{token="tiki"}': 300,
        'freshtoken_consecutive_failures{token="tiki"}': fails,
        f'freshtoken_build_info{{version="{__version__}"}}': 1,
    }


def histogram(*cumulative: float, seconds: float) -> dict[str, float]:
    """Return the samples of the duration: the count up to each bound."""
    name = "freshtoken_exchange_duration_seconds"
    bounds = ("0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "+Inf")
    buckets = zip(bounds, cumulative, strict=True)
    return {
        **{f'{name}_bucket{{le="{bound}"}}': count for bound, count in buckets},
        f"{name}_count": cumulative[-1],
        f"{name}_sum": seconds,
    }


def exchanges(**counts: float) -> dict[str, float]:
    """Return the counter of exchanges."""
    name = "freshtoken_exchanges_total"
    return {
        f'{name}{{outcome="{outcome}",token="tiki"}}': count for outcome, count in counts.items()
    }


def writes(sink: str, **counts: float) -> dict[str, float]:
    """Return the counter of writes to one sink."""
    name = "freshtoken_sink_writes_total"
    return {
        f'{name}{{outcome="{outcome}",sink="{sink}",token="tiki"}}': count
        for outcome, count in counts.items()
    }


def test_before_the_first_look() -> None:
    """A token that nobody has looked at is not said to be missing, nor to be there."""
    assert told(Night().metrics) == {
        **gauges({}, START, 0, 0),
        **histogram(*[0] * 10, seconds=0),
    }


def test_a_night() -> None:
    """Gauges follow the clock and the sinks, counters count each outcome once."""
    night = Night()
    night.sinks[1].write_errors = [FULL]
    night.play()
    assert told(night.metrics) == {
        **gauges({"file:/run/a": START + 3600, "file:/run/b": 0}, START + 2412, 0, 1),
        **exchanges(success=1),
        **writes("file:/run/a", success=1),
        **writes("file:/run/b", disk_full=1),
        **histogram(*[1] * 10, seconds=0),
    }
    night.play(1)
    night.play(2411)  # the endpoint is down
    night.play(1)  # the same token again
    night.play(887)  # a new one
    both = {"file:/run/a": START + 6900, "file:/run/b": START + 6900}
    assert told(night.metrics) == {
        **gauges(both, START + 3300 + 2412, 1, 0),
        **exchanges(success=2, timeout=1, unchanged=1),
        **writes("file:/run/a", success=2),
        **writes("file:/run/b", disk_full=1, success=2),
        **histogram(*[2] * 10, seconds=0),
    }


def test_how_long_exchanges_take() -> None:
    """A duration counts in each bucket that is not below it."""
    metrics = Night().metrics
    metrics.observe(TokenRefreshed("tiki", "f", START + 3600, "expires_in", START, 400, 1))
    samples = told(metrics)
    expected = histogram(0, 0, 0, 1, 1, 1, 1, 1, 1, 1, seconds=0.4)
    assert {name: samples[name] for name in expected} == expected


def test_an_event_of_the_whole_job_counts_nothing() -> None:
    """Only what happens to tokens is counted."""
    night = Night()
    before = told(night.metrics)
    night.metrics.observe(JobStarted("1", 1))
    assert told(night.metrics) == before


def test_the_formats() -> None:
    """Prometheus gets the format that it asks for."""
    metrics = Night().metrics
    assert metrics.exposition()[1].startswith("text/plain")
    body, kind = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_counters_go_on_from_run_to_run(tmp_path: Path) -> None:
    """`once` under cron adds to what the runs before it have counted."""
    path = str(tmp_path / "freshtoken.prom")
    counted: dict[str, float] = {}
    for _ in range(2):
        night = Night()
        night.metrics.restore(path)
        night.play()
        night.metrics.write(path)
        counted = told(night.metrics)
    assert counted == {
        **gauges({"file:/run/a": START + 3600, "file:/run/b": START + 3600}, START + 2412, 1, 0),
        **exchanges(success=2),
        **writes("file:/run/a", success=2),
        **writes("file:/run/b", success=2),
        **histogram(*[2] * 10, seconds=0),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["freshtoken.prom"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"freshtoken_exchanges_total{",
        b"freshtoken_exchanges_total NaN\nfreshtoken_exchanges_total -1\n",
        b'freshtoken_exchange_duration_seconds_bucket{le="7"} 1\nother_total 3\n',
    ],
)
def test_a_file_that_is_no_use_counts_nothing(tmp_path: Path, content: bytes) -> None:
    """A damaged file costs the counters, never the run."""
    path = tmp_path / "freshtoken.prom"
    path.write_bytes(content)
    metrics = Night().metrics
    metrics.restore(str(path))
    assert told(metrics) == told(Night().metrics)
