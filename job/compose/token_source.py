"""From settings to sources of tokens: the OAuth half of the composition root."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from job.compose.tools import Tools
from job.config.settings import CommonSettings, TokenSettings
from job.core.errors import RequestRejected
from job.core.secret import Secret
from job.core.tokens import Token, request_key
from job.credentials.watched import WatchedSecret
from job.oauth.auth_methods import METHODS, PROOFS, OAuthClient, TokenEndpoint
from job.oauth.certificate import CertificateFiles

if TYPE_CHECKING:
    from job.oauth.exchange import ClientCredentials
    from job.oauth.metadata import Metadata
    from job.oauth.token_response import ResponseRules


class ClientSource:
    """The tokens of one client. What sends requests is loaded when a token is first fetched."""

    __slots__ = ("_made", "_settings", "_tools", "proof")

    def __init__(self, settings: TokenSettings, tools: Tools) -> None:
        """Load nothing yet; `proof` is what the client will prove itself by."""
        self.proof = proof_of(settings, tools)
        self._settings = settings
        self._tools = tools
        self._made: tuple[Metadata | None, ClientCredentials] | None = None

    def fetch(self) -> Token:
        """Return a new token; raises ExchangeError, also where the issuer's metadata are missing.

        When the endpoint refuses the request, the metadata that name it are read again.
        """
        discovery = self._tools.discovery(self._settings)
        metadata = None if discovery is None else discovery.metadata()
        if self._made is None or self._made[0] != metadata:
            found, endpoint = settled(self._settings, metadata)
            self._made = (metadata, _exchange(found, endpoint, self.proof, self._tools))
        try:
            return self._made[1].fetch()
        except RequestRejected:
            if discovery is not None and metadata is not None:
                discovery.doubt(metadata)
            raise

    def changed(self) -> bool:
        """Tell whether what proves the client has changed since it was last used."""
        return self.proof.changed()


def exchange_of(settings: TokenSettings, tools: Tools) -> "tuple[TokenSettings, ClientCredentials]":
    """Return the exchange itself, to see the answer too, and the settings that discovery gave it.

    Raises ExchangeError where the issuer's metadata are needed and missing.
    """
    discovery = tools.discovery(settings)
    found, endpoint = settled(settings, None if discovery is None else discovery.metadata())
    return found, _exchange(found, endpoint, proof_of(settings, tools), tools)


def settled(
    settings: TokenSettings, metadata: "Metadata | None"
) -> tuple[TokenSettings, TokenEndpoint]:
    """Return the settings and the endpoint, as the issuer's metadata complete them.

    Of the methods that suit the client, one that the server takes is chosen. Clients that show a
    certificate have an endpoint of their own: the mTLS alias (RFC 8705 section 5). Without
    metadata the URL is empty unless it is configured.
    """
    if metadata is None:
        return settings, TokenEndpoint(settings.token_url or "", settings.issuer or "")
    if settings.discover_auth_method:
        suitable = METHODS[settings.auth_method].better
        offered = (method for method in suitable if method in metadata.auth_methods)
        method = next(offered, settings.auth_method)
        settings = msgspec.structs.replace(settings, auth_method=method)
    url = metadata.token_url if settings.certificate is None else metadata.mtls_token_url
    return settings, TokenEndpoint(url, metadata.issuer)


def _exchange(
    settings: TokenSettings, endpoint: TokenEndpoint, proof: WatchedSecret, tools: Tools
) -> "ClientCredentials":
    from job.oauth import exchange, request  # noqa: PLC0415  # 0.1 s of CPU

    client = OAuthClient(settings, settings.client_id, proof, endpoint, tools.clock)
    return exchange.ClientCredentials(
        request.TokenRequest(
            endpoint.token_url,
            params_of(settings),
            settings.headers,
            settings.http_method,
            settings.request_format,
        ),
        METHODS[settings.auth_method].make(client),
        proof,
        tools.transport(settings, endpoint.token_url),
        rules_of(settings),
        tools.clock,
        settings.introspection_url or "",
    )


@dataclass(frozen=True, slots=True)
class NoSecret:
    """What a public client has: nothing that proves it."""

    def resolve(self) -> Secret:
        """Return an empty one."""
        return Secret("")


def proof_of(settings: TokenSettings, tools: Tools) -> WatchedSecret:
    """Return what the client proves itself by: a secret, a key, an assertion, or a certificate."""
    for source in filter(None, (getattr(settings, key) for key in PROOFS)):
        return tools.secret(source)
    shown, clock = settings.certificate, tools.clock
    if shown is None:
        return WatchedSecret(NoSecret(), clock=clock)
    must_be_current = METHODS[settings.auth_method].must_be_current
    return WatchedSecret(CertificateFiles(*shown, clock, must_be_current), clock=clock)


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
