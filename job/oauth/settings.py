"""The keys that say which endpoint is asked for a token, by which client, and for what."""

from typing import Annotated, Literal

from msgspec import Meta

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

    provider: Annotated[str, Meta(description="A preset (`freshtoken providers`).")] | None = None
    provider_params: Annotated[
        dict[str, str],
        Meta(
            description="What a preset needs of your own, such as the tenant in its URL "
            "(`freshtoken providers NAME`)."
        ),
    ] = default({})
    token_url: (
        Annotated[str, Meta(description="The token endpoint (RFC 6749 section 3.2).")] | None
    ) = None
    issuer: (
        Annotated[
            str,
            Meta(
                description="Instead of token_url: the issuer whose metadata name it (RFC 8414, "
                "OpenID Connect Discovery)."
            ),
        ]
        | None
    ) = None
    auth_method: Annotated[
        AuthMethod,
        Meta(description="How the client proves itself (docs/client-authentication.md)."),
    ] = "client_secret_basic"
    discover_auth_method: Annotated[
        bool,
        Meta(
            description="Let the issuer's metadata choose among the methods that go with what the "
            "client has; default: true if issuer is set and auth_method is not."
        ),
    ] = False
    basic_encoding: Annotated[
        Literal["form", "raw"],
        Meta(
            description="How id and secret are encoded in the Basic header: form is the RFC's "
            "way, raw is for servers that don't decode."
        ),
    ] = "form"
    key_id: (
        Annotated[str, Meta(description="The `kid` of private_key; default: the one in its JWK.")]
        | None
    ) = None
    signing_alg: (
        Annotated[
            SigningAlgorithm,
            Meta(description="How assertions are signed; default: by the key, RS256 and HS256."),
        ]
        | None
    ) = None
    certificate_file: (
        Annotated[
            FilePath,
            Meta(
                description="The client's certificate (PEM): shown in TLS with key_file, else "
                "named by its thumbprint (x5t#S256) in assertions of private_key_jwt."
            ),
        ]
        | None
    ) = None
    key_file: (
        Annotated[FilePath, Meta(description="The private key (PEM) of certificate_file, for TLS.")]
        | None
    ) = None
    assertion_audience: (
        Annotated[
            str,
            Meta(
                description="The `aud` of assertions: issuer, token_url, or the very text; "
                "default: issuer if that is set, else token_url."
            ),
        ]
        | None
    ) = None
    assertion_typ: (
        Annotated[
            str,
            Meta(
                description="The `typ` of assertions, none for no such member; default: "
                "client-authentication+jwt if issuer is set, else JWT."
            ),
        ]
        | None
    ) = None
    assertion_lifetime: Annotated[
        AssertionLifetime, Meta(description="How long an assertion is valid.")
    ] = default(AssertionLifetime("60s"))
    assertion_claims: Annotated[
        dict[str, str],
        Meta(description="Further claims of assertions; an empty text leaves one out."),
    ] = default({})
    assertion_type: Annotated[
        str, Meta(description="The `client_assertion_type` (RFC 7521 section 4.2).")
    ] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assertion_in: Annotated[
        Literal["client_assertion", "assertion", "bearer"],
        Meta(
            description="Where the assertion goes: client_assertion authenticates the client, "
            "assertion is the grant itself (RFC 7523), bearer is the Authorization header."
        ),
    ] = "client_assertion"
    scope: Annotated[tuple[str, ...], Meta(description="The scopes to ask for.")] = ()
    scope_separator: Annotated[str, Meta(description="What joins the scopes.")] = " "
    audience: Annotated[str, Meta(description="The `audience` parameter.")] | None = None
    resource: Annotated[
        tuple[str, ...], Meta(description="The `resource` parameters (RFC 8707).")
    ] = ()
    grant_type: Annotated[
        str,
        Meta(
            description="What the provider calls the client credentials grant; an empty text sends "
            "none (docs/requests-and-answers.md)."
        ),
    ] = "client_credentials"
    http_method: Annotated[
        Literal["POST", "GET"], Meta(description="The HTTP method of the token request.")
    ] = "POST"
    request_format: Annotated[
        Literal["form", "json", "query"],
        Meta(
            description="Where parameters go: a form body, a JSON body, or the URL's query, where "
            "client_secret_post puts the secret into the URL, too."
        ),
    ] = "form"
    client_id_param: Annotated[
        str, Meta(description="The name of the client id among client_secret_post's parameters.")
    ] = "client_id"
    client_secret_param: Annotated[
        str, Meta(description="The name of the secret among client_secret_post's parameters.")
    ] = "client_secret"  # noqa: S105  # a name, not a secret
    authorization_scheme: Annotated[
        str, Meta(description="The word before the credentials of client_secret_basic.")
    ] = "Basic"
    extra_params: Annotated[
        dict[str, str], Meta(description="Further parameters of the token request.")
    ] = default({})
    headers: Annotated[
        dict[str, str],
        Meta(
            description="Further headers of the token request, User-Agent among them; {uuid} in a "
            "value is a new UUID for each request."
        ),
    ] = default({})

    @property
    def certificate(self) -> tuple[str, str] | None:
        """Return the paths of the certificate that is shown in TLS and of its key, or None."""
        if self.certificate_file is None or self.key_file is None:
            return None
        return self.certificate_file, self.key_file
