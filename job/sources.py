"""From settings to sources of tokens: the OAuth half of the composition root."""

import os.path
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, assert_type
from urllib.parse import urlsplit

from job.clock import Clock
from job.config.settings import CommonSettings, SecretSettings, TokenSettings
from job.config.values import seconds
from job.refresh import TokenSource
from job.secret import CommandSecret, EnvironmentSecret, FileSecret, WatchedSecret
from job.tokens import Token, request_key

if TYPE_CHECKING:
    from job.oauth.exchange import ClientCredentials
    from job.oauth.transport import Transport

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class LazySource:
    """A token source that is built, requests and all, when a token is first asked for."""

    __slots__ = ("_make", "_source", "secret")

    def __init__(self, secret: WatchedSecret, make: Callable[[], TokenSource]) -> None:
        """Keep how to build it, and the secret that it will use."""
        self.secret = secret
        self._make: Callable[[], TokenSource] | None = make
        self._source: TokenSource | None = None

    def fetch(self) -> Token:
        """Return a new token; raises ExchangeError."""
        if self._make is not None:
            self._source, self._make = self._make(), None
        return self._source.fetch()  # type: ignore[union-attr]  # the line above has set it

    def changed(self) -> bool:
        """Tell whether the client secret has changed since it was last used."""
        return self.secret.changed()


class Sources:
    """Builds token sources, and shares between them what can be shared."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        """Build nothing yet."""
        self._environ = environ
        self._clock = clock
        self._transports: dict[tuple[float, str, str], Transport] = {}
        self._lock = threading.Lock()

    def source(self, settings: TokenSettings, folder: str) -> LazySource:
        """Return where tokens of these settings come from; relative paths start at `folder`."""
        secret = self.secret(settings.client_secret, folder)
        return LazySource(secret, lambda: self._exchange(settings, folder, secret))

    def secret(self, settings: SecretSettings, folder: str) -> WatchedSecret:
        """Return where a client secret comes from."""
        if settings.env is not None:
            return WatchedSecret(EnvironmentSecret(settings.env, self._environ))
        if settings.file is not None:
            return WatchedSecret(FileSecret(os.path.join(folder, settings.file)))
        return WatchedSecret(CommandSecret(settings.command or ()))

    def transport(self, settings: CommonSettings, folder: str) -> "Transport":
        """Return how to reach a token endpoint; all tokens with the same way share it."""
        from job.oauth.transport import Transport  # noqa: PLC0415  # 0.1 s of CPU

        proxy = proxy_for(token_url_of(settings), settings.proxy, self._environ)
        key = (seconds(settings.timeout), self._ca_file(settings, folder), proxy)
        with self._lock:
            if key not in self._transports:
                proxies = {"http": proxy, "https": proxy} if proxy else {}
                self._transports[key] = Transport(*key[:2], proxies)
            return self._transports[key]

    def _ca_file(self, settings: CommonSettings, folder: str) -> str:
        """Return the file of certificate authorities to trust, empty for the usual ones."""
        if settings.ca_file:
            return os.path.join(folder, settings.ca_file)
        return next((self._environ[v] for v in CA_VARIABLES if self._environ.get(v)), "")

    def _exchange(
        self, settings: TokenSettings, folder: str, secret: WatchedSecret
    ) -> "ClientCredentials":
        from job.oauth import answer, client_auth, exchange, request  # noqa: PLC0415  # 0.1 s of CPU

        auth: client_auth.ClientSecretBasic | client_auth.ClientSecretPost
        match settings.auth_method:
            case "client_secret_basic":
                auth = client_auth.ClientSecretBasic(
                    settings.client_id, secret.resolve, settings.basic_encoding
                )
            case post:
                assert_type(post, Literal["client_secret_post"])  # a third one fails here
                auth = client_auth.ClientSecretPost(settings.client_id, secret.resolve)
        return exchange.ClientCredentials(
            request.TokenRequest(token_url_of(settings), params_of(settings), settings.headers),
            auth,
            secret,
            self.transport(settings, folder),
            answer.AnswerRules(
                scope=" ".join(settings.scope),
                lifetime=_maybe_int(settings.lifetime),
                default_lifetime=int(seconds(settings.default_lifetime)),
                jwt_expiry=settings.jwt_expiry,
                keep_extra=settings.keep_extra,
            ),
            self._clock,
        )


def token_url_of(settings: CommonSettings) -> str:
    """Return the token endpoint; settings that were loaded always have one."""
    return settings.token_url or ""


def key_of(settings: TokenSettings) -> str:
    """Return the request key under which a token of these settings is stored."""
    return request_key(
        token_url_of(settings),
        settings.client_id,
        settings.scope,
        settings.audience,
        settings.resource,
        settings.extra_params,
    )


def params_of(settings: CommonSettings) -> tuple[tuple[str, str], ...]:
    """Return the parameters of the token request (RFC 6749 section 4.4.2, RFC 8707)."""
    params = [
        ("grant_type", "client_credentials"),
        ("scope", settings.scope_separator.join(settings.scope)),
        ("audience", settings.audience or ""),
    ]
    params += [("resource", resource) for resource in settings.resource]
    return (*params, *settings.extra_params.items())


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


def _maybe_int(duration: str | float | None) -> int | None:
    return None if duration is None else int(seconds(duration))
