"""From settings to how a client proves itself: the part of the composition root that knows how.

requests, PyJWT and cryptography are loaded when a token is exchanged, and only for who needs them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_type

import msgspec

from job.compose.credentials import Credentials
from job.config.settings import AuthMethod, CommonSettings, TokenSettings
from job.core.clock import Clock
from job.core.secret import Secret
from job.credentials.watched import WatchedSecret
from job.oauth.certificate import CertificateFiles, content

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from job.oauth.assertion import AssertionRules
    from job.oauth.keys import SigningKey
    from job.oauth.metadata import Metadata

Silent = Literal["tls_client_auth", "self_signed_tls_client_auth", "none"]
"""The methods whose requests hold nothing but the client's name."""


ALTERNATIVES: Mapping[AuthMethod, tuple[AuthMethod, ...]] = {
    # In the body there is no doubt about its encoding (OAuth 2.1 section 2.5.1 prefers it, too).
    "client_secret_basic": ("client_secret_post", "client_secret_basic", "client_secret_jwt"),
    "tls_client_auth": ("tls_client_auth", "self_signed_tls_client_auth"),
}
"""For what a client has, the methods that use it, the best one first."""


@dataclass(frozen=True, slots=True)
class NoSecret:
    """What a client has that proves nothing."""

    def resolve(self) -> Secret:
        """Return an empty one."""
        return Secret("")


@dataclass(frozen=True, slots=True)
class Place:
    """Whom the client speaks to: an endpoint, and its issuer, empty unless discovery is used."""

    token_url: str
    issuer: str = ""


def configured(settings: TokenSettings) -> Place:
    """Return the place that settings name; the endpoint is empty where the issuer has to say."""
    return Place(settings.token_url or "", settings.issuer or "")


def published(settings: TokenSettings, metadata: "Metadata") -> Place:
    """Return the place that metadata name; who shows a certificate has an endpoint of his own.

    That is the mTLS alias of RFC 8705 section 5.
    """
    shows = certificate_of(settings) is not None
    return Place(metadata.mtls_token_url if shows else metadata.token_url, metadata.issuer)


def chosen(settings: TokenSettings, metadata: "Metadata") -> TokenSettings:
    """Return the settings with the method that suits both the client and its server."""
    if not settings.discover_auth_method:
        return settings
    suitable = ALTERNATIVES.get(settings.auth_method, ())
    offered = (method for method in suitable if method in metadata.auth_methods)
    method = next(offered, settings.auth_method)
    return msgspec.structs.replace(settings, auth_method=method)


def proof_of(settings: TokenSettings, credentials: Credentials, clock: Clock) -> WatchedSecret:
    """Return what the client proves itself by: a secret, a key, an assertion, or a certificate."""
    for source in (settings.client_secret, settings.private_key, settings.client_assertion):
        if source is not None:
            return credentials.watched(source)
    shown = certificate_of(settings)
    if shown is None:
        return WatchedSecret(NoSecret(), clock=clock)
    must_be_current = settings.auth_method == "tls_client_auth"
    return WatchedSecret(CertificateFiles(*shown, clock, must_be_current), clock=clock)


def certificate_of(settings: CommonSettings) -> tuple[str, str] | None:
    """Return the paths of the certificate that is shown in TLS and of its key, or None."""
    if settings.certificate_file is None or settings.key_file is None:
        return None
    return settings.certificate_file, settings.key_file


def auth_of(
    settings: TokenSettings, proof: WatchedSecret, place: Place, clock: Clock
) -> "AuthBase":
    """Return the method that signs the client's requests."""
    from job.oauth import client_auth as auth  # noqa: PLC0415  # 0.1 s of CPU

    match settings.auth_method:
        case "client_secret_basic":
            scheme = settings.authorization_scheme
            return auth.ClientSecretBasic(
                settings.client_id, proof.resolve, settings.basic_encoding, scheme
            )
        case "client_secret_post":
            names = settings.client_id_param, settings.client_secret_param
            return auth.ClientSecretPost(settings.client_id, proof.resolve, *names)
        case "client_secret_jwt" | "private_key_jwt" | "client_assertion":
            return _asserting(settings, _assertion(settings, proof, place, clock))
        case silent:
            assert_type(silent, Silent)  # a further method fails here
            return auth.ClientIdOnly(settings.client_id, proof.resolve)


def _asserting(settings: TokenSettings, assertion: Callable[[], Secret]) -> "AuthBase":
    """Return the method that puts an assertion where this server looks for it."""
    from job.oauth import client_auth as auth  # noqa: PLC0415  # as above

    match settings.assertion_in:
        case "client_assertion":
            return auth.ClientAssertion(settings.client_id, assertion, settings.assertion_type)
        case "assertion":
            return auth.AssertionGrant(assertion)
        case bearer:
            assert_type(bearer, Literal["bearer"])  # a further place fails here
            return auth.BearerAssertion(assertion)


def _assertion(
    settings: TokenSettings, proof: WatchedSecret, place: Place, clock: Clock
) -> Callable[[], Secret]:
    """Return what makes an assertion for each request, or takes the present one of others."""
    from job.oauth import assertion  # noqa: PLC0415  # 60 ms of CPU

    if settings.auth_method == "client_assertion":
        return assertion.ForeignAssertion(proof.resolve, clock)
    return assertion.SignedAssertion(_rules(settings, place), lambda: _key(settings, proof), clock)


def _key(settings: TokenSettings, proof: WatchedSecret) -> "SigningKey":
    """Return the key as it is now, and the certificate that names it unless TLS shows that."""
    from job.oauth import keys  # noqa: PLC0415  # as above

    if settings.auth_method == "client_secret_jwt":
        return keys.mac_key(proof.resolve(), settings.signing_alg)
    named = settings.key_file is None and settings.certificate_file is not None
    pem = content(settings.certificate_file or "") if named else None
    return keys.private_key(proof.resolve(), settings.signing_alg, settings.key_id, pem)


def _rules(settings: TokenSettings, place: Place) -> "AssertionRules":
    """Return what assertions say. RFC 10070 is for who uses discovery and authenticates by them.

    Where metadata were not asked for, most servers want their token endpoint as the audience.
    """
    from job.oauth.assertion import AssertionRules  # noqa: PLC0415  # as above

    modern = place.issuer and settings.assertion_in == "client_assertion"
    audiences = {"issuer": place.issuer, "token_url": place.token_url}
    audience = settings.assertion_audience or ("issuer" if modern else "token_url")
    typ = settings.assertion_typ or ("client-authentication+jwt" if modern else "JWT")
    return AssertionRules(
        settings.client_id,
        audiences.get(audience, audience),
        "" if typ == "none" else typ,
        int(settings.assertion_lifetime),
        settings.assertion_claims,
    )
