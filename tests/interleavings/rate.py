"""How often replicas of the production code ask for a token, measured in virtual time.

PYTHONPATH=tests python -m interleavings.rate
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Any

from simulation.timeline import Timeline
from sinks import secret_sink

from interleavings.replica import AwsClient
from interleavings.secret import CURRENT, Call, SharedSecret
from job.core.clock import Moment
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.secret import Secret
from job.core.tokens import OutputFormat, Token

BEGIN = 1_764_000_000.0
TICK_S = 1.0
CALL_S = (0.02, 0.08)
"""One call of AWS."""
EXCHANGE_S = (0.2, 0.6)
"""One answer of the authorization server, TLS and all."""
LIVES = 100


@dataclass(frozen=True)
class Rate:
    """What replicas did: `tokens` were current one after the other, each for one period."""

    tokens: int
    exchanges: int
    versions: int
    calls: int

    @property
    def exchanges_a_period(self) -> float:
        """Return how many tokens were made for each one that was used."""
        return self.exchanges / self.tokens


class Hosts:
    """Replicas of one token on hosts of their own, and the secret that they share."""

    def __init__(self, replicas: int, life: int, policy: Policy, seed: int) -> None:
        self.life = life
        self.rng = Random(seed)  # noqa: S311  # it has to be the same each time
        self.secret = SharedSecret()
        self.timeline = Timeline(BEGIN, BEGIN + LIVES * life)
        self.exchanges = self._calls = self._tokens = self._versions = 0
        self._replicas = [Replica(self, f"host-{number}", policy) for number in range(replicas)]

    def live(self) -> Rate:
        """Run all replicas for as long as LIVES tokens live one after the other."""
        self.timeline.run([replica.live for replica in self._replicas])
        return Rate(self._tokens, self.exchanges, self._versions, self._calls)

    def carry_out(self, call: Call) -> object:
        """Let AWS carry out a call, after the time that it takes."""
        self._calls += 1
        self.timeline.sleep_until(self.timeline.now + self.rng.uniform(*CALL_S))
        before, (after, answer) = self.secret, self.secret.carry_out(call)
        self._versions += len(after.versions) - len(before.versions)
        self._tokens += _current(after) != _current(before)
        self.secret = SharedSecret(versions=tuple(v for v in after.versions if v.labels))
        return answer


class Replica(AwsClient):
    """One process on its host: the loop of the daemon, its clock, its server, its AWS."""

    def __init__(self, hosts: Hosts, name: str, policy: Policy) -> None:
        super().__init__(hosts.carry_out)
        self._hosts = hosts
        self._plan = Plan(policy, name)
        self._phase = hosts.rng.uniform(0.0, TICK_S)

    def live(self) -> None:
        """Do what is due at each tick, until the end."""
        client: Any = self
        sink = secret_sink("prod/tiki", OutputFormat("json", "tiki"), lambda: client)
        refresher = Refresher("tiki", self, [sink], self._plan, "key", self.clock)
        timeline = self._hosts.timeline
        while True:
            due_at = timeline.now + max(refresher.wait_s(), 0.0)
            ticks = math.floor((due_at - BEGIN - self._phase) / TICK_S) + 1
            timeline.sleep_until(BEGIN + self._phase + ticks * TICK_S)
            refresher.step()

    def clock(self) -> Moment:
        """Read this host's clocks."""
        return Moment(self._hosts.timeline.now, self._hosts.timeline.now)

    def fetch(self) -> Token:
        """Make a token, after the time that it takes."""
        hosts, asked_at = self._hosts, self._hosts.timeline.now
        hosts.timeline.sleep_until(asked_at + hosts.rng.uniform(*EXCHANGE_S))
        hosts.exchanges += 1
        value = Secret(f"tok-{hosts.exchanges}")
        begin = int(asked_at)
        return Token(value, "Bearer", "", begin, begin + hosts.life, "expires_in")

    def changed(self) -> bool:
        return False


def _current(secret: SharedSecret) -> str:
    version = secret.at(CURRENT)
    return version.id if version else ""


def main() -> None:
    """Print the table of docs/interleavings.md."""
    for name, life in (("15 min", 900), ("1 h", 3600), ("24 h", 86_400)):
        rates = [Hosts(replicas, life, Policy(), 1).live() for replicas in (1, 2, 3, 10)]
        cells = [f"{r.exchanges_a_period:.2f}, {r.calls / r.tokens:.0f} calls" for r in rates]
        print(f"| {name} | {' | '.join(cells)} |")  # noqa: T201  # its product is what it prints


if __name__ == "__main__":
    main()
