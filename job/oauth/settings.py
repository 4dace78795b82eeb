"""The keys that say which endpoint is asked for a token, by which client, and for what."""

from typing import Literal

from job.values import AssertionLifetime, FilePath, Table, default

AuthMethod = Literal[
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "client_assertion",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "none",
]
SigningAlgorithm = Literal[
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]


class RequestSettings(Table, frozen=True, kw_only=True):
    """What a token request is made of, except the client itself."""

    provider: str | None = None
    """A preset (`freshtoken providers`)."""
    provider_params: dict[str, str] = default({})
    """What a preset needs of your own, such as the tenant in its URL (`freshtoken providers
    NAME`)."""
    token_url: str | None = None
    """The token endpoint (RFC 6749 section 3.2)."""
    issuer: str | None = None
    """Instead of token_url: the issuer whose metadata name it (RFC 8414, OpenID Connect
    Discovery)."""
    auth_method: AuthMethod = "client_secret_basic"
    """How the client proves itself (docs/client-authentication.md)."""
    discover_auth_method: bool = False
    """Let the issuer's metadata choose among the methods that go with what the client has; default:
    true if issuer is set and auth_method is not."""
    basic_encoding: Literal["form", "raw"] = "form"
    """How id and secret are encoded in the Basic header: form is the RFC's way, raw is for servers
    that don't decode."""
    key_id: str | None = None
    """The `kid` of private_key; default: the one in its JWK."""
    signing_alg: SigningAlgorithm | None = None
    """How assertions are signed; default: by the key, RS256 and HS256."""
    certificate_file: FilePath | None = None
    """The client's certificate (PEM): shown in TLS with key_file, else named by its thumbprint
    (x5t#S256) in assertions of private_key_jwt."""
    key_file: FilePath | None = None
    """The private key (PEM) of certificate_file, for TLS."""
    assertion_audience: str | None = None
    """The `aud` of assertions: issuer, token_url, or the very text; default: issuer if that is set,
    else token_url."""
    assertion_typ: str | None = None
    """The `typ` of assertions, none for no such member; default: client-authentication+jwt if
    issuer is set, else JWT."""
    assertion_lifetime: AssertionLifetime = default(AssertionLifetime("60s"))
    """How long an assertion is valid."""
    assertion_claims: dict[str, str] = default({})
    """Further claims of assertions; an empty text leaves one out."""
    assertion_type: str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    """The `client_assertion_type` (RFC 7521 section 4.2)."""
    assertion_in: Literal["client_assertion", "assertion", "bearer"] = "client_assertion"
    """Where the assertion goes: client_assertion authenticates the client, assertion is the grant
    itself (RFC 7523), bearer is the Authorization header."""
    scope: tuple[str, ...] = ()
    """The scopes to ask for."""
    scope_separator: str = " "
    """What joins the scopes."""
    audience: str | None = None
    """The `audience` parameter."""
    resource: tuple[str, ...] = ()
    """The `resource` parameters (RFC 8707)."""
    grant_type: str = "client_credentials"
    """What the provider calls the client credentials grant; an empty text sends none
    (docs/requests-and-answers.md)."""
    http_method: Literal["POST", "GET"] = "POST"
    """The HTTP method of the token request."""
    request_format: Literal["form", "json", "query"] = "form"
    """Where parameters go: a form body, a JSON body, or the URL's query, where client_secret_post
    puts the secret into the URL, too."""
    client_id_param: str = "client_id"
    """The name of the client id among client_secret_post's parameters."""
    client_secret_param: str = "client_secret"  # noqa: S105  # a name, not a secret
    """The name of the secret among client_secret_post's parameters."""
    authorization_scheme: str = "Basic"
    """The word before the credentials of client_secret_basic."""
    extra_params: dict[str, str] = default({})
    """Further parameters of the token request."""
    headers: dict[str, str] = default({})
    """Further headers of the token request, User-Agent among them; {uuid} in a value is a new UUID
    for each request."""

    @property
    def certificate(self) -> tuple[str, str] | None:
        """Return the paths of the certificate that is shown in TLS and of its key, or None."""
        if self.certificate_file is None or self.key_file is None:
            return None
        return self.certificate_file, self.key_file
