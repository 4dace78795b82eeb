"""What the tokens of a process share: clock, environment, clients, transports, limits, memory."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from job.aws.clients import AwsClients
from job.compose.limiters import Limiters
from job.config.settings import CommonSettings
from job.core.clock import Clock
from job.core.ports import Memory
from job.core.schedule import Policy
from job.credentials.kinds import watched
from job.credentials.settings import SecretSettings
from job.credentials.watched import WatchedSecret
from job.http.deadline import Threads
from job.memory.in_process import InProcess

if TYPE_CHECKING:
    from job.http.transport import Transport
    from job.oauth.discovery import Discovery

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Tools:
    """Makes once what can be shared. Threads may share it.

    `host` distinguishes this machine's jitter from a replica's.
    """

    def __init__(self, environ: Mapping[str, str], host: str, clock: Clock) -> None:
        """Make nothing yet."""
        self.environ = environ
        self.host = host
        self.clock = clock
        self.aws = AwsClients()
        self.limiters = Limiters(clock)
        self.memory: Memory = InProcess()
        self._policies: dict[Policy, Policy] = {}
        self._discoveries: dict[tuple[str, int], Discovery] = {}
        self._transports: dict[tuple[object, ...], Transport] = {}
        self._threads = Threads()
        self._lock = threading.Lock()

    def secret(self, settings: SecretSettings | tuple[SecretSettings, ...]) -> WatchedSecret:
        """Return where a secret comes from, or the secrets of a list."""
        return watched(settings, self.environ, self.aws, self.clock)

    def policy(self, settings: CommonSettings) -> Policy:
        """Return when tokens of these settings are to be refreshed."""
        policy = Policy(
            refresh_at=settings.refresh_at,
            jitter=settings.jitter,
            min_validity=settings.min_validity,
            retry_budget=settings.retry_budget,
            min_interval=settings.min_interval,
            max_age=settings.max_age,
            reissue=settings.reissue,
            fresh_window=settings.fresh_window,
        )
        return self._policies.setdefault(policy, policy)

    def discovery(self, settings: CommonSettings) -> "Discovery | None":
        """Return what reads an issuer's metadata, shared by its tokens; None where not needed."""
        if settings.issuer is None or settings.token_url is not None:
            return None
        from job.oauth.discovery import Discovery  # noqa: PLC0415  # 0.1 s of CPU

        transport = self.transport(settings, settings.issuer)
        with self._lock:
            fresh = Discovery(settings.issuer, transport, self.clock)
            return self._discoveries.setdefault((settings.issuer, id(transport)), fresh)

    def transport(self, settings: CommonSettings, url: str) -> "Transport":
        """Return how to reach a URL for a token, shared by all that reach it the same way."""
        from job.http.transport import Transport  # noqa: PLC0415  # 0.1 s of CPU

        proxy = proxy_for(url, settings.proxy, self.environ)
        certificate = settings.certificate
        key = (settings.timeout, self._ca_file(settings), proxy, certificate)
        with self._lock:
            if key not in self._transports:
                proxies = {"http": proxy, "https": proxy} if proxy else {}
                self._transports[key] = Transport(*key[:2], proxies, certificate, self._threads)
            return self._transports[key]

    def _ca_file(self, settings: CommonSettings) -> str:
        usual = (self.environ[name] for name in CA_VARIABLES if self.environ.get(name))
        return settings.ca_file or next(usual, "")


def proxy_for(url: str, proxy: str | None, environ: Mapping[str, str]) -> str:
    """Return the proxy for a URL, empty for none: the configured one, or the environment's."""
    from urllib import request  # noqa: PLC0415  # loads http and ssl

    if proxy is not None:
        return proxy
    parts = urlsplit(url)
    direct = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    bypass = request.proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it
    if bypass(parts.hostname or "", {"no": direct}):
        return ""
    names = (f"{parts.scheme}_proxy", "all_proxy")
    found = (environ.get(name) or environ.get(name.upper()) for name in names)
    return next(filter(None, found), "")
