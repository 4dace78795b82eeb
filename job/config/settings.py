"""The configuration file's keys, their types, defaults and descriptions.

The JSON Schema (`freshtoken schema`) and docs/configuration.md are made from these types.
"""

from typing import Annotated, Literal

from msgspec import Meta

from job.config.watch_settings import Hooks, HttpSettings
from job.core.rate import Rate
from job.credentials.settings import AssertionSettings, SecretSettings
from job.oauth.settings import RequestSettings
from job.sinks.kinds import AnySinkSettings
from job.values import Duration, FilePath, Lifetime, Table, Timeout, default

Reissue = Literal["independent", "revokes_previous", "same_until_expiry"]


class CommonSettings(RequestSettings, frozen=True, kw_only=True):
    """What [defaults] and every token may set."""

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
        Timeout, Meta(description="The total deadline of one exchange, from DNS to last byte.")
    ] = default(Timeout("15s"))
    ca_file: (
        Annotated[FilePath, Meta(description="A PEM file of the certificate authorities to trust.")]
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
    ] = default(Duration("5m"))
    retry_budget: Annotated[
        Duration, Meta(description="Time for several attempts before the promise is at risk.")
    ] = default(Duration("1m"))
    min_interval: Annotated[
        Duration, Meta(description="The least time between two exchanges (at most half a life).")
    ] = default(Duration("30s"))
    max_age: (
        Annotated[Lifetime, Meta(description="Refresh at this age, however long a token lives.")]
        | None
    ) = None
    lifetime: (
        Annotated[Lifetime, Meta(description="The life of a token, whatever the answer says.")]
        | None
    ) = None
    default_lifetime: Annotated[
        Lifetime, Meta(description="The life of a token whose answer doesn't say it.")
    ] = default(Lifetime("15m"))
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
            Rate,
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
        Rate, Meta(description="Exchanges with one token endpoint in any such time.")
    ] = default(Rate(10, 1.0, "10/s"))
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
            Lifetime,
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
    defaults: CommonSettings = default(CommonSettings())
