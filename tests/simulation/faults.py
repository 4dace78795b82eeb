"""Which fault is active where and when: spells of faults, drawn from a seed or read from text."""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

KINDS: Mapping[str, Sequence[str]] = {
    # endpoint.py says what each one does
    "endpoint": (
        "down",
        "unreachable",
        "half_open",
        "slow",
        "overloaded",
        "storm",
        "html",
        "truncated",
        "oversized",
        "lying",
        "boasting",
        "short",
        "caching",
        "echoing",
        "banned",
        "rotated",
    ),
    # memory.py, disk.py and cloud.py say how each one shows there
    "sink": ("throttled", "full", "denied", "read_only", "gone", "slow", "lost_answer", "flaky"),
    # process.py: killed at its value-th touch of the world from now, or frozen
    "process": ("kill", "kill", "reboot", "stop"),
    # the operator wants another scope: all processes start again, and old tokens are of no use
    "request": ("changed",),
    # the wall clock is off by its value
    "clock": ("off",),
}
CLOCK_ERRORS_S = (-(10**9), -86_400, -3_600, -600, -90, -30, 3, 30, 90, 600, 3_600, 86_400, 10**8)
TOUCHES = 24
"""A process dies at one of its next so many touches of the world."""
CALM_AT_FIRST_S = 900.0
LANES_S = {"banned": 300.0, "rotated": 10.0, "denied": 60.0, "gone": 60.0, "read_only": 60.0}
"""After the end of these it takes so long, at most, until it is noticed."""
NOT_MILD = ("caching", "boasting")
"""What does to readers more than an outage of its length."""


def kinds_at(place: str) -> Sequence[str]:
    """Return the faults that are possible at a place: `sink1` is a sink."""
    return KINDS[place.rstrip("0123456789")]


class Spell(NamedTuple):
    """A fault of a kind that is active at a place.

    Places are `endpoint`, `sink0` and so on, `process0`, `clock0` (of a host) and `request`.
    """

    begin: float
    end: float
    place: str
    kind: str
    value: float = 0.0


class Faults:
    """All spells of a world. Those of one place never overlap."""

    def __init__(self, spells: Iterable[Spell]) -> None:
        self._spells: dict[str, list[Spell]] = defaultdict(list)
        for spell in sorted(spells):
            self._spells[spell.place].append(spell)
        self._begins = {place: [s.begin for s in spells] for place, spells in self._spells.items()}

    def of(self, place: str) -> Sequence[Spell]:
        """Return all spells of a place in their order."""
        return self._spells.get(place, ())

    def begun(self, place: str, at: float) -> int:
        """Return how many spells of a place have begun."""
        return bisect_right(self._begins.get(place, ()), at)

    def now(self, place: str, at: float) -> Spell | None:
        """Return the spell that is active at a place."""
        found = self.begun(place, at)
        spell = self._spells[place][found - 1] if found else None
        return spell if spell and at < spell.end else None


class FaultRates(NamedTuple):
    """How often faults come in a scenario: the mean calm between two spells, and their length.

    Where they are `mild`, only one spell is active at a time and none outlasts `longest_s`.
    """

    calm_s: float
    shortest_s: float
    longest_s: float
    mild: bool


def drawn_spells(
    rng: Random, begin: float, end: float, places: Sequence[str], rates: FaultRates
) -> Iterator[Spell]:
    """Draw the spells from `begin` to `end`."""
    if rates.mild:
        yield from _spells(rng, begin, end, places, rates)
    else:
        for place in places:
            yield from _spells(rng, begin, end, [place], rates)


def _spells(
    rng: Random, begin: float, end: float, places: Sequence[str], rates: FaultRates
) -> Iterator[Spell]:
    at = begin + CALM_AT_FIRST_S
    while (at := at + _calm(rng, rates)) < end:
        place = rng.choice(places)
        kind = rng.choice(kinds_at(place))
        lasts = math.exp(rng.uniform(math.log(rates.shortest_s), math.log(rates.longest_s)))
        if rates.mild:
            lasts -= LANES_S.get(kind, 0.0)
        if lasts > 0 and not (rates.mild and kind in NOT_MILD):
            yield Spell(at, at + lasts, place, kind, _value(rng, kind))
            at += lasts


def _calm(rng: Random, rates: FaultRates) -> float:
    return rng.expovariate(1 / rates.calm_s) + (rates.calm_s if rates.mild else 0.0)


def _value(rng: Random, kind: str) -> float:
    if kind == "off":
        return rng.choice(CLOCK_ERRORS_S)
    return rng.randrange(TOUCHES) if kind in ("kill", "reboot") else 0.0


def read_script(text: str, begin: float) -> Iterator[Spell]:
    """Read spells from lines of `seconds-from-start length place kind [value]`; `#` comments."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words:
            after, lasts, place, kind, *value = words
            if kind not in kinds_at(place):
                msg = f"no fault {kind!r} at {place}"
                raise ValueError(msg)
            at = begin + float(after)
            yield Spell(at, at + float(lasts), place, kind, float(*value))
