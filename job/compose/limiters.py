"""From settings to the limiters at which tokens wait."""

import hashlib
from collections.abc import Iterator, Mapping

from job.config import Config
from job.config.limit_checks import endpoint_of
from job.config.settings import TokenSettings
from job.core.clock import Clock
from job.limits.budget_file import BudgetFile
from job.limits.limiter import Limiter, Limits
from job.values import rate

CLIENT_LENGTH = 16


class Limiters:
    """Builds limiters; those of one endpoint or one client share its limits."""

    def __init__(self, clock: Clock) -> None:
        """Limit nothing yet."""
        self._limits = Limits(clock)

    def limiter(self, name: str, settings: TokenSettings, file: BudgetFile | None) -> Limiter:
        """Return where a token waits; what its client spends is kept in `file`."""
        endpoint = self._limits.endpoint(
            endpoint_of(settings), settings.max_concurrency, rate(settings.max_rate)
        )
        if settings.max_exchanges is None:
            return Limiter(name, self._limits, endpoint)
        budget = self._limits.budget(client_of(settings), rate(settings.max_exchanges))
        return Limiter(name, self._limits, endpoint, budget, file)


def client_of(settings: TokenSettings) -> str:
    """Return what tokens of one client have in common: a hash, for it is written to a file."""
    text = f"{endpoint_of(settings)}\0{settings.client_id}"
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:CLIENT_LENGTH]


def budget_files(config: Config) -> Mapping[str, BudgetFile]:
    """Return where it is kept what each client has spent; one without a file sink has no place."""
    return dict(reversed([*_places(config)]))


def _places(config: Config) -> Iterator[tuple[str, BudgetFile]]:
    for settings in config.tokens.values():
        for sink in settings.sinks:
            if path := sink.resolved(config.folder).local_path:
                client = client_of(settings)
                yield client, BudgetFile(path, client)
