"""The configuration file's keys, their types, defaults and descriptions.

The JSON Schema (`freshtoken schema`) and docs/configuration.md are made from these types.
"""

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

Duration = Annotated[
    str | int | float, Meta(description="A duration: 30s, 5m, 1h30m, or a number of seconds.")
]
OsText = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
"""What system calls take: a NUL would end it."""
AuthMethod = Literal["client_secret_basic", "client_secret_post"]
Reissue = Literal["independent", "revokes_previous", "same_until_expiry"]
Format = Literal["json", "raw", "header", "env", "template"]

_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_UNITS_S = (86_400, 3_600, 60, 1)
MAX_DURATION_S = 10 * 365 * 86_400
"""More is a mistake, and would not fit into a timer."""


def seconds(duration: str | float) -> float:
    """Return a duration in seconds; raises ValueError unless it is one, from 0 to ten years."""
    length = _parsed(duration.strip()) if isinstance(duration, str) else duration
    if not 0 <= length <= MAX_DURATION_S:
        raise ValueError
    return float(length)


def _parsed(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise ValueError
    parts = zip(found.groups(), _UNITS_S, strict=True)
    return sum(float(number or 0) * unit for number, unit in parts)


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are errors."""


class SecretSettings(_Table, frozen=True, kw_only=True):
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


class FileSinkSettings(_Table, frozen=True, kw_only=True, tag="file", tag_field="type"):
    """A local file, replaced atomically."""

    path: Annotated[OsText, Meta(description="The file. Its folder must exist.")]
    format: Annotated[Format, Meta(description="The layout of the file.")] = "json"
    template: (
        Annotated[
            str,
            Meta(
                description="For format template: text with {access_token}, {token_type}, "
                "{expires_at}, {obtained_at}, {scope}, {name}."
            ),
        ]
        | None
    ) = None
    mode: Annotated[str, Meta(description="The permission bits, in octal.")] = "0600"
    owner: Annotated[str, Meta(description="The owning user, by name or number.")] | None = None
    group: Annotated[str, Meta(description="The owning group, by name or number.")] | None = None
    overwrite: Annotated[
        bool, Meta(description="Replace a file that freshtoken has not written.")
    ] = False


class SecretsManagerSinkSettings(
    _Table, frozen=True, kw_only=True, tag="aws_secrets_manager", tag_field="type"
):
    """A secret in AWS Secrets Manager. Credentials come from boto3's own chain."""

    secret_id: Annotated[str, Meta(description="The secret's name or ARN.")]
    format: Annotated[Format, Meta(description="The layout of the secret's text.")] = "json"
    template: Annotated[str, Meta(description="For format template: as for a file.")] | None = None
    region: (
        Annotated[str, Meta(description="The AWS region; default: boto3's own choice.")] | None
    ) = None
    profile: (
        Annotated[str, Meta(description="The profile of the shared AWS configuration.")] | None
    ) = None
    endpoint_url: (
        Annotated[str, Meta(description="Another endpoint, such as a VPC endpoint.")] | None
    ) = None
    json_key: (
        Annotated[
            str,
            Meta(description="Keep the token under this key of a JSON secret, others untouched."),
        ]
        | None
    ) = None
    create: Annotated[bool, Meta(description="Create the secret if it is missing.")] = False
    kms_key_id: (
        Annotated[str, Meta(description="The KMS key of a secret that is created.")] | None
    ) = None
    tags: Annotated[dict[str, str], Meta(description="The tags of a secret that is created.")] = {}
    compare_and_swap: Annotated[
        bool,
        Meta(
            description="Never overwrite a newer token of another writer. false: one plain put, "
            "for a principal that may do nothing else."
        ),
    ] = True
    overwrite: Annotated[
        bool, Meta(description="Replace a value that freshtoken has not written.")
    ] = False


SinkSettings = FileSinkSettings | SecretsManagerSinkSettings


class CommonSettings(_Table, frozen=True, kw_only=True):
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
    ] = {}
    headers: Annotated[
        dict[str, str],
        Meta(description="Further headers of the token request, User-Agent among them."),
    ] = {}
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


class ConfigFile(_Table, frozen=True, kw_only=True):
    """The whole file."""

    tokens: dict[str, TokenSettings]
    defaults: CommonSettings = CommonSettings()
