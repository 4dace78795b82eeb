"""The configuration file's keys, their types, defaults and descriptions.

The JSON Schema (`freshtoken schema`) and docs/configuration.md are made from these types.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from job.config.secret_settings import AssertionSettings, SecretSettings
from job.config.watch_settings import Hooks, HttpSettings
from job.sinks.kinds import AnySinkSettings
from job.values import Duration, OsText, Table

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
Reissue = Literal["independent", "revokes_previous", "same_until_expiry"]


class CommonSettings(Table, frozen=True, kw_only=True):
    """What [defaults] and every token may set."""

    provider: Annotated[str, Meta(description="A preset (`freshtoken providers`).")] | None = None
    provider_params: Annotated[
        dict[str, str],
        Meta(
            description="What a preset needs of your own, such as the tenant in its URL "
            "(`freshtoken providers NAME`)."
        ),
    ] = field(default_factory=dict)
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
            OsText,
            Meta(
                description="The client's certificate (PEM): shown in TLS with key_file, else "
                "named by its thumbprint (x5t#S256) in assertions of private_key_jwt."
            ),
        ]
        | None
    ) = None
    key_file: (
        Annotated[OsText, Meta(description="The private key (PEM) of certificate_file, for TLS.")]
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
    assertion_lifetime: Annotated[Duration, Meta(description="How long an assertion is valid.")] = (
        "60s"
    )
    assertion_claims: Annotated[
        dict[str, str],
        Meta(description="Further claims of assertions; an empty text leaves one out."),
    ] = field(default_factory=dict)
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
    ] = field(default_factory=dict)
    headers: Annotated[
        dict[str, str],
        Meta(
            description="Further headers of the token request, User-Agent among them; {uuid} in a "
            "value is a new UUID for each request."
        ),
    ] = field(default_factory=dict)
    token_path: Annotated[
        str,
        Meta(description="Where the token stands in the answer, such as data.accessToken."),
    ] = "access_token"  # noqa: S105  # a name, not a secret
    expiry_path: (
        Annotated[
            str,
            Meta(
                description="Where the life or the expiry stands in the answer; default: the usual "
                "names beside the token and at the top."
            ),
        ]
        | None
    ) = None
    expiry_unit: Annotated[
        Literal["s", "ms"], Meta(description="The unit of a life in the answer.")
    ] = "s"
    token_type: (
        Annotated[
            str,
            Meta(description="What is stored as the type of the token, whatever the answer says."),
        ]
        | None
    ) = None
    introspection_url: (
        Annotated[
            str,
            Meta(
                description="Where to ask for the expiry (RFC 7662) when the answer has none: one "
                "more request for each token."
            ),
        ]
        | None
    ) = None
    timeout: Annotated[
        Duration, Meta(description="The total deadline of one exchange, from DNS to last byte.")
    ] = "15s"
    ca_file: (
        Annotated[OsText, Meta(description="A PEM file of the certificate authorities to trust.")]
        | None
    ) = None
    proxy: (
        Annotated[
            str, Meta(description="An HTTP proxy URL; default: HTTPS_PROXY, HTTP_PROXY, NO_PROXY.")
        ]
        | None
    ) = None
    allow_http: Annotated[
        bool, Meta(description="Allow a token_url without TLS on a host that isn't loopback.")
    ] = False
    refresh_at: Annotated[
        float, Meta(description="The part of the life after which to refresh.", gt=0, lt=1)
    ] = 0.67
    jitter: Annotated[
        float, Meta(description="Up to this part of the life earlier, by chance.", ge=0, le=0.5)
    ] = 0.05
    min_validity: Annotated[
        Duration, Meta(description="The promise: how long a token that is read is still valid.")
    ] = "5m"
    retry_budget: Annotated[
        Duration, Meta(description="Time for several attempts before the promise is at risk.")
    ] = "1m"
    min_interval: Annotated[
        Duration, Meta(description="The least time between two exchanges (at most half a life).")
    ] = "30s"
    max_age: (
        Annotated[Duration, Meta(description="Refresh at this age, however long a token lives.")]
        | None
    ) = None
    lifetime: (
        Annotated[Duration, Meta(description="The life of a token, whatever the answer says.")]
        | None
    ) = None
    default_lifetime: Annotated[
        Duration, Meta(description="The life of a token whose answer doesn't say it.")
    ] = "15m"
    jwt_expiry: Annotated[
        bool, Meta(description="Let the exp claim of a JWT shorten the life, or give it.")
    ] = False
    probe_url: (
        Annotated[
            str,
            Meta(
                description="A URL that `freshtoken probe` asks with a token, to see whether it "
                "still works."
            ),
        ]
        | None
    ) = None
    keep_extra: Annotated[
        tuple[str, ...], Meta(description="Members of the answer to keep under `extra`.")
    ] = ()
    max_exchanges: (
        Annotated[
            str,
            Meta(
                description="The budget of the client, such as 50/12h: so many requests at most in "
                "any such time, for all its tokens together."
            ),
        ]
        | None
    ) = None
    max_concurrency: Annotated[
        int, Meta(description="Exchanges at once with one token endpoint.", ge=1)
    ] = 4
    max_rate: Annotated[
        str, Meta(description="Exchanges with one token endpoint in any such time.")
    ] = "10/s"
    reissue: Annotated[
        Reissue,
        Meta(
            description="What a new token does to the old one: independent, revokes_previous "
            "(renew late), same_until_expiry (there is no new one before expiry)."
        ),
    ] = "independent"
    single_writer: Annotated[
        bool,
        Meta(
            description="You make sure that no second host keeps this token: revokes_previous "
            "with a secret asks for that."
        ),
    ] = False
    fresh_window: (
        Annotated[
            Duration,
            Meta(description="The provider gives a new token only in this last part of the life."),
        ]
        | None
    ) = None
    on_refresh: Annotated[
        Hooks, Meta(description="What to do when a sink has taken a new token.")
    ] = None
    on_trouble: Annotated[
        Hooks,
        Meta(description="What to do when readers are at risk, and when they no longer are."),
    ] = None


class TokenSettings(CommonSettings, frozen=True, kw_only=True):
    """One token: its client, and the sinks that hold it."""

    client_id: Annotated[
        str, Meta(description="The client id, in quotes even if it is a number.")
    ] = ""
    client_secret: Annotated[
        SecretSettings | tuple[SecretSettings, ...] | None,
        Meta(
            description="Where the client secret comes from, never the secret; a list is tried in "
            "its order."
        ),
    ] = None
    private_key: Annotated[
        SecretSettings | None,
        Meta(description="Where the key that signs assertions comes from: PEM or JWK."),
    ] = None
    client_assertion: Annotated[
        AssertionSettings | None,
        Meta(description="Where an assertion that others make comes from."),
    ] = None
    sinks: Annotated[
        tuple[AnySinkSettings, ...],
        Meta(description="The places where readers find the token.", min_length=1),
    ]


class ConfigFile(Table, frozen=True, kw_only=True):
    """The whole file."""

    tokens: dict[str, TokenSettings]
    http: HttpSettings | None = None
    defaults: CommonSettings = CommonSettings()
