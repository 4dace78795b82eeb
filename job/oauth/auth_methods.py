"""The client authentication methods: what each needs, what goes with it, how it is made.

requests, PyJWT and cryptography are loaded when a token is asked for, and only if a method needs
them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_type

from job.core.clock import Clock
from job.core.secret import Secret
from job.credentials.watched import WatchedSecret
from job.oauth.certificate import content
from job.oauth.settings import AuthMethod, RequestSettings

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from job.oauth.assertion import AssertionRules
    from job.oauth.keys import SigningKey


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """A token endpoint, and its issuer, which is empty unless discovery is used."""

    token_url: str
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client, what proves it, and the endpoint that it speaks to."""

    settings: RequestSettings
    client_id: str
    proof: WatchedSecret
    endpoint: TokenEndpoint
    clock: Clock


@dataclass(frozen=True, slots=True)
class Method:
    """One auth_method. `needs` are the keys that it requires, `takes` those that go with it.

    `make` makes what signs the requests of a client. `better` are the methods for the same proof,
    best first, among which the metadata of an issuer may choose. With `must_be_current` an expired
    certificate proves nothing. `is_encoded`: the client's values go into a header, which some
    servers decode and others do not.
    """

    make: "Callable[[OAuthClient], AuthBase]"
    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    better: tuple[AuthMethod, ...] = ()
    must_be_current: bool = False
    is_encoded: bool = False

    @property
    def asserts(self) -> bool:
        """Tell whether an assertion proves the client."""
        return "assertion_in" in self.takes


def _basic(client: OAuthClient) -> "AuthBase":
    from job.oauth import client_auth as auth  # noqa: PLC0415  # 0.1 s of CPU

    encoding, scheme = client.settings.basic_encoding, client.settings.authorization_scheme
    return auth.ClientSecretBasic(client.client_id, client.proof.resolve, encoding, scheme)


def _post(client: OAuthClient) -> "AuthBase":
    from job.oauth import client_auth as auth  # noqa: PLC0415  # as above

    names = client.settings.client_id_param, client.settings.client_secret_param
    return auth.ClientSecretPost(client.client_id, client.proof.resolve, *names)


def _id_only(client: OAuthClient) -> "AuthBase":
    from job.oauth import client_auth as auth  # noqa: PLC0415  # as above

    return auth.ClientIdOnly(client.client_id, client.proof.resolve)


def _signed_by_secret(client: OAuthClient) -> "AuthBase":
    def key() -> "SigningKey":
        from job.oauth import keys  # noqa: PLC0415  # 60 ms of CPU

        return keys.mac_key(client.proof.resolve(), client.settings.signing_alg)

    return _signed(client, key)


def _signed_by_key(client: OAuthClient) -> "AuthBase":
    def key() -> "SigningKey":
        """Return the key as it is now, and the certificate that names it unless TLS shows that."""
        from job.oauth import keys  # noqa: PLC0415  # as above

        settings = client.settings
        named = settings.certificate is None and settings.certificate_file is not None
        pem = content(settings.certificate_file or "") if named else None
        secret, algorithm = client.proof.resolve(), settings.signing_alg
        return keys.private_key(secret, algorithm, settings.key_id, pem)

    return _signed(client, key)


def _signed(client: OAuthClient, key: "Callable[[], SigningKey]") -> "AuthBase":
    from job.oauth.assertion import SignedAssertion  # noqa: PLC0415  # 60 ms of CPU

    return _asserting(client, SignedAssertion(_rules(client), key, client.clock))


def _foreign(client: OAuthClient) -> "AuthBase":
    from job.oauth.assertion import ForeignAssertion  # noqa: PLC0415  # as above

    return _asserting(client, ForeignAssertion(client.proof.resolve, client.clock))


def _asserting(client: OAuthClient, assertion: Callable[[], Secret]) -> "AuthBase":
    """Return the method that puts an assertion where this server looks for it."""
    from job.oauth import client_auth as auth  # noqa: PLC0415  # as above

    settings = client.settings
    match settings.assertion_in:
        case "client_assertion":
            return auth.ClientAssertion(client.client_id, assertion, settings.assertion_type)
        case "assertion":
            return auth.AssertionGrant(assertion)
        case bearer:
            assert_type(bearer, Literal["bearer"])  # a further place fails here
            return auth.BearerAssertion(assertion)


def _rules(client: OAuthClient) -> "AssertionRules":
    """Return what assertions say. RFC 10070 is for clients of a known issuer.

    Where metadata were not asked for, most servers want their token endpoint as the audience.
    """
    from job.oauth.assertion import AssertionRules  # noqa: PLC0415  # as above

    settings, endpoint = client.settings, client.endpoint
    modern = endpoint.issuer and settings.assertion_in == "client_assertion"
    audiences = {"issuer": endpoint.issuer, "token_url": endpoint.token_url}
    audience = settings.assertion_audience or ("issuer" if modern else "token_url")
    typ = settings.assertion_typ or ("client-authentication+jwt" if modern else "JWT")
    return AssertionRules(
        client.client_id,
        audiences.get(audience, audience),
        "" if typ == "none" else typ,
        int(settings.assertion_lifetime),
        settings.assertion_claims,
    )


SECRET, CERTIFICATE = ("client_id", "client_secret"), ("client_id", "certificate_file", "key_file")
SIGNED = ("signing_alg", "assertion_in", "assertion_audience", "assertion_typ", "assertion_claims")
METHODS: Mapping[AuthMethod, Method] = {
    "client_secret_basic": Method(
        _basic,
        SECRET,
        # The body leaves no doubt about encoding (OAuth 2.1 section 2.5.1 prefers it, too).
        better=("client_secret_post", "client_secret_basic", "client_secret_jwt"),
        is_encoded=True,
    ),
    "client_secret_post": Method(_post, SECRET),
    "client_secret_jwt": Method(_signed_by_secret, SECRET, SIGNED),
    "private_key_jwt": Method(
        _signed_by_key, ("client_id", "private_key"), ("key_id", *SIGNED, "certificate_file")
    ),
    "client_assertion": Method(_foreign, ("client_assertion",), ("assertion_in",)),
    "tls_client_auth": Method(
        _id_only,
        CERTIFICATE,
        better=("tls_client_auth", "self_signed_tls_client_auth"),
        must_be_current=True,
    ),
    "self_signed_tls_client_auth": Method(_id_only, CERTIFICATE),
    "none": Method(_id_only, ("client_id",)),
}
"""docs/extending.md shows how to add one."""
PROOFS: Mapping[str, AuthMethod] = {
    "client_secret": "client_secret_basic",
    "private_key": "private_key_jwt",
    "client_assertion": "client_assertion",
}
"""The keys that say where a proof comes from, each with the default method for it."""


def methods_with(key: str) -> Iterator[AuthMethod]:
    """Yield the methods that a key goes with."""
    for name, method in METHODS.items():
        if key in method.needs or key in method.takes:
            yield name
