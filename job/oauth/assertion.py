"""Assertions: short-lived JWTs that say who the client is (RFC 7523), made here or by others."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jwt

from job.core.clock import Clock
from job.core.errors import SecretUnavailable
from job.core.json_object import claims_of
from job.core.secret import Secret
from job.core.text import duration
from job.oauth.keys import SigningKey

BACKDATED_S = 5
"""An assertion is valid at once, even if our clock is a little ahead of the server's."""
JTI_BYTES = 24


@dataclass(frozen=True, slots=True)
class AssertionRules:
    """What an assertion says.

    `audience` is exactly one (RFC 10070); `typ` is the header's, empty for none; `lifetime_s`
    counts from a few seconds ago. `claims` are added or replace ours; an empty one removes it.
    """

    client_id: str
    audience: str
    typ: str = "JWT"
    lifetime_s: int = 60
    claims: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SignedAssertion:
    """Makes a new assertion for each request (RFC 7523 section 3)."""

    rules: AssertionRules
    key: Callable[[], SigningKey]
    clock: Clock
    jti: Callable[[], str] = lambda: secrets.token_urlsafe(JTI_BYTES)

    def __call__(self) -> Secret:
        """Return a new one; raises SecretUnavailable when the key can't be read or used.

        Servers accept each `jti` once (OpenID Connect Core section 9).
        """
        key = self.key()
        issued = int(self.clock().wall) - BACKDATED_S
        claims: dict[str, object] = {
            "iss": self.rules.client_id,
            "sub": self.rules.client_id,
            "aud": self.rules.audience,
            "jti": self.jti(),
            "iat": issued,
            "nbf": issued,
            "exp": issued + self.rules.lifetime_s,
        }
        claims.update(self.rules.claims)
        given = {name: value for name, value in claims.items() if value}
        headers = {**key.names, "typ": self.rules.typ}
        return Secret(jwt.encode(given, key.key, key.algorithm, headers))


@dataclass(frozen=True)
class ForeignAssertion:
    """Uses an assertion that others make, such as a projected Kubernetes token."""

    source: Callable[[], Secret]
    clock: Clock

    def __call__(self) -> Secret:
        """Return the current one; raises SecretUnavailable unless it is a JWT that is valid now."""
        assertion = Secret(self.source().reveal().strip())
        claims = claims_of(assertion.reveal())
        if claims is None:
            raise SecretUnavailable(
                "client_assertion_unusable",
                "what client_assertion gives is not a signed JWT (three parts of base64url, joined "
                "by points); check its source",
            )
        expires_at, now = claims.get("exp"), self.clock().wall
        if isinstance(expires_at, int | float) and expires_at <= now:
            raise SecretUnavailable(
                "client_assertion_expired",
                f"the assertion expired {duration(now - expires_at)} ago; see why its source gives "
                "no newer one, and check this machine's clock",
            )
        return assertion
