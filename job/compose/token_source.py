"""From settings to sources of tokens: the OAuth half of the composition root."""

import os.path
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from job.aws.clients import AwsClients
from job.compose.client_auth import (
    Place,
    auth_of,
    certificate_of,
    chosen,
    configured,
    proof_of,
    published,
)
from job.compose.credentials import Credentials
from job.compose.dry_run import DryRun
from job.config.client_checks import ASSERTING
from job.config.secret_settings import SecretSettings
from job.config.settings import CommonSettings, TokenSettings
from job.core.clock import Clock
from job.core.ports import TokenSource
from job.core.tokens import Token, request_key
from job.credentials.watched import WatchedSecret
from job.http.deadline import Threads
from job.values import seconds

if TYPE_CHECKING:
    from job.http.transport import Transport
    from job.oauth.discovery import Discovery
    from job.oauth.exchange import ClientCredentials
    from job.oauth.metadata import Metadata
    from job.oauth.token_response import ResponseRules

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

    def __init__(self, environ: Mapping[str, str], clock: Clock, aws: AwsClients) -> None:
        """Build nothing yet."""
        self._credentials = Credentials(environ, aws, clock)
        self._environ = environ
        self._clock = clock
        self._discoveries: dict[tuple[str, int], Discovery] = {}
        self._transports: dict[tuple[object, ...], Transport] = {}
        self._threads = Threads()
        self._lock = threading.Lock()

    def source(self, settings: TokenSettings, folder: str) -> LazySource:
        """Return where tokens of these settings come from; relative paths start at `folder`."""
        proof = self.proof(settings, folder)
        return LazySource(proof, lambda: self._source(settings, folder, proof))

    def exchange(
        self, settings: TokenSettings, folder: str
    ) -> "tuple[TokenSettings, ClientCredentials]":
        """Return the exchange itself, for who wants to see the answer too, and what settled it.

        Raises ExchangeError where the issuer's metadata are needed and can't be had.
        """
        proof = self.proof(settings, folder)
        discovery = self.discovery(settings, folder)
        if discovery is None:
            return settings, self._exchange(settings, folder, proof, configured(settings))
        metadata = discovery.metadata()
        found = self._discovered(settings, folder, proof, metadata)
        return chosen(settings, metadata), found

    def proof(self, settings: TokenSettings, folder: str) -> WatchedSecret:
        """Return what the client proves itself by."""
        return proof_of(settings, folder, self._credentials, self._clock)

    def secret(self, settings: SecretSettings, folder: str) -> WatchedSecret:
        """Return where a secret comes from that is no client's."""
        return self._credentials.watched(settings, folder)

    def dry_run(self, settings: TokenSettings, folder: str) -> DryRun:
        """Return what `check` tries of a client."""
        proof = self.proof(settings, folder)
        return DryRun(settings, folder, proof, configured(settings), self._clock)

    def discovery(self, settings: CommonSettings, folder: str) -> "Discovery | None":
        """Return who asks for an issuer's metadata, shared by its tokens; None if nobody has to."""
        if settings.issuer is None or settings.token_url is not None:
            return None
        from job.oauth.discovery import Discovery  # noqa: PLC0415  # 0.1 s of CPU

        transport = self.transport(settings, folder, settings.issuer)
        with self._lock:
            fresh = Discovery(settings.issuer, transport, self._clock)
            return self._discoveries.setdefault((settings.issuer, id(transport)), fresh)

    def transport(self, settings: CommonSettings, folder: str, url: str) -> "Transport":
        """Return how to reach a URL for a token; all with the same way share it."""
        from job.http.transport import Transport  # noqa: PLC0415  # 0.1 s of CPU

        proxy = proxy_for(url, settings.proxy, self._environ)
        certificate = certificate_of(settings, folder)
        key = (seconds(settings.timeout), self._ca_file(settings, folder), proxy, certificate)
        with self._lock:
            if key not in self._transports:
                proxies = {"http": proxy, "https": proxy} if proxy else {}
                self._transports[key] = Transport(*key[:2], proxies, certificate, self._threads)
            return self._transports[key]

    def _ca_file(self, settings: CommonSettings, folder: str) -> str:
        """Return the file of certificate authorities to trust, empty for the usual ones."""
        if settings.ca_file:
            return os.path.join(folder, settings.ca_file)
        return next((self._environ[v] for v in CA_VARIABLES if self._environ.get(v)), "")

    def _source(self, settings: TokenSettings, folder: str, proof: WatchedSecret) -> TokenSource:
        from job.oauth.discovery import DiscoveredSource  # noqa: PLC0415  # as above

        discovery = self.discovery(settings, folder)
        if discovery is None:
            return self._exchange(settings, folder, proof, configured(settings))
        return DiscoveredSource(
            discovery, lambda metadata: self._discovered(settings, folder, proof, metadata)
        )

    def _discovered(
        self, settings: TokenSettings, folder: str, proof: WatchedSecret, metadata: "Metadata"
    ) -> "ClientCredentials":
        """Return the exchange with the endpoint that the metadata name."""
        settled = chosen(settings, metadata)
        return self._exchange(settled, folder, proof, published(settled, metadata))

    def _exchange(
        self, settings: TokenSettings, folder: str, proof: WatchedSecret, place: Place
    ) -> "ClientCredentials":
        from job.oauth import exchange, request  # noqa: PLC0415  # 0.1 s of CPU

        return exchange.ClientCredentials(
            request.TokenRequest(
                place.token_url,
                params_of(settings),
                settings.headers,
                settings.http_method,
                settings.request_format,
            ),
            auth_of(settings, folder, proof, place, self._clock),
            proof,
            self.transport(settings, folder, place.token_url),
            rules_of(settings),
            self._clock,
            settings.introspection_url or "",
        )


def token_url_of(settings: CommonSettings) -> str:
    """Return the token endpoint, or else the issuer that names it."""
    return settings.token_url or settings.issuer or ""


def key_of(settings: TokenSettings) -> str:
    """Return the request key under which a token of these settings is stored."""
    return request_key(
        token_url_of(settings),
        settings.client_id,
        settings.scope,
        settings.audience,
        settings.resource,
        {**settings.extra_params, **_not_usual(settings)},
    )


def _not_usual(settings: CommonSettings) -> dict[str, object]:
    """Return what else decides which token is stored, where it is not what most providers have.

    So the keys of tokens that were stored before these settings existed stay what they were.
    """
    usual = CommonSettings()
    names = ("grant_type", "token_path", "token_type", "assertion_claims")
    pairs = ((name, getattr(settings, name)) for name in names)
    return {f"freshtoken.{name}": value for name, value in pairs if value != getattr(usual, name)}


def rules_of(settings: CommonSettings) -> "ResponseRules":
    """Return how the answers of this provider are to be read."""
    from job.oauth.token_response import ResponseRules  # noqa: PLC0415  # only an exchange needs it

    return ResponseRules(
        scope=" ".join(settings.scope),
        lifetime=_maybe_int(settings.lifetime),
        default_lifetime=int(seconds(settings.default_lifetime)),
        jwt_expiry=settings.jwt_expiry,
        keep_extra=settings.keep_extra,
        token_path=settings.token_path,
        expiry_path=settings.expiry_path or "",
        unit_s=0.001 if settings.expiry_unit == "ms" else 1.0,
        token_type=settings.token_type or "",
        signed=settings.auth_method in ASSERTING,
    )


def params_of(settings: CommonSettings) -> tuple[tuple[str, str], ...]:
    """Return the parameters of the token request (RFC 6749 section 4.4.2, RFC 8707)."""
    params = [
        ("grant_type", settings.grant_type),
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
