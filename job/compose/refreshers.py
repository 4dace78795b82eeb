"""From settings to refreshers: the composition root. What is heavy is built when first needed."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from job.compose.token_source import ClientSource, key_of
from job.compose.tools import Tools
from job.config.settings import TokenSettings
from job.core.ports import Sink
from job.core.refresher import Refresher
from job.core.schedule import Plan
from job.core.secret import Secret
from job.credentials.watched import WatchedSecret
from job.oauth.rotation import RotatingSource
from job.sinks.file import sweep
from job.sinks.kinds import sink_of


class Composed(NamedTuple):
    """A refresher, the settings that it was made of, and what its client proves itself by."""

    settings: TokenSettings
    refresher: Refresher
    proof: WatchedSecret


def composed(name: str, settings: TokenSettings, tools: Tools) -> Composed:
    """Make a refresher out of one entry."""
    source, limiter = ClientSource(settings, tools), tools.limiters.limiter(name, settings)
    has_several = source.proof.count > 1
    refresher = Refresher(
        name,
        RotatingSource(source, source.proof, limiter.another) if has_several else source,
        sinks_of(name, settings, tools),
        Plan(tools.policy(settings), f"{tools.host}\0{name}"),
        key_of(settings),
        tools.clock,
        limit=limiter.exchange,
        memory=tools.memory,
    )
    return Composed(settings, refresher, source.proof)


class RefresherSet:
    """The refreshers of an inventory."""

    def __init__(self, tools: Tools) -> None:
        """Hold none yet."""
        self.tools = tools
        self._composed: Mapping[str, Composed] = {}

    def update(self, tokens: Mapping[str, TokenSettings]) -> dict[str, Refresher]:
        """Return a refresher for each token.

        A token whose settings are the same as in the call before keeps the one it had, with all
        that is known of it; one whose settings have changed keeps what the memory holds.
        """
        sinks = (sink for settings in tokens.values() for sink in settings.sinks)
        sweep(path for sink in sinks if (path := sink.local_path))
        self.tools.limiters.place(tokens.values())
        before, made = self._composed, {}
        for name, settings in tokens.items():
            same = name in before and before[name].settings == settings
            made[name] = before[name] if same else composed(name, settings, self.tools)
        for name in before.keys() - made.keys():
            self.tools.memory.save(name, None)
        self._composed = made
        return self.in_force()

    def in_force(self) -> dict[str, Refresher]:
        """Return the refreshers of the last update."""
        return {name: each.refresher for name, each in self._composed.items()}

    def live_secrets(self, name: str | None) -> Iterator[Secret]:
        """Yield the secrets of a token that are in memory, or of all tokens for None."""
        in_force = self._composed  # an update may put another one in its place in the meantime
        own = in_force.get(name or "")
        for each in [own] if own else [*in_force.values()]:
            yield from each.refresher.live_secrets()
            yield from each.proof.live


def sinks_of(name: str, settings: TokenSettings, tools: Tools) -> list[Sink]:
    """Return a token's sinks in the order of the configuration."""
    return [sink_of(sink, name, tools.aws) for sink in settings.sinks]
