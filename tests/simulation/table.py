"""What a run prints: a row for each seed, the story of a breach, and the totals."""

from collections.abc import Mapping
from datetime import UTC, datetime

from simulation.play import Outcome
from simulation.readers import Tally

HEAD = (
    "  seed without s  low s start s requests tokens writes versions deaths spare "
    "recovery s  what it stands for"
)
COUNTS: Mapping[str, str] = {
    "read_s": "seconds of readers",
    "without_s": "of these without a valid token",
    "low_s": "of these with less than min_validity",
    "waiting_s": "seconds before the first token",
    "requests": "requests to the server",
    "minted": "tokens that it gave",
    "writes": "writes",
    "versions": "versions of secrets",
    "crashes": "deaths of a process",
    "spare": "tokens got again after one",
    "slowest_s": "slowest recovery, in seconds",
    "slowest_start_s": "latest start of a step, in seconds",
}


def row(outcome: Outcome) -> str:
    """Return what is counted of one seed, in the columns of HEAD."""
    seed, tally = outcome.scenario.seed, outcome.tally
    return (
        f"{seed:6d} {tally.without_s:9.0f} {tally.low_s:6.0f} {tally.waiting_s:7.0f} "
        f"{tally.requests:8d} {tally.minted:6d} {tally.writes:6d} {tally.versions:8d} "
        f"{tally.crashes:6d} {tally.spare:5d} {tally.slowest_s:10.1f}  {outcome.scenario}"
    )


def story(outcome: Outcome, lines: int, command: str) -> str:
    """Return how a promise was broken, and how to see it again."""
    moments = (f"  {_date(m.at)} {m.who:9} {m.what}" for m in outcome.history[-lines:])
    seed = outcome.scenario.seed
    return "\n".join((f"seed {seed} breaks {outcome.breach}", *moments, f"replay: {command}"))


def totals(tallies: Mapping[str, Tally], years: float, broken: int, took_s: float) -> str:
    """Return the sums, by kind of scenario, in words and seconds."""
    lines = [
        f"{years:.1f} token-years in {took_s:.0f} s; runs that broke a promise: {broken}",
        f"{'':36}" + "".join(f"{kind:>12}" for kind in tallies),
    ]
    for field, name in COUNTS.items():
        counts = (getattr(tally, field) for tally in tallies.values())
        lines.append(f"{name:36}" + "".join(f"{count:12.0f}" for count in counts))
    return "\n".join(lines)


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
