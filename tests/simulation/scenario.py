"""What a seed stands for: a provider, a policy, stores, processes and their weather."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, NamedTuple

from job.schedule import Policy, Reissue
from simulation.endpoint import Lives, Manner
from simulation.readers import Promise
from simulation.weather import Climate, Spell, forecast

StoreKind = Literal["memory", "disk", "cloud"]
Layout = Literal["json", "raw"]

DAY_S = 86_400.0
HALF_A_DAY_S = DAY_S / 2
BEGINS = (1_764_000_000, 1_774_700_000, 2**31 - 20 * 86_400)
"""Any day, the eve of daylight saving, and three weeks before 32 bits are full (2038)."""
LIVES_S = (600, 1800, 3600, 3600, 3600, 7200, 43_200, 86_400)
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
MANNERS: Sequence[tuple[Manner, Reissue]] = (
    ("independent", "independent"),
    ("independent", "independent"),
    ("independent", "independent"),
    ("revoking", "revokes_previous"),
    ("caching", "independent"),
    ("caching", "same_until_expiry"),
)
RIVALRY = 0.4
MILDNESS = 0.6
"""The chances of several processes, and of weather that never outlasts the lead."""


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
    manner: Manner
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
        weather = "mild" if self.is_mild else "rough"
        return (
            f"{self.manner} tokens of {self.lives.usual:.0f} s, {self.policy.reissue}, "
            f"stores {' '.join(self.stores)} ({self.layout}), "
            f"processes {' '.join(_name(actor) for actor in self.actors)}, "
            f"{weather} weather with {len(self.spells)} spells"
        )


def scenario_of(seed: int, days: float) -> Scenario:
    """Return what a seed stands for."""
    rng = Random(seed)  # noqa: S311  # it has to be the same each time
    stores = rng.choice(STORES)
    least = LEAST_CLOUD_LIFE_S if "cloud" in stores else 60
    life = max(rng.choice(LIVES_S), least)
    manner, reissue = rng.choice(MANNERS)
    actors = ONE
    if reissue == "independent" and rng.random() < RIVALRY:
        actors = rng.choice(RIVALS[:2] if "disk" in stores else RIVALS)
    policy = Policy(min_validity=rng.choice((60.0, 300.0, 300.0)), reissue=reissue)
    lead = lead_of(life, policy)
    is_mild = manner == "independent" and lead > LEAST_MILD_LEAD_S and rng.random() < MILDNESS
    begin = rng.choice(BEGINS) + rng.random()
    layout = rng.choice(LAYOUTS)
    if "cloud" in stores and len(actors) > 1:
        # A raw text has its receipt in tags, and AWS has no compare-and-swap for tags.
        layout = "json"
    scenario = Scenario(
        seed=seed,
        begin=begin,
        end=begin + days * DAY_S,
        manner=manner,
        lives=Lives(life, max(life / 24, least), max(DEFAULT_LIFE_S, least)),
        policy=policy,
        stores=stores,
        actors=actors,
        is_mild=is_mild,
        layout=layout,
    )
    return replace(scenario, spells=tuple(_weather(rng, scenario, lead)))


def lead_of(life: float, policy: Policy) -> float:
    """Return how long before expiry a token is replaced, at least, by the design's own words."""
    return min(life / 2, max(0.33 * life, policy.min_validity + policy.retry_budget))


def _weather(rng: Random, scenario: Scenario, lead: float) -> list[Spell]:
    places = ["endpoint", *(f"sink{n}" for n in range(len(scenario.stores)))]
    places += [f"process{n}" for n in range(len(scenario.actors))]
    if scenario.manner != "caching":
        # Two clocks would make two records of one token, and the truth about it would be two.
        places += sorted({f"clock{actor.host}" for actor in scenario.actors})
    longest_s = lead - LEAST_MILD_LEAD_S / 2
    climate = Climate(max(2.0 * scenario.lives.usual, HALF_A_DAY_S), 10.0, longest_s, mild=True)
    if not scenario.is_mild:
        longest_s = rng.choice((1, 6, 24)) * 3600.0
        climate = Climate(rng.choice((1, 3, 10)) * DAY_S, 20.0, longest_s, mild=False)
    return list(forecast(rng, scenario.begin, scenario.end, places, climate))


def _name(actor: Actor) -> str:
    return f"{'cron' if actor.every_s else 'daemon'}@host{actor.host}"
