"""The simulated years of tests/simulation: seeds that keep all promises, defects that do not."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulation.__main__ import main
from simulation.audit import LATEST_START_S, RECOVERY_S
from simulation.defects import DEFECTS
from simulation.endpoint import Lives
from simulation.faults import KINDS, kinds_at, read_script
from simulation.many_tokens import play_many_tokens
from simulation.play import Outcome, play
from simulation.scenario import Actor, Scenario, scenario_of

from job.core.schedule import Policy
from job.runners.sweep import Sweep

pytestmark = pytest.mark.slow

DAYS = 8.0
SEEDS = (2, 15, 21, 34, 37, 83, 102, 142, 164, 173, 235, 239)
"""Chosen to be quick, and to have every kind of server, store, process and fault among them."""
DAY_S = 86_400.0
MEMORY = ("memory",)
TWO = ("memory", "memory")
FAULTS = {
    "endpoint down": "endpoint-down",
    "endpoint unreachable": "endpoint-silent",
    "endpoint half_open": "answer-lost",
    "endpoint slow": "endpoint-slow",
    "endpoint overloaded": "rate-limited",
    "endpoint storm": "server-errors",
    "endpoint html": "html-answer",
    "endpoint truncated": "truncated-answer",
    "endpoint oversized": "oversized-answer",
    "endpoint lying": "odd-expiry",
    "endpoint short": "lifetime-shrinks",
    "endpoint caching": "token-repeated",
    "endpoint echoing": "echoed-credentials",
    "endpoint banned": "client-refused",
    "endpoint rotated": "secret-rotation",
    "sink0 throttled": "sink-throttled",
    "sink0 full": "sink-full",
    "sink0 denied": "sink-denied",
    "sink0 read_only": "sink-read-only",
    "sink0 gone": "sink-gone",
    "sink0 slow": "sink-slow",
    "sink0 lost_answer": "sink-answer-lost",
    "sink0 flaky": "sink-flaky",
    "process0 kill 3": "kill-anywhere",
    "process0 reboot": "reboot",
    "process0 stop": "suspend",
    "clock0 off 3600": "clock-step",
    "clock0 off -3600": "clock-step",
    "clock0 off -1000000000": "boot-in-1970",
    "request changed": "request-changed",
}
"""Each fault that readers never feel, as a script says it, and its row in docs/reliability.md."""
REVOKING: dict[str, Any] = {"issuance": "revoking", "policy": Policy(reissue="revokes_previous")}


def ending(outcome: Outcome) -> str:
    """Return how a run ended, with the last lines of its history."""
    lines = [f"{moment.at:.3f} {moment.who} {moment.what}" for moment in outcome.history[-20:]]
    return "\n".join((outcome.breach, str(outcome.scenario), *lines))


def night(script: str, **more: Any) -> Scenario:  # noqa: ANN401  # any field of Scenario
    """Make a scenario of one day and one process, with these faults; `more` replaces any field."""
    usual = {"issuance": "independent", "lives": Lives(3600, 1800, 900), "policy": Policy()}
    fields: dict[str, Any] = usual | {"actors": (Actor(0),), "is_mild": False, "layout": "json"}
    scenario = replace(scenario_of(4, days=1.0), **fields | more)
    return replace(scenario, spells=tuple(read_script(script, scenario.begin)))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_promises_hold(seed: int) -> None:
    """Through days of faults, no invariant of simulation/audit.py is broken."""
    outcome = play(scenario_of(seed, DAYS))
    assert not outcome.breach, ending(outcome)
    assert outcome.tally.writes


@pytest.mark.parametrize(
    "fault",
    [pytest.param(name, id=name, marks=pytest.mark.fault(slug)) for name, slug in FAULTS.items()],
)
@pytest.mark.parametrize("store", ["memory", "disk", "cloud"])
def test_readers_never_feel_a_quarter_of_an_hour(fault: str, store: str) -> None:
    """A fault that is shorter than the lead, right when the token is due, costs no second."""
    place, kind, *value = fault.split()
    script = f"2300 850 {place} {kind} {' '.join(value)}"
    outcome = play(night(script, stores=(store,), is_mild=True))
    assert not outcome.breach, ending(outcome)
    assert (outcome.tally.without_s, outcome.tally.waiting_s < RECOVERY_S) == (0.0, True)


@pytest.mark.fault("endpoint-down-past-expiry")
def test_an_outage_beyond_the_lead() -> None:
    """Readers are without a token from its expiry until 30 s after the outage, at most."""
    outcome = play(night("1800 7200 endpoint down", stores=MEMORY))
    assert not outcome.breach, ending(outcome)
    assert abs(outcome.tally.without_s - (1800 + 7200 - 3600)) < RECOVERY_S


def test_every_fault_has_its_turn() -> None:
    """The fixed seeds meet every kind of fault that the simulation knows."""
    spells = [spell for seed in SEEDS for spell in scenario_of(seed, DAYS).spells]
    for place in KINDS:
        kinds = {spell.kind for spell in spells if spell.place.startswith(place)}
        assert kinds == set(kinds_at(place))


@pytest.mark.parametrize("name", DEFECTS)
def test_defects_are_caught(name: str) -> None:
    """Each of its seeds tells a defect put in by hand from the real thing, by the invariant."""
    defect = DEFECTS[name]
    for seed in defect.seeds:
        if defect.sweep is Sweep:
            breach = play(scenario_of(seed, defect.days), defect.refresher).breach
        else:
            breach = play_many_tokens(seed, defect.sweep).breach
        assert breach.startswith(f"{defect.invariant}: "), (seed, breach)


def test_the_page_names_every_defect() -> None:
    """docs/simulation.md has each defect with its invariant and its seeds."""
    page = (Path(__file__).parent.parent / "docs" / "simulation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| .+ \| (I\d+) \| ([\d, ]+) \|$", page, re.MULTILINE)
    told = {(name, d.invariant, ", ".join(map(str, d.seeds))) for name, d in DEFECTS.items()}
    assert set(rows) == told


def test_every_invariant_is_broken_by_a_defect() -> None:
    """None of the ten invariants is one that can't fail."""
    assert {defect.invariant for defect in DEFECTS.values()} == {f"I{n}" for n in range(1, 11)}


