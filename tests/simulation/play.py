"""Put a world together and let it run."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any
from unittest import mock

from job.core.refresher import Refresher
from job.core.schedule import Plan
from job.core.tokens import OutputFormat
from job.credentials.watched import WatchedSecret
from job.oauth.client_auth import ClientSecretBasic
from job.oauth.exchange import ClientCredentials
from job.oauth.request import TokenRequest
from job.oauth.token_response import ResponseRules
from simulation.audit import Audit, Breach, Moment
from simulation.cloud import CloudStore
from simulation.disk import DiskStore, disk_calls
from simulation.endpoint import CLIENT_ID, Endpoint, Wire
from simulation.faults import Faults
from simulation.ledger import Ledger
from simulation.memory import MemoryStore
from simulation.process import Process
from simulation.readers import Tally
from simulation.scenario import Scenario, StoreKind
from simulation.stores import Place, Store, WatchedSink, tokens_in
from simulation.timeline import Timeline

TOKEN_URL = "https://server.invalid/token"
FAST_FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108  # TemporaryDirectory makes a private one in it
ZONE = "Europe/Berlin"
PARAMS = (("grant_type", "client_credentials"),)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `breach` is empty if all held, else `history` leads up to it."""

    scenario: Scenario
    tally: Tally
    breach: str
    history: Sequence[Moment]
    has_many_tokens: bool = False

    @property
    def kind(self) -> str:
        """Return the word for what the run met."""
        if self.has_many_tokens:
            return "many"
        return "mild" if self.scenario.is_mild else "rough"


def play(scenario: Scenario, refresher: type[Refresher] = Refresher) -> Outcome:
    """Run a scenario to its end or to the first breach; the same one always ends the same."""
    breach = ""
    with ExitStack() as resources:
        resources.enter_context(daylight_saving())
        timeline = Timeline(scenario.begin, scenario.end)
        world = World(scenario, refresher, resources, timeline)
        try:
            world.run()
        except Breach as found:
            breach = str(found)
            world.audit.note("audit", breach)
        return Outcome(scenario, world.audit.tally, breach, tuple(world.audit.history))


@contextmanager
def daylight_saving() -> Iterator[None]:
    """Have a time zone with daylight saving until the end of the block: nothing depends on it."""
    with mock.patch.dict(os.environ, TZ=ZONE):
        time.tzset()
        yield
    time.tzset()


class World:
    """One token, its server, its stores and all processes that keep it current."""

    def __init__(
        self,
        scenario: Scenario,
        refresher: type[Refresher],
        resources: ExitStack,
        timeline: Timeline,
    ) -> None:
        self._scenario = scenario
        self._kind = refresher
        self._rng = Random(scenario.seed)  # noqa: S311  # it has to be the same each time
        self._timeline = timeline
        self._faults = Faults(scenario.spells)
        self._ledger = Ledger()
        self.audit = Audit(
            self._timeline,
            self._ledger,
            scenario.promise,
            len(scenario.stores),
            is_alone=len(scenario.actors) == 1,
        )
        self._endpoint = Endpoint(
            self._timeline,
            self._faults,
            self._ledger,
            self._rng,
            scenario.issuance,
            scenario.lives,
        )
        self.processes = [self._process(number) for number in range(len(scenario.actors))]
        self._places = [self._place(number) for number in range(len(scenario.stores))]
        self._stores = [
            self._store(kind, place, resources)
            for kind, place in zip(scenario.stores, self._places, strict=True)
        ]

    def run(self) -> None:
        """Let all processes live; raises Breach."""
        self._timeline.run([partial(self._live, process) for process in self.processes])
        self.close()

    def close(self) -> None:
        """Count what is left; raises Breach."""
        self.audit.close(is_mild=self._scenario.is_mild)

    def _process(self, number: int) -> Process:
        host, every_s = self._scenario.actors[number]
        process = Process(number, host, self._timeline, self._faults, self.audit)
        process.every_s = every_s
        self.audit.watch(process.log)
        return process

    def _place(self, number: int) -> Place:
        return Place(number, self._faults, self.audit, self._rng)

    def _store(self, kind: StoreKind, place: Place, resources: ExitStack) -> Store:
        layout = OutputFormat(self._scenario.layout, "simulated")
        match kind:
            case "memory":
                return MemoryStore(place)
            case "cloud":
                return CloudStore(place, self._ledger, layout)
            case "disk":
                folder = resources.enter_context(tempfile.TemporaryDirectory(dir=FAST_FOLDER))
                store = DiskStore(place, folder, layout)
                resources.enter_context(disk_calls(store, self._running))
                return store

    def _live(self, process: Process) -> None:
        process.live(lambda: self.build(process))

    def _running(self) -> Process:
        return self.processes[self._timeline.running.number]

    def build(self, process: Process) -> Refresher:
        """Build what job/compose/refreshers.py builds at a start of the program."""
        secret = WatchedSecret(self._endpoint)
        wire: Any = Wire(process, self._endpoint, lambda: self._asks(process))
        source = ClientCredentials(
            TokenRequest(TOKEN_URL, PARAMS),
            ClientSecretBasic(CLIENT_ID, secret.resolve),
            secret,
            wire,
            ResponseRules(default_lifetime=int(self._scenario.lives.untold)),
            process.clock,
        )
        sinks = [
            WatchedSink(store.sink(process), place, process)
            for store, place in zip(self._stores, self._places, strict=True)
        ]
        plan = Plan(self._scenario.policy, process.name)
        request_key = f"request{process.request}"
        return self._kind("simulated", source, sinks, plan, request_key, process.clock)

    def _asks(self, process: Process) -> None:
        there = tokens_in(self._stores, self._ledger)
        self.audit.asks(process.log, process.skew, there)
