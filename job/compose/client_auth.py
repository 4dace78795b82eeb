"""From settings to what proves a client, and to the endpoint that it speaks to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from job.compose.tools import Tools
from job.config.settings import TokenSettings
from job.core.secret import Secret
from job.credentials.watched import WatchedSecret
from job.oauth.auth_methods import METHODS, TokenEndpoint
from job.oauth.certificate import CertificateFiles

if TYPE_CHECKING:
    from job.oauth.metadata import Metadata


@dataclass(frozen=True, slots=True)
class NoSecret:
    """What a client has that proves nothing."""

    def resolve(self) -> Secret:
        """Return an empty one."""
        return Secret("")


def configured(settings: TokenSettings) -> TokenEndpoint:
    """Return the endpoint that settings name; its URL is empty where the issuer has to say."""
    return TokenEndpoint(settings.token_url or "", settings.issuer or "")


def published(settings: TokenSettings, metadata: "Metadata") -> TokenEndpoint:
    """Return the endpoint that metadata name; clients that show a certificate have their own.

    That is the mTLS alias of RFC 8705 section 5.
    """
    url = metadata.token_url if settings.certificate is None else metadata.mtls_token_url
    return TokenEndpoint(url, metadata.issuer)


def chosen(settings: TokenSettings, metadata: "Metadata") -> TokenSettings:
    """Return the settings with the method that suits both the client and its server."""
    if not settings.discover_auth_method:
        return settings
    suitable = METHODS[settings.auth_method].better
    offered = (method for method in suitable if method in metadata.auth_methods)
    method = next(offered, settings.auth_method)
    return msgspec.structs.replace(settings, auth_method=method)


def proof_of(settings: TokenSettings, tools: Tools) -> WatchedSecret:
    """Return what the client proves itself by: a secret, a key, an assertion, or a certificate."""
    for source in (settings.client_secret, settings.private_key, settings.client_assertion):
        if source is not None:
            return tools.secret(source)
    shown, clock = settings.certificate, tools.clock
    if shown is None:
        return WatchedSecret(NoSecret(), clock=clock)
    must_be_current = settings.auth_method == "tls_client_auth"
    return WatchedSecret(CertificateFiles(*shown, clock, must_be_current), clock=clock)
