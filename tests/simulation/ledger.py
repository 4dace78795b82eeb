"""The truth: every token that the server has given, and when it really dies."""

import re
from dataclasses import dataclass
from math import inf

from job.core.secret import Secret

SAME_CLOCK_S = 2.0
CLOCKS_AGREE_S = 60.0
"""Beyond this, a process takes a token of another one to be from the future."""
TOKEN_MARK = "tok."
_TOKEN = re.compile(rf"{re.escape(TOKEN_MARK)}\d+\.\w+")


@dataclass(slots=True, eq=False)
class Minted:
    """A token by the true time.

    `asked_at` is when the request that first got it was sent, `life` what the answer said.
    `skews` are by how much the wall clocks of those who got it were ahead, one for each time.
    `serial` orders all tokens. `killed_at` is when `killer`, a new token, killed it,
    `fails_at` when it dies though its life is not over, which nobody can know, and `outdated_at`
    since when the operator wants tokens of another request.
    """

    value: str
    serial: int
    asked_at: float
    life: float
    expires_at: float
    skews: list[float]
    killed_at: float = inf
    killer: "Minted | None" = None
    fails_at: float = inf
    outdated_at: float = inf

    @property
    def dies_at(self) -> float:
        """Return when resource servers begin to refuse it."""
        return min(self.expires_at, self.killed_at, self.fails_at)

    @property
    def shows_dead_at(self) -> float:
        """Return from when on one can know that it is dead."""
        killed = self.killer is not None and self.is_like(self.killer)
        return min(self.expires_at, self.killed_at if killed else inf)

    @property
    def half_life_at(self) -> float:
        """Return the moment before which nobody may ask for another one."""
        return self.asked_at + self.life / 2

    def was_got(self, asked_at: float, skew: float) -> None:
        """Note that a process believes in it from now on; if it is given again, in its rest."""
        self.skews.append(skew)
        self.life = min(self.life, self.expires_at - asked_at)

    def is_told_by(self, skew: float) -> bool:
        """Tell whether a clock that is ahead by `skew` judges it as those did who got it."""
        return all(abs(skew - other) < SAME_CLOCK_S for other in self.skews)

    def is_older_than(self, other: "Minted") -> bool:
        """Tell whether it is, by the truth and by what the clocks of those who asked say.

        The clocks count whole seconds. Of two that disagree by more, nobody can tell who is right.
        """
        mine, others = self.asked_at + max(self.skews), other.asked_at + min(other.skews)
        return self.serial < other.serial and mine < others - 1 and self.is_like(other)

    def is_like(self, other: "Minted") -> bool:
        """Tell whether the clocks of those who asked agree, so that it shows which one is older."""
        return max(abs(a - b) for a in self.skews for b in other.skews) < CLOCKS_AGREE_S


class Ledger:
    """All tokens, by value and by fingerprint."""

    def __init__(self) -> None:
        self.by_value: dict[str, Minted] = {}
        self.by_fingerprint: dict[str, Minted] = {}

    def add(self, minted: Minted) -> None:
        self.by_value[minted.value] = minted
        self.by_fingerprint[Secret(minted.value).fingerprint()] = minted

    def outdate(self, now: float) -> None:
        """Note that the operator wants none of the tokens that there are."""
        for token in self.by_value.values():
            token.outdated_at = min(token.outdated_at, now)

    def inside(self, text: str) -> Minted | None:
        """Return the one token in a text, as any reader would find it, whatever its format."""
        found = set(_TOKEN.findall(text))
        return self.by_value.get(found.pop()) if len(found) == 1 else None
