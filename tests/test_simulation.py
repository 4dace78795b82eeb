"""The simulated years of tests/simulation: seeds that keep all promises, defects that do not."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulation.__main__ import main
from simulation.endpoint import Lives
from simulation.play import Outcome, play
from simulation.scenario import Actor, Scenario, scenario_of
from simulation.weather import KINDS, kinds_at, read_script

from job.errors import ExchangeError, SinkError
from job.refresh import Refresher
from job.schedule import Policy
from job.tokens import Record

DAYS = 8.0
SEEDS = (5, 11, 32, 45, 46, 63, 80, 92, 100, 103, 106, 131, 142, 150, 151, 157)
"""Chosen to be quick, and to have every kind of server, store, process and fault among them."""
DAY_S = 86_400.0
MEMORY = ("memory",)
TWO = ("memory", "memory")
REVOKING: dict[str, Any] = {"manner": "revoking", "policy": Policy(reissue="revokes_previous")}


def ending(outcome: Outcome) -> str:
    """Return how a run ended, with the last lines of its history."""
    lines = [f"{moment.at:.3f} {moment.who} {moment.what}" for moment in outcome.history[-20:]]
    return "\n".join((outcome.breach, str(outcome.scenario), *lines))


def night(script: str, **more: Any) -> Scenario:  # noqa: ANN401  # any field of Scenario
    """Make a scenario of one day and one process, with these faults; `more` replaces any field."""
    fields: dict[str, Any] = {"actors": (Actor(0),), "is_mild": False, "layout": "json"} | more
    scenario = replace(scenario_of(4, days=1.0), **fields)
    return replace(scenario, spells=tuple(read_script(script, scenario.begin)))


class MarginOnly(Refresher):
    """A defect: it renews a day before expiry, whatever the life is."""

    def _exchange(self) -> None:
        super()._exchange()
        if self._state.record:
            due_at = self._state.record.token.expires_at - DAY_S
            self._state = replace(self._state, due_at=due_at)


class MintsAgain(Refresher):
    """A defect: what a sink would not take is thrown away."""

    def _not_delivered(self, position: int, error: SinkError) -> None:
        super()._not_delivered(position, error)
        self._state = replace(self._state, due_at=0.0)


class MissesWakeUp(Refresher):
    """A defect: now and then it is not woken for a day."""

    sleeps = 0

    def wait_s(self) -> float:
        self.sleeps += 1
        return super().wait_s() + (DAY_S if self.sleeps % 20 == 0 else 0.0)


class AsksAtOnce(Refresher):
    """A defect: it does not back off."""

    def _refresh_failed(self, error: ExchangeError) -> None:
        super()._refresh_failed(error)
        self._state = replace(self._state, retry_at=0.0)


class WritesTheFirst(Refresher):
    """A defect: a sink gets the token that was in hand first, however old that is."""

    first: Record | None = None

    def _write(self, position: int) -> None:
        self.first = self.first or self._state.record
        now, self._state = self._state, replace(self._state, record=self.first)
        super()._write(position)
        self._state = replace(self._state, record=now.record)


class TellsTheToken(Refresher):
    """A defect: a token is in an event."""

    def _dates(self, record: Record) -> tuple[str, int, int]:
        return (record.token.access_token.reveal(), *super()._dates(record)[1:])


class RaisesNoAlarm(Refresher):
    """A defect: nobody is told that readers have an old token."""

    def _raise_alarm(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("seed", SEEDS)
def test_the_promises_hold(seed: int) -> None:
    """Through days of faults, no invariant of simulation/audit.py is broken."""
    outcome = play(scenario_of(seed, DAYS))
    assert not outcome.breach, ending(outcome)
    assert outcome.tally.writes


def test_every_fault_has_its_turn() -> None:
    """The fixed seeds meet every kind of fault that the simulation knows."""
    spells = [spell for seed in SEEDS for spell in scenario_of(seed, DAYS).spells]
    for place in KINDS:
        kinds = {spell.kind for spell in spells if spell.place.startswith(place)}
        assert kinds == set(kinds_at(place))


@pytest.mark.parametrize(
    ("defect", "seeds", "invariant"),
    [
        pytest.param(MarginOnly, SEEDS, "I5", id="margin larger than life"),
        pytest.param(MintsAgain, (9, 22, 29, 131), "I5", id="sink failure mints again"),
        pytest.param(MissesWakeUp, (5, 46, 92, 131), "I6", id="missed wake-up"),
        pytest.param(WritesTheFirst, (1, 9, 32, 131), "I2", id="an older token written"),
        pytest.param(AsksAtOnce, (3, 18), "I4", id="no backoff"),
        pytest.param(TellsTheToken, (5, 46, 92, 131), "I7", id="a token in an event"),
        pytest.param(RaisesNoAlarm, (3, 5, 6, 14), "I9", id="no alarm"),
    ],
)
def test_defects_are_caught(
    defect: type[Refresher], seeds: tuple[int, ...], invariant: str
) -> None:
    """Each of these seeds tells the defect put in by hand from the real thing."""
    for seed in seeds:
        assert play(scenario_of(seed, DAYS), defect).breach.startswith(invariant), seed


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(
            night("3000 600 sink1 full", stores=TWO, **REVOKING),
            id="a new token kills the one in a full store",
        ),
        pytest.param(
            night("3000 300 endpoint truncated", stores=MEMORY, **REVOKING),
            id="a lost answer kills the token that readers have",
        ),
        pytest.param(
            night("100 2900 clock0 off 7200\n2200 4000 sink0 full", stores=MEMORY),
            id="a full store while the clock is set back",
        ),
        pytest.param(
            night("2000 1800 sink0 throttled\n2100 5 process0 kill 0", stores=TWO),
            id="a start with a store that can't be read",
        ),
        pytest.param(
            night(
                "0 600 clock0 off 3600\n500 4500 sink1 denied",
                stores=TWO,
                lives=Lives(DAY_S, DAY_S, 900),
                **REVOKING,
            ),
            id="a store comes back with a token that looks newer than it is",
        ),
        pytest.param(
            night(
                "2000 9000 sink0 lost_answer\n4300 6000 endpoint down",
                stores=("cloud",),
                layout="raw",
            ),
            id="the answers of AWS are lost, and then the server is down",
        ),
        pytest.param(
            night(
                "1900 700 sink0 lost_answer",
                stores=("cloud",),
                layout="raw",
                actors=(Actor(0), Actor(1)),
            ),
            id="the answers of AWS are lost to two rivals",
        ),
    ],
)
def test_nights_that_went_wrong_once(scenario: Scenario) -> None:
    """Each of these was found by a seed, in a job that did not yet get through it."""
    outcome = play(scenario)
    assert not outcome.breach, ending(outcome)


def test_a_seed_replays_exactly() -> None:
    """The same seed gives the same history, with rivals too."""
    one, other = (play(scenario_of(32, DAYS)) for _ in range(2))
    assert len(one.scenario.actors) > 1
    assert (one.tally, one.history) == (other.tally, other.history)


def test_the_command_tells_totals(capsys: pytest.CaptureFixture[str]) -> None:
    """The command counts at the side of the readers, and ends with 0 if all promises are kept."""
    assert main(["--seeds", "2", "--days", "0.5", "--jobs", "1"]) == 0
    assert "seeds that broke a promise: 0" in capsys.readouterr().out


def test_the_command_plays_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Faults may be given by hand: an outage longer than the lead leaves readers without."""
    script = tmp_path / "night"
    script.write_text("1800 7200 endpoint down  # for two hours\n")
    assert main(["--seed", "4", "--days", "0.5", "--script", str(script)]) == 0
    told = re.search(r"without any valid token +(\d+) s", capsys.readouterr().out)
    assert told
    assert 7200 - 3600 < int(told[1]) < 7200


def test_a_broken_promise_is_told_with_its_history(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A seed that fails prints what happened, and the command that shows it again."""
    assert main(["--seed", "45", "--days", "3"], MarginOnly) == 1
    told = capsys.readouterr().out
    assert told.startswith("seed 45 breaks I5")
    assert "audit     I5" in told
    assert " -m simulation --seed 45 --days 3\n" in told
