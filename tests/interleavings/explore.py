"""Every order in which the calls of several replicas, their deaths and AWS's faults can follow.

What a replica does next depends on nothing but the answers that it has got, so a world is the
secret, those answers, and the tokens made. The same world is reached by many orders and looked at
once: the orders are counted, not walked one by one, and none is left out.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from interleavings.replica import ASK, AT_WORK, LOST, MINT, Done, Setting
from interleavings.secret import CURRENT, READS, Call, Refused, SharedSecret

FIRST = "tok-0"
"""The token that may be there from the start; those that are made are tok-1, tok-2 and so on."""


class Breach(AssertionError):
    """Raised when a promise is broken; it tells the way there, one event a line."""


class Budget(NamedTuple):
    """What may go wrong in one order of events, at most."""

    crashes: int = 0
    faults: int = 0


@dataclass(frozen=True)
class Scene:
    """All that decides what can happen next.

    `replicas` are the answers that each has got since its start, `past` the states of the secret
    before this one. `made` tells of each token by which request it was got. `excuses` counts what
    may cost an exchange more: a death, a stale answer, a lost token.
    """

    secret: SharedSecret
    replicas: tuple[tuple[object, ...], ...]
    past: tuple[SharedSecret, ...] = ()
    asked: int = 0
    made: tuple[int, ...] = ()
    crashes: int = 0
    faults: int = 0
    excuses: int = 0

    def answered(self, number: int, *answers: object) -> "Scene":
        """Return the scene after a replica has got an answer; without one, after its restart."""
        got = (*self.replicas[number], *answers) if answers else ()
        return replace(self, replicas=(*self.replicas[:number], got, *self.replicas[number + 1 :]))

    def carried_out(self, number: int, call: Call, *, same_second: bool) -> "Scene":
        """Return the scene after a call went well."""
        if call.operation == ASK:
            asked = 1 if same_second else self.asked + 1
            return replace(self.answered(number, asked), asked=asked)
        if call.operation == MINT:
            made = (*self.made, dict(call.asked)["asked"])
            return replace(self.answered(number, f"tok-{len(made)}"), made=made)
        secret, answer = self.secret.carry_out(call)
        past = self.past if secret == self.secret else (*self.past, self.secret)
        return replace(self.answered(number, answer), secret=secret, past=past)

    def age_of(self, name: str) -> int:
        """Return by which request a token was got."""
        return 0 if name == FIRST else self.made[int(name.removeprefix("tok-")) - 1]


class Explorer:
    """Looks at every scene that can be reached and counts the orders of events to the ends."""

    def __init__(self, setting: Setting, budget: Budget, *, same_second: bool = False) -> None:
        self._budget = budget
        self._same_second = same_second
        self._next = cache(setting.next_of)
        self._orders: dict[Scene, Counter[int]] = {}

    @property
    def scenes(self) -> int:
        """Return how many scenes were looked at."""
        return len(self._orders)

    def run(self, secret: SharedSecret, replicas: int, *, at_work: bool = False) -> Counter[int]:
        """Return how many orders there are, by how many exchanges they make; raises Breach.

        The replicas have just been started, or are at work for long.
        """
        begin = (AT_WORK,) if at_work else ()
        return self._follow(Scene(secret, (begin,) * replicas))

    def _follow(self, scene: Scene) -> Counter[int]:
        if scene in self._orders:
            return self._orders[scene]
        found: Counter[int] = Counter()
        for name, after in self._events(scene):
            try:
                _check(scene, after)
                found.update(self._follow(after))
            except Breach as breach:
                raise Breach(f"{name}\n{breach}") from None
        if not found:
            self._check_end(scene)
            found[len(scene.made)] = 1
        self._orders[scene] = found
        return found

    def _events(self, scene: Scene) -> Iterator[tuple[str, Scene]]:
        """Yield all that can happen next, and what it leads to."""
        for number, answers in enumerate(scene.replicas):
            call = self._next(answers)
            if isinstance(call, Done):
                continue
            who = f"replica {number}: {call.operation}"
            yield who, scene.carried_out(number, call, same_second=self._same_second)
            if answers and scene.crashes < self._budget.crashes:
                reborn = scene.answered(number)
                crashes, excuses = scene.crashes + 1, scene.excuses + 1
                yield f"{who}: dies before it", replace(reborn, crashes=crashes, excuses=excuses)
            if scene.faults < self._budget.faults and call.operation != ASK:
                for name, excuses, after in self._faulty(scene, number, call):
                    costs = {"faults": scene.faults + 1, "excuses": scene.excuses + excuses}
                    yield f"{who}: {name}", replace(after, **costs)

    def _faulty(self, scene: Scene, number: int, call: Call) -> Iterator[tuple[str, int, Scene]]:
        """Yield what can go wrong with a call, what that excuses, and what it leads to."""
        lost = scene.answered(number, LOST)
        yield "lost on the way there", 0, lost
        after = scene.carried_out(number, call, same_second=self._same_second)
        if call.operation == MINT:
            yield "the token is lost", 1, replace(after, replicas=lost.replicas)
        elif after.secret != scene.secret:
            yield "its answer is lost", 0, replace(after, replicas=lost.replicas)
        if call.operation in READS:
            for age, secret in enumerate(reversed(scene.past), 1):
                answer = secret.carry_out(call)[1]
                yield f"answered as {age} changes ago", 1, scene.answered(number, answer)
        if call.operation == "UpdateSecretVersionStage":
            unseen = Refused("ResourceNotFoundException")
            yield "its version is not visible yet", 0, scene.answered(number, unseen)

    def _check_end(self, scene: Scene) -> None:
        """Check what must hold when every replica is done."""
        allowed = len(scene.replicas) + scene.excuses
        if len(scene.made) > allowed:
            raise Breach(f"{len(scene.made)} exchanges, {allowed} are allowed")
        held = [self._next(answers) for answers in scene.replicas]
        current = _current(scene.secret)
        oldest = max(scene.age_of(done.token) for done in held if isinstance(done, Done))
        if current is None or scene.age_of(current) < oldest:
            raise Breach(f"{current} is there, the replicas hold {held}")
        self._check_newcomer(scene.secret, current)

    def _check_newcomer(self, secret: SharedSecret, current: str) -> None:
        """Check that one more replica adopts the token, and changes nothing."""
        answers: tuple[object, ...] = ()
        while isinstance(call := self._next(answers), Call):
            if call.operation == ASK:
                raise Breach("a replica that starts now asks for a token")
            after, answer = secret.carry_out(call)
            if after != secret:
                raise Breach("a replica that starts now has something to mend")
            answers = (*answers, answer)
        if call.token != current:
            raise Breach(f"a replica that starts now has {call.token}")


def _check(before: Scene, after: Scene) -> None:
    """Check what must hold at every moment."""
    old, new = _current(before.secret), _current(after.secret)
    if old is not None and (new is None or after.age_of(new) < after.age_of(old)):
        raise Breach(f"{new} replaces {old}")
    tokens = Counter(_token_in(version.text) for version in after.secret.versions)
    twice = [name for name, versions in tokens.items() if versions > 1]
    if twice:
        raise Breach(f"there is a second version of {twice}")


def _current(secret: SharedSecret) -> str | None:
    version = secret.at(CURRENT)
    return _token_in(version.text) if version else None


def _token_in(text: str) -> str:
    """Return the token that a text holds, whatever its layout."""
    found = re.search(r"tok-\d+", text)
    return found[0] if found else ""
