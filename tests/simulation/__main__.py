"""Play seeds: `PYTHONPATH=tests .venv/bin/python -m simulation --seed 7` from the root."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from job.refresh import Refresher
from simulation.play import Outcome, play
from simulation.readers import Tally
from simulation.scenario import Scenario, scenario_of
from simulation.weather import read_script

YEAR_DAYS = 365.0


def main(arguments: Sequence[str], refresher: type[Refresher] = Refresher) -> int:
    """Play what is asked for, print the totals and return 1 if a promise was broken."""
    options = _options(arguments)
    seeds: Sequence[int] = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        seeds = [options.seed]
    began, broken, total, played = time.monotonic(), 0, Tally(), 0
    for outcome in _outcomes(seeds, options, refresher):
        played += 1
        total.add(outcome.tally)
        broken += bool(outcome.breach)
        if outcome.breach:
            _say(story(outcome, options))
        elif options.seed is not None:
            _say(f"seed {options.seed}: {outcome.scenario}")
    years = played * options.days / YEAR_DAYS
    _say(summary(total, years, broken, time.monotonic() - began))
    return 1 if broken else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this seed alone")
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--days", type=float, default=YEAR_DAYS, help="length of each run")
    parser.add_argument("--script", type=Path, help="a file of faults in place of the seed's own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--lines", type=int, default=40, help="of the history before a breach")
    return parser.parse_args(arguments)


def _outcomes(
    seeds: Sequence[int], options: argparse.Namespace, refresher: type[Refresher]
) -> Iterator[Outcome]:
    scenarios = [scenario_of(seed, options.days) for seed in seeds]
    if options.script:
        text = options.script.read_text(encoding="utf-8")
        scenarios = [_scripted(scenario, text) for scenario in scenarios]
    if options.jobs == 1 or len(seeds) == 1:
        yield from (play(scenario, refresher) for scenario in scenarios)
    else:
        with ProcessPoolExecutor(options.jobs) as pool:
            yield from pool.map(partial(play, refresher=refresher), scenarios)


def _scripted(scenario: Scenario, text: str) -> Scenario:
    spells = tuple(read_script(text, scenario.begin))
    return replace(scenario, spells=spells, is_mild=False)


def story(outcome: Outcome, options: argparse.Namespace) -> str:
    """Return how a promise was broken, and how to see it again."""
    command = f"-m simulation --seed {outcome.scenario.seed} --days {options.days:g}"
    script = f" --script {options.script}" if options.script else ""
    return "\n".join(
        (
            f"seed {outcome.scenario.seed} breaks {outcome.breach}",
            f"  {outcome.scenario}",
            *(f"  {_date(m.at)} {m.who:9} {m.what}" for m in outcome.history[-options.lines :]),
            f"replay: PYTHONPATH=tests {sys.executable} {command}{script}",
        )
    )


def summary(total: Tally, years: float, broken: int, took_s: float) -> str:
    """Return the totals, in words and seconds."""
    return "\n".join(
        (
            f"{years:.1f} token-years in {took_s:.0f} s; seeds that broke a promise: {broken}",
            f"  read by readers                {total.read_s / 86_400:14.1f} days",
            f"  without any valid token        {total.without_s:14.0f} s",
            f"  with less than min_validity    {total.low_s:14.0f} s",
            f"  before the first token         {total.waiting_s:14.0f} s",
            f"  requests to the server         {total.requests:14d}",
            f"  tokens that it gave            {total.minted:14d}",
            f"  writes                         {total.writes:14d}",
            f"  versions of secrets            {total.versions:14d}",
            f"  crashes                        {total.crashes:14d}",
            f"  slowest recovery when all well {total.slowest_s:14.1f} s",
        )
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


if __name__ == "__main__":
    # A zone with daylight saving: nothing may depend on it.
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    sys.exit(main(sys.argv[1:]))
