"""The keys of the configuration file: types, defaults and descriptions.

The JSON Schema (`freshtoken schema`) and docs/configuration.md are made from these types and from
the text below each key (job/config/json_schema.py).
"""

import functools
import operator
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from msgspec import Meta, defstruct

from job.config.watch_settings import Hooks, HttpSettings
from job.core.rate import Rate
from job.credentials.settings import AssertionSettings, SecretSettings
from job.oauth.settings import RequestSettings
from job.sinks.kinds import OwnSinkSettings
from job.sinks.settings import SinkSettings
from job.values import Duration, FilePath, Table, Timeout, TokenAge, default

T = TypeVar("T", bound=Table)
Reissue = Literal["independent", "revokes_previous", "same_until_expiry"]


class CommonSettings(RequestSettings, frozen=True, kw_only=True):
    """What [defaults] and every token may set."""

    token_path: str = "access_token"  # noqa: S105  # a name, not a secret
    """Where the token stands in the answer, such as data.accessToken."""
    expiry_path: str | None = None
    """Where the life or the expiry stands in the answer; default: the usual names beside the token
    and at the top."""
    expiry_unit: Literal["s", "ms"] = "s"
    """The unit of a life in the answer."""
    token_type: str | None = None
    """What is stored as the type of the token, whatever the answer says."""
    introspection_url: str | None = None
    """Where to ask for the expiry (RFC 7662) when the answer has none: one more request for each
    token."""
    timeout: Timeout = default(Timeout("15s"))
    """The total deadline of one exchange, from DNS to last byte."""
    ca_file: FilePath | None = None
    """A PEM file of the certificate authorities to trust."""
    proxy: str | None = None
    """An HTTP proxy URL; default: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""
    allow_http: bool = False
    """Allow a token_url without TLS on a host that isn't loopback."""
    refresh_at: Annotated[float, Meta(gt=0, lt=1)] = 0.67
    """The part of the life after which to refresh."""
    jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.05
    """Up to this part of the life earlier, by chance."""
    min_validity: Duration = default(Duration("5m"))
    """The promise: how long a token that is read is still valid."""
    retry_budget: Duration = default(Duration("1m"))
    """Time for several attempts before the promise is at risk."""
    min_interval: Duration = default(Duration("30s"))
    """The least time between two exchanges (at most half a life)."""
    max_age: TokenAge | None = None
    """Refresh at this age, however long a token lives."""
    lifetime: TokenAge | None = None
    """The life of a token, whatever the answer says."""
    default_lifetime: TokenAge = default(TokenAge("15m"))
    """The life of a token whose answer doesn't say it."""
    jwt_expiry: bool = False
    """Let the exp claim of a JWT shorten the life, or give it."""
    probe_url: str | None = None
    """A URL that `freshtoken probe` asks with a token, to see whether it still works."""
    keep_extra: tuple[str, ...] = ()
    """Members of the answer to keep under `extra`."""
    max_exchanges: Rate | None = None
    """The budget of the client, such as 50/12h: so many requests at most in any such time, for all
    its tokens together."""
    max_concurrency: Annotated[int, Meta(ge=1)] = 4
    """Exchanges at once with one token endpoint."""
    max_rate: Rate = default(Rate(10, 1.0, "10/s"))
    """Exchanges with one token endpoint in any such time."""
    reissue: Reissue = "independent"
    """What a new token does to the old one: independent, revokes_previous (renew late),
    same_until_expiry (there is no new one before expiry)."""
    single_writer: bool = False
    """You make sure that no second host keeps this token: revokes_previous with a secret asks for
    that."""
    fresh_window: TokenAge | None = None
    """The provider gives a new token only in this last part of the life."""
    on_refresh: Hooks = None
    """What to do when a sink has taken a new token."""
    on_trouble: Hooks = None
    """What to do when readers are at risk, and when they no longer are."""


class TokenSettings(CommonSettings, frozen=True, kw_only=True):
    """One token: its client, and the sinks that hold it."""

    client_id: str = ""
    """The client id, in quotes even if it is a number."""
    client_secret: SecretSettings | tuple[SecretSettings, ...] | None = None
    """Where the client secret comes from, never the secret; a list is tried in its order."""
    private_key: SecretSettings | None = None
    """Where the key that signs assertions comes from: PEM or JWK."""
    client_assertion: AssertionSettings | None = None
    """Where an assertion that others make comes from."""
    sinks: Annotated[tuple[OwnSinkSettings, ...], Meta(min_length=1)]
    """The places where readers find the token."""


class ConfigFile(Table, frozen=True, kw_only=True):
    """The whole file."""

    tokens: dict[str, TokenSettings]
    http: HttpSettings | None = None
    defaults: CommonSettings = default(CommonSettings())


def with_sinks(kinds: Iterable[type[SinkSettings]]) -> type[TokenSettings]:
    """Return TokenSettings with sinks of these kinds, some of which may be plug-ins."""
    kind: Any = functools.reduce(operator.or_, kinds)
    if kind == OwnSinkSettings:
        return TokenSettings
    metadata = get_type_hints(TokenSettings, include_extras=True)["sinks"].__metadata__
    return extended(TokenSettings, "sinks", Annotated[tuple[kind, ...], *metadata])


def extended(table: type[T], key: str, hint: Any) -> type[T]:  # noqa: ANN401  # a type
    """Return a table in which a key has another type."""
    made: Any = defstruct(
        table.__name__,
        [(key, hint)],
        bases=(table,),
        namespace={"__doc__": table.__doc__},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    kind: type[T] = made
    return kind
