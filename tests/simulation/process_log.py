"""What is known of one process: what it did, what it may know, and what excuses it."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from math import inf

from simulation.ledger import Minted


@dataclass(slots=True)
class ProcessLog:
    """The record of one process, through all its starts.

    `excused_until` has a moment for each store: until then something else was at fault.
    `asked_at`, `rejected_at` and `failed_at` are the times of the last hour. `claimed_at` is when
    it last claimed each store, `looked` are the stores that it has read since. `has_alarmed` says
    that people know of an old token, `failing` are the stores that did not take the last write,
    and `has_served` tells whether one did in this step.

    `has` is the token in hand, `had_by_clock` how far the clock was ahead when it was taken in
    hand, and `misjudges_by` by how much its life seems longer for that. `given` is the last token
    that the server gave it, and `has_lost` says that it may have lost that one since.
    """

    name: str
    excused_until: list[float] = field(default_factory=list)
    asked_at: deque[float] = field(default_factory=deque)
    rejected_at: deque[float] = field(default_factory=deque)
    failed_at: dict[int, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    last_asked_at: float = -inf
    has_alarmed: bool = False
    failing: set[str] = field(default_factory=set)
    has_served: bool = False
    claimed_at: dict[int, float] = field(default_factory=dict)
    looked: set[int] = field(default_factory=set)
    has: Minted | None = None
    had_by_clock: float = 0.0
    misjudges_by: float = 0.0
    given: Minted | None = None
    has_lost: bool = False

    def start(self) -> None:
        """Begin anew: forget what the process that was here before knew."""
        self.has_lost = True
        self.has_alarmed, self.has, self.misjudges_by = False, None, 0.0
        self.looked.clear()
        self.failing.clear()

    def has_seen(self, store: int, since: float) -> bool:
        """Tell whether it has read what a store holds since then."""
        return store in self.looked and since < self.claimed_at.get(store, -inf)
