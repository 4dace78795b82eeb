"""From settings to sources of tokens: the OAuth half of the composition root."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job.compose.client_auth import chosen, configured, proof_of, published
from job.compose.tools import Tools
from job.config.settings import CommonSettings, TokenSettings
from job.core.ports import TokenSource
from job.core.tokens import Token, request_key
from job.credentials.watched import WatchedSecret
from job.oauth.auth_methods import METHODS, OAuthClient, TokenEndpoint

if TYPE_CHECKING:
    from job.oauth.exchange import ClientCredentials
    from job.oauth.metadata import Metadata
    from job.oauth.token_response import ResponseRules


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


def source_of(settings: TokenSettings, tools: Tools) -> LazySource:
    """Return where tokens of these settings come from."""
    exchanges = Exchanges(settings, tools, proof_of(settings, tools))
    return LazySource(exchanges.proof, exchanges.source)


def exchange_of(settings: TokenSettings, tools: Tools) -> "tuple[TokenSettings, ClientCredentials]":
    """Return the exchange itself, to see the answer too, and the settings that discovery gave it.

    Raises ExchangeError where the issuer's metadata are needed and can't be had.
    """
    exchanges = Exchanges(settings, tools, proof_of(settings, tools))
    discovery = tools.discovery(settings)
    if discovery is None:
        return settings, exchanges.at(configured(settings))
    metadata = discovery.metadata()
    return chosen(settings, metadata), exchanges.discovered(metadata)


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Makes the exchanges of one client."""

    settings: TokenSettings
    tools: Tools
    proof: WatchedSecret

    def source(self) -> TokenSource:
        """Return the exchange, or what finds its endpoint first."""
        from job.oauth.discovery import DiscoveredSource  # noqa: PLC0415  # 0.1 s of CPU

        discovery = self.tools.discovery(self.settings)
        if discovery is None:
            return self.at(configured(self.settings))
        return DiscoveredSource(discovery, self.discovered)

    def discovered(self, metadata: "Metadata") -> "ClientCredentials":
        """Return the exchange with the endpoint that the metadata name."""
        settled = chosen(self.settings, metadata)
        return Exchanges(settled, self.tools, self.proof).at(published(settled, metadata))

    def at(self, endpoint: TokenEndpoint) -> "ClientCredentials":
        """Return the exchange with an endpoint."""
        from job.oauth import exchange, request  # noqa: PLC0415  # 0.1 s of CPU

        settings, tools = self.settings, self.tools
        client = OAuthClient(settings, settings.client_id, self.proof, endpoint, tools.clock)
        return exchange.ClientCredentials(
            request.TokenRequest(
                endpoint.token_url,
                params_of(settings),
                settings.headers,
                settings.http_method,
                settings.request_format,
            ),
            METHODS[settings.auth_method].make(client),
            self.proof,
            tools.transport(settings, endpoint.token_url),
            rules_of(settings),
            tools.clock,
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
        lifetime=None if settings.lifetime is None else int(settings.lifetime),
        default_lifetime=int(settings.default_lifetime),
        jwt_expiry=settings.jwt_expiry,
        keep_extra=settings.keep_extra,
        token_path=settings.token_path,
        expiry_path=settings.expiry_path or "",
        unit_s=0.001 if settings.expiry_unit == "ms" else 1.0,
        token_type=settings.token_type or "",
        signed=METHODS[settings.auth_method].asserts,
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
