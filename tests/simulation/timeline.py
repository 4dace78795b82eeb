"""Virtual time, and the actors that take turns in it."""

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence


class Over(BaseException):
    """Ends an actor: the simulated time is over, or another actor has failed."""


class Timeline:
    """One actor runs at a time, until it sleeps; then the one that is to wake first runs.

    Each actor is a thread, so that real code can be interrupted anywhere by its own sleep. As
    only one ever runs, everything happens in the same order each time.
    """

    def __init__(self, begin: float, end: float) -> None:
        self.now = begin
        self._end = end
        self._sleepers: list[tuple[float, int, Actor]] = []
        self._order = itertools.count()
        self._actors: list[Actor] = []
        self._over = threading.Event()
        self.is_over = False
        self._failure: BaseException | None = None

    def run(self, lives: Sequence[Callable[[], None]]) -> None:
        """Let each actor live until the end of time; raises what one of them raises."""
        for life in lives:
            self.spawn(life)
        self._running = self._wake_next()
        self._running.turn.release()
        self._over.wait()
        # The last one first: it is still leaving, and the others must not leave at the same time.
        for actor in (self._running, *self._actors):
            actor.turn.release()
            actor.thread.join()
        if self._failure is not None:
            raise self._failure

    def spawn(self, life: Callable[[], None]) -> None:
        """Have one more actor, whose life begins when all that is to happen now has happened."""
        self._actors.append(Actor(len(self._actors), life, self._ended))
        self.wake(self._actors[-1])

    @property
    def running(self) -> "Actor":
        """Return the actor that runs."""
        return self._running

    def sleep_until(self, at: float) -> None:
        """Let time pass for the actor that runs; the others live on meanwhile."""
        if self.is_over:
            raise Over
        if not self._sleepers or at < self._sleepers[0][0]:
            self._pass(max(at, self.now))
            return
        self._put(max(at, self.now), self._running)
        self.park()

    def park(self) -> None:
        """Let the others live until the actor that runs is woken."""
        if self.is_over:
            raise Over
        me, chosen = self._running, self._wake_next()
        if chosen is not me:
            self._running = chosen
            chosen.turn.release()
            me.turn.acquire()
            if self.is_over:
                raise Over

    def wake(self, actor: "Actor") -> None:
        """Let an actor that is parked go on, when its turn comes."""
        self._put(self.now, actor)

    def _put(self, at: float, actor: "Actor") -> None:
        heapq.heappush(self._sleepers, (at, next(self._order), actor))

    def _wake_next(self) -> "Actor":
        at, _, actor = heapq.heappop(self._sleepers)
        self._pass(at)
        return actor

    def _pass(self, at: float) -> None:
        """Let it be this time now, or the end."""
        self.now = min(at, self._end)
        if at >= self._end:
            self.is_over = True
            raise Over

    def _ended(self, failure: BaseException | None) -> None:
        """Note that an actor has ended; the first to end ends all."""
        self._failure = self._failure or failure
        self.is_over = True
        self._over.set()


class Actor:
    """A thread that waits for its first turn, lives, and tells how that ended."""

    def __init__(
        self, number: int, live: Callable[[], None], ended: Callable[[BaseException | None], None]
    ) -> None:
        self.number = number
        self.turn = threading.Semaphore(0)
        self._live = live
        self._ended = ended
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.turn.acquire()
        try:
            self._live()
        except Over:
            self._ended(None)
        except BaseException as failure:  # noqa: BLE001  # raised again by `Timeline.run`
            self._ended(failure)
