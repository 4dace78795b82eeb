"""The configuration file's keys, their types, defaults and descriptions.

The JSON Schema (`freshtoken schema`) and docs/configuration.md are made from these types.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from job.config.sink_settings import SinkSettings
from job.config.values import Duration, OsText, Table

AuthMethod = Literal["client_secret_basic", "client_secret_post"]
Reissue = Literal["independent", "revokes_previous", "same_until_expiry"]


class SecretSettings(Table, frozen=True, kw_only=True):
    """Where the client secret comes from. It is read again for every exchange."""

    env: Annotated[str, Meta(description="The name of an environment variable.")] | None = None
    file: (
        Annotated[OsText, Meta(description="The path of a file that holds the secret alone.")]
        | None
    ) = None
    command: (
        Annotated[
            tuple[OsText, ...],
            Meta(description="A command and its arguments; it prints the secret. No shell."),
        ]
        | None
    ) = None


class CommonSettings(Table, frozen=True, kw_only=True):
    """What [defaults] and every token may set."""

    provider: Annotated[str, Meta(description="A preset (`freshtoken providers`).")] | None = None
    token_url: (
        Annotated[str, Meta(description="The token endpoint (RFC 6749 section 3.2).")] | None
    ) = None
    auth_method: Annotated[
        AuthMethod, Meta(description="How the client proves itself (RFC 6749 section 2.3.1).")
    ] = "client_secret_basic"
    basic_encoding: Annotated[
        Literal["form", "raw"],
        Meta(
            description="How id and secret are encoded in the Basic header: form is the RFC's "
            "way, raw is for servers that don't decode."
        ),
    ] = "form"
    scope: Annotated[tuple[str, ...], Meta(description="The scopes to ask for.")] = ()
    scope_separator: Annotated[str, Meta(description="What joins the scopes.")] = " "
    audience: Annotated[str, Meta(description="The `audience` parameter.")] | None = None
    resource: Annotated[
        tuple[str, ...], Meta(description="The `resource` parameters (RFC 8707).")
    ] = ()
    extra_params: Annotated[
        dict[str, str], Meta(description="Further parameters of the token request.")
    ] = field(default_factory=dict)
    headers: Annotated[
        dict[str, str],
        Meta(description="Further headers of the token request, User-Agent among them."),
    ] = field(default_factory=dict)
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
    keep_extra: Annotated[
        tuple[str, ...], Meta(description="Members of the answer to keep under `extra`.")
    ] = ()
    reissue: Annotated[
        Reissue,
        Meta(
            description="What a new token does to the old one: independent, revokes_previous "
            "(renew late), same_until_expiry (there is no new one before expiry)."
        ),
    ] = "independent"
    fresh_window: (
        Annotated[
            Duration,
            Meta(description="The provider gives a new token only in this last part of the life."),
        ]
        | None
    ) = None


class TokenSettings(CommonSettings, frozen=True, kw_only=True):
    """One token: its client, and the sinks that hold it."""

    client_id: Annotated[str, Meta(description="The client id, in quotes even if it is a number.")]
    client_secret: Annotated[
        SecretSettings, Meta(description="Where the client secret comes from; never the secret.")
    ]
    sinks: Annotated[
        tuple[SinkSettings, ...],
        Meta(description="The places where readers find the token.", min_length=1),
    ]


class ConfigFile(Table, frozen=True, kw_only=True):
    """The whole file."""

    tokens: dict[str, TokenSettings]
    defaults: CommonSettings = CommonSettings()