@pytest.mark.fault("targets-hang")
def test_a_hung_token_delays_no_other() -> None:
    """While as many servers hang as the pool has threads, less some, all others are on time."""
    outcome = play_many_tokens(1)
    assert not outcome.breach, ending(outcome)
    assert 0.0 < outcome.tally.slowest_start_s < LATEST_START_S


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
    one, other = (play(scenario_of(34, DAYS)) for _ in range(2))
    assert len(one.scenario.actors) > 1
    assert (one.tally, one.history) == (other.tally, other.history)


def test_the_command_tells_totals(capsys: pytest.CaptureFixture[str]) -> None:
    """The command counts at the side of the readers, and ends with 0 if all promises are kept."""
    assert main(["--seeds", "2", "--days", "0.5", "--jobs", "1"]) == 0
    assert "runs that broke a promise: 0" in capsys.readouterr().out


def test_the_command_plays_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Faults may be given by hand: an outage longer than the lead leaves readers without."""
    script = tmp_path / "night"
    script.write_text("1800 7200 endpoint down  # for two hours\n")
    assert main(["--seed", "2", "--days", "0.5", "--script", str(script)]) == 0
    told = re.search(r"without a valid token +0 +(\d+)", capsys.readouterr().out)
    assert told
    assert 7200 - 3600 < int(told[1]) < 7200


def test_a_broken_promise_is_told_with_its_history(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A seed that fails prints what happened, and the command that shows it again."""
    assert main(["--seed", "3", "--days", "3", "--defect", "margin-larger-than-life"]) == 1
    told = capsys.readouterr().out
    assert "\nseed 3 breaks I5" in told
    assert "audit     I5" in told
    assert " -m simulation --seed 3 --days 3 --defect margin-larger-than-life\n" in told
