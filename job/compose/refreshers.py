"""From settings to objects: the composition root. What is heavy is built when first needed."""

import hashlib
import os
from collections.abc import Iterator, Mapping

import msgspec

from job.aws.clients import AwsClients
from job.compose.limiters import Limiters, budget_files, client_of
from job.compose.token_source import LazySource, Sources, key_of
from job.config import Config
from job.config.settings import CommonSettings, TokenSettings
from job.core.clock import Clock
from job.core.ports import Limit, Sink, TokenSource
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.secret import Secret
from job.limits.budget_file import BudgetFile
from job.limits.limiter import Limiter
from job.oauth.rotation import RotatingSource
from job.sinks.file import sweep
from job.sinks.kinds import sink_of
from job.values import seconds


class Wiring:
    """Builds a program's objects out of its configuration, and shares what can be shared."""

    def __init__(self, environ: Mapping[str, str], host: str, clock: Clock) -> None:
        """Build nothing yet. `host` is what sets this machine's jitter apart from a replica's."""
        self.environ = environ
        self._host = host
        self._clock = clock
        self._aws = AwsClients()
        self.sources = Sources(environ, clock, self._aws)
        self._limiters = Limiters(clock)
        self._policies: dict[Policy, Policy] = {}
        self._built: dict[str, tuple[bytes, Refresher, LazySource]] = {}

    def refreshers(self, config: Config) -> dict[str, Refresher]:
        """Return a refresher for each token.

        A token whose settings are the same as in the call before keeps the one it had, with all
        that is known of it.
        """
        sweep(
            path
            for token in config.tokens.values()
            for sink in token.sinks
            if (path := sink.resolved(config.folder).local_path)
        )
        built = {}
        files = budget_files(config)
        for name, settings in config.tokens.items():
            digest = _digest(settings, config.folder)
            before = self._built.get(name)
            built[name] = (
                before
                if before and before[0] == digest
                else (digest, *self._refresher(name, settings, config.folder, files))
            )
        self._built = built
        return self.in_force()

    def in_force(self) -> dict[str, Refresher]:
        """Return the refreshers that were built last."""
        return {name: refresher for name, (_, refresher, _) in self._built.items()}

    def live_secrets(self, name: str | None) -> Iterator[Secret]:
        """Yield the secrets of a token that are in memory, or of all tokens for None."""
        built = self._built  # a reload may put another one in its place in the meantime
        for token in [name] if name in built else list(built):
            _, refresher, source = built[token]
            yield from refresher.live_secrets()
            yield from source.secret.live

    def sinks(self, name: str, settings: TokenSettings, folder: str) -> list[Sink]:
        """Return a token's sinks in the order of the configuration."""
        return [sink_of(sink.resolved(folder), name, self._aws) for sink in settings.sinks]

    def policy(self, settings: CommonSettings) -> Policy:
        """Return when tokens of these settings are to be refreshed."""
        policy = Policy(
            refresh_at=settings.refresh_at,
            jitter=settings.jitter,
            min_validity=seconds(settings.min_validity),
            retry_budget=seconds(settings.retry_budget),
            min_interval=seconds(settings.min_interval),
            max_age=_maybe(settings.max_age),
            reissue=settings.reissue,
            fresh_window=_maybe(settings.fresh_window),
        )
        return self._policies.setdefault(policy, policy)

    def limit(self, name: str, config: Config) -> Limit:
        """Return what limits the exchanges of one token, for requests that no refresher makes."""
        settings = config.tokens[name]
        file = budget_files(config).get(client_of(settings))
        return self._limiters.limiter(name, settings, file).exchange

    def _refresher(
        self, name: str, settings: TokenSettings, folder: str, files: Mapping[str, BudgetFile]
    ) -> tuple[Refresher, LazySource]:
        source = self.sources.source(settings, folder)
        limiter = self._limiters.limiter(name, settings, files.get(client_of(settings)))
        refresher = Refresher(
            name,
            _rotating(source, limiter),
            self.sinks(name, settings, folder),
            Plan(self.policy(settings), f"{self._host}\0{name}"),
            key_of(settings),
            self._clock,
            limit=limiter.exchange,
        )
        return refresher, source


def _rotating(source: LazySource, limiter: Limiter) -> TokenSource:
    """Return a source that tries its secrets one after the other, if it has several."""
    several = source.secret.count > 1
    return RotatingSource(source, source.secret, limiter.another) if several else source


def _digest(settings: TokenSettings, folder: str) -> bytes:
    return hashlib.sha256(os.fsencode(folder) + b"\0" + msgspec.json.encode(settings)).digest()


def _maybe(duration: str | float | None) -> float | None:
    return None if duration is None else seconds(duration)
