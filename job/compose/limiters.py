"""From settings to the limiters at which tokens wait."""

import hashlib
from collections.abc import Iterable

from job.config.checks import endpoint_of
from job.config.settings import TokenSettings
from job.core.clock import Clock
from job.limits.budget_file import BudgetFile
from job.limits.limiter import Limiter, Limits

CLIENT_LENGTH = 16


class Limiters:
    """Makes limiters; those of one endpoint or one client share its limits."""

    def __init__(self, clock: Clock) -> None:
        """Limit nothing yet."""
        self._limits = Limits(clock)
        self._files: dict[str, BudgetFile] = {}

    def place(self, tokens: Iterable[TokenSettings]) -> None:
        """Have what each client spends kept beside the first file of its tokens, for good."""
        for settings in tokens:
            if settings.max_exchanges is not None:
                client = client_of(settings)
                for path in filter(None, (sink.local_path for sink in settings.sinks)):
                    self._files.setdefault(client, BudgetFile(path, client))

    def file(self, settings: TokenSettings) -> BudgetFile | None:
        """Return where it is kept what a client has spent; None without a file of its tokens."""
        self.place([settings])
        return self._files.get(client_of(settings))

    def limiter(self, name: str, settings: TokenSettings) -> Limiter:
        """Return where a token waits."""
        endpoint = self._limits.endpoint(
            endpoint_of(settings), settings.max_concurrency, settings.max_rate
        )
        if settings.max_exchanges is None:
            return Limiter(name, self._limits, endpoint)
        budget = self._limits.budget(client_of(settings), settings.max_exchanges)
        return Limiter(name, self._limits, endpoint, budget, self.file(settings))


def client_of(settings: TokenSettings) -> str:
    """Return what tokens of one client have in common: a hash, for it is written to a file."""
    text = f"{endpoint_of(settings)}\0{settings.client_id}"
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:CLIENT_LENGTH]
