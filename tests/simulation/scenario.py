"""What a seed stands for: a provider, a policy, stores, processes and their faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, NamedTuple, TypeVar

from job.core.schedule import Policy, Reissue
from simulation.endpoint import Issuance, Lives
from simulation.faults import FaultRates, Spell, drawn_spells
from simulation.readers import Promise

T = TypeVar("T")
StoreKind = Literal["memory", "disk", "cloud"]
Layout = Literal["json", "raw"]

DAY_S = 86_400.0
HALF_A_DAY_S = DAY_S / 2
BEGINS = (1_764_000_000, 1_774_700_000, 2**31 - 20 * 86_400)
"""Any day, the eve of daylight saving, and three weeks before 32 bits are full (2038)."""
LIVES_S = {600: 1, 1800: 3, 3600: 12, 7200: 12, 14_400: 12, 43_200: 24, 86_400: 48}
"""How long tokens live, and how many worlds have such ones: there is as much to do with each."""
OUTLASTED = 1 / 3
"""An outage is mild if it is shorter than this part of a token's life."""
LAYOUTS: Sequence[Layout] = ("json", "raw")
DEFAULT_LIFE_S = 900
LEAST_CLOUD_LIFE_S = 1800
"""Shorter tokens would fill the 100 versions that a secret keeps for a day."""
LEAST_MILD_LEAD_S = 120.0
STORES: Sequence[tuple[StoreKind, ...]] = (
    ("memory",),
    ("memory",),
    ("memory", "memory"),
    ("disk",),
    ("cloud",),
    ("cloud", "disk"),
)
CRON_S = 900.0
ISSUANCES: Mapping[tuple[Issuance, Reissue], int] = {
    ("independent", "independent"): 15,
    ("revoking", "revokes_previous"): 4,
    ("caching", "same_until_expiry"): 4,
    ("caching", "independent"): 1,
}
"""What the server does and what the operator has set, and how many worlds have that."""
CALMS_DAYS = (2, 10, 30, 30, 60, 60, 90, 90)
"""How long it mostly takes in rough years until the next fault at the same place."""
RIVALRY = 0.4
MILDNESS = 0.6
"""The chances of several processes, and of faults that never outlast the lead."""


class Actor(NamedTuple):
    """A process: the number of its host, and how often cron starts it if it is no daemon."""

    host: int
    every_s: float = 0.0


ONE: tuple[Actor, ...] = (Actor(0),)
RIVALS: Sequence[tuple[Actor, ...]] = (
    (Actor(0), Actor(0)),
    (Actor(0), Actor(0, CRON_S)),
    (Actor(0), Actor(1)),
    (Actor(0), Actor(1), Actor(2)),
)


@dataclass(frozen=True)
class Scenario:
    """All that decides a run."""

    seed: int
    begin: float
    end: float
    issuance: Issuance
    lives: Lives
    policy: Policy
    stores: tuple[StoreKind, ...]
    actors: tuple[Actor, ...]
    is_mild: bool
    layout: Layout
    spells: tuple[Spell, ...] = ()

    @property
    def promise(self) -> Promise:
        """Return what readers may expect."""
        return Promise(self.policy.min_validity, self.policy.reissue != "same_until_expiry")

    def __str__(self) -> str:
        faults = "mild" if self.is_mild else "rough"
        return (
            f"{self.issuance} tokens of {self.lives.usual:.0f} s, {self.policy.reissue}, "
            f"stores {' '.join(self.stores)} ({self.layout}), "
            f"processes {' '.join(_name(actor) for actor in self.actors)}, "
            f"{faults} faults in {len(self.spells)} spells"
        )


def scenario_of(seed: int, days: float) -> Scenario:
    """Return what a seed stands for."""
    rng = Random(seed)  # noqa: S311  # it has to be the same each time
    stores = rng.choice(STORES)
    least = LEAST_CLOUD_LIFE_S if "cloud" in stores else 60
    life = max(_drawn(rng, LIVES_S), least)
    issuance, reissue = _drawn(rng, ISSUANCES)
    actors = ONE
    if reissue == "independent" and rng.random() < RIVALRY:
        actors = rng.choice(RIVALS[:2] if "disk" in stores else RIVALS)
    policy = Policy(min_validity=rng.choice((60.0, 300.0, 300.0)), reissue=reissue)
    lead = life * OUTLASTED
    is_mild = issuance == "independent" and lead > LEAST_MILD_LEAD_S and rng.random() < MILDNESS
    begin = rng.choice(BEGINS) + rng.random()
    layout = rng.choice(LAYOUTS)
    if "cloud" in stores and len(actors) > 1:
        # A raw text has its receipt in tags, and AWS has no compare-and-swap for tags.
        layout = "json"
    scenario = Scenario(
        seed=seed,
        begin=begin,
        end=begin + days * DAY_S,
        issuance=issuance,
        lives=Lives(life, max(life / 24, least), max(DEFAULT_LIFE_S, least)),
        policy=policy,
        stores=stores,
        actors=actors,
        is_mild=is_mild,
        layout=layout,
    )
    return replace(scenario, spells=tuple(_spells(rng, scenario, lead)))


def _drawn(rng: Random, weights: Mapping[T, int]) -> T:
    return rng.choices(tuple(weights), tuple(weights.values()))[0]


def _spells(rng: Random, scenario: Scenario, lead: float) -> list[Spell]:
    places = ["endpoint", *(f"sink{n}" for n in range(len(scenario.stores)))]
    places += [f"process{n}" for n in range(len(scenario.actors))]
    places.append("request")
    if scenario.issuance != "caching":
        # Two clocks would make two records of one token, and the truth about it would be two.
        places += sorted({f"clock{actor.host}" for actor in scenario.actors})
    longest_s = lead - LEAST_MILD_LEAD_S / 2
    rates = FaultRates(max(2.0 * scenario.lives.usual, HALF_A_DAY_S), 10.0, longest_s, mild=True)
    if not scenario.is_mild:
        longest_s = rng.choice((1, 6, 24)) * 3600.0
        rates = FaultRates(rng.choice(CALMS_DAYS) * DAY_S, 20.0, longest_s, mild=False)
    return list(drawn_spells(rng, scenario.begin, scenario.end, places, rates))


def _name(actor: Actor) -> str:
    return f"{'cron' if actor.every_s else 'daemon'}@host{actor.host}"
