"""Play seeds: `PYTHONPATH=tests .venv/bin/python -m simulation --seed 7` from the root."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from simulation.defects import DEFECTS, Defect
from simulation.faults import read_script
from simulation.many_tokens import play_many_tokens
from simulation.play import Outcome, play
from simulation.readers import Tally
from simulation.scenario import Scenario, scenario_of
from simulation.table import HEAD, row, story, totals

YEAR_DAYS = 365.0


def main(arguments: Sequence[str]) -> int:
    """Play what is asked for, print a table and return 1 if a promise was broken."""
    options = _options(arguments)
    seeds: Sequence[int] = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        seeds = [options.seed]
    began, broken, played = time.monotonic(), 0, 0
    tallies = {"mild": Tally(), "rough": Tally(), "many": Tally()}
    _say(HEAD)
    for outcome in _outcomes(seeds, options):
        played += not outcome.has_many_tokens
        tallies[outcome.kind].add(outcome.tally)
        broken += bool(outcome.breach)
        if not outcome.has_many_tokens:
            _say(row(outcome))
        if outcome.breach:
            _say(story(outcome, options.lines, _command(outcome, options)))
    years = played * options.days / YEAR_DAYS
    _say(totals(tallies, years, broken, time.monotonic() - began))
    return 1 if broken else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this seed alone")
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--days", type=float, default=YEAR_DAYS, help="length of each run")
    parser.add_argument("--defect", choices=sorted(DEFECTS), help="put a defect into the job")
    parser.add_argument("--script", type=Path, help="a file of faults in place of the seed's own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--lines", type=int, default=40, help="of the history before a breach")
    return parser.parse_args(arguments)


def _outcomes(seeds: Sequence[int], options: argparse.Namespace) -> Iterator[Outcome]:
    scenarios = [scenario_of(seed, options.days) for seed in seeds]
    if options.script:
        text = options.script.read_text(encoding="utf-8")
        scenarios = [_scripted(scenario, text) for scenario in scenarios]
    play_one = partial(_play, defect=options.defect)
    if options.jobs == 1 or len(seeds) == 1:
        pairs = map(play_one, scenarios)
        yield from (outcome for pair in pairs for outcome in pair)
    else:
        with ProcessPoolExecutor(options.jobs) as pool:
            yield from (outcome for pair in pool.map(play_one, scenarios) for outcome in pair)


def _play(scenario: Scenario, defect: str | None) -> tuple[Outcome, Outcome]:
    """Play a scenario, and the many tokens of its seed."""
    parts = DEFECTS[defect] if defect else Defect("", ())
    return play(scenario, parts.refresher), play_many_tokens(scenario.seed, parts.sweep)


def _scripted(scenario: Scenario, text: str) -> Scenario:
    spells = tuple(read_script(text, scenario.begin))
    return replace(scenario, spells=spells, is_mild=False)


def _command(outcome: Outcome, options: argparse.Namespace) -> str:
    """Return the command that shows a breach again."""
    more = f" --script {options.script}" if options.script else ""
    more += f" --defect {options.defect}" if options.defect else ""
    command = f"-m simulation --seed {outcome.scenario.seed} --days {options.days:g}{more}"
    return f"PYTHONPATH=tests {sys.executable} {command}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
