"""What types can't tell about settings: each rule yields a key, what is wrong, and the cure."""

import re
import string
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from job.settings import (
    FileSinkSettings,
    SecretsManagerSinkSettings,
    SinkSettings,
    TokenSettings,
    seconds,
)
from job.tokens import TEMPLATE_FIELDS, unknown_template_fields

DURATIONS = (
    "timeout",
    "min_validity",
    "retry_budget",
    "min_interval",
    "max_age",
    "lifetime",
    "default_lifetime",
    "fresh_window",
)
ABOVE_ZERO = ("timeout", "max_age", "lifetime", "default_lifetime", "fresh_window")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
OWN_PARAMS = ("grant_type", "client_id", "client_secret", "scope", "audience", "resource")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def of_token(
    name: str, token: TokenSettings, providers: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one token's settings: the key, and what to do."""
    if not NAME.fullmatch(name):
        yield "", "a name has letters, digits and . _ - only"
    if token.provider and token.provider not in providers:
        yield "provider", f"unknown; known are {', '.join(providers)}"
    if token.jitter >= token.refresh_at:
        yield "jitter", "must be less than refresh_at"
    yield from _durations(token)
    yield from _token_url(token)
    yield from _client(token)
    yield from _request(token)
    for number, sink in enumerate(token.sinks, 1):
        for key, text in _of_sink(sink):
            yield f"sinks[{number}].{key}", text


def of_places(tokens: Mapping[str, TokenSettings]) -> Iterator[str]:
    """Yield the sinks that would overwrite each other."""
    seen: dict[tuple[str | None, ...], str] = {}
    for name, token in tokens.items():
        for number, sink in enumerate(token.sinks, 1):
            where = f"tokens.{name}.sinks[{number}]"
            if (first := seen.setdefault(_place_of(sink), where)) != where:
                yield f"{where}: is the same place as {first}; give each token its own"


def _place_of(sink: SinkSettings) -> tuple[str | None, ...]:
    match sink:
        case FileSinkSettings():
            return ("file", sink.path)
        case SecretsManagerSinkSettings():
            account = (sink.region, sink.profile, sink.endpoint_url)
            return ("aws", *account, sink.secret_id, sink.json_key)


def _durations(token: TokenSettings) -> Iterator[tuple[str, str]]:
    for key in DURATIONS:
        value = getattr(token, key)
        try:
            length = seconds(value) if value is not None else None
        except ValueError:
            yield key, f"{value!r} is not a duration; write 30s, 5m, 1h30m or a number of seconds"
            continue
        if length == 0 and key in ABOVE_ZERO:
            yield key, "must be over 0"


def _token_url(token: TokenSettings) -> Iterator[tuple[str, str]]:
    if token.token_url is None:
        yield "token_url", "is missing; give it, or a provider (`freshtoken providers`)"
        return
    try:
        url = urlsplit(token.token_url)
        host, _ = url.hostname or "", url.port
    except ValueError:
        yield "token_url", "is not a URL"
        return
    if url.scheme not in {"https", "http"} or not host:
        yield "token_url", "must start with https:// and a host"
    elif url.scheme == "http" and host not in LOOPBACK and not token.allow_http:
        yield "token_url", "would send the secret without TLS; use https://, or allow_http = true"
    if url.username or url.password:
        yield "token_url", "must not hold a user or password; use client_id and client_secret"
    if url.fragment:
        yield "token_url", "must not have a fragment (RFC 6749 section 3.2)"


def _client(token: TokenSettings) -> Iterator[tuple[str, str]]:
    if not token.client_id.strip():
        yield "client_id", "is empty"
    secret = token.client_secret
    if sum(map(bool, (secret.env, secret.file, secret.command))) != 1:
        yield "client_secret", "needs exactly one of env, file and command"


def _request(token: TokenSettings) -> Iterator[tuple[str, str]]:
    for scope in token.scope:
        if not SCOPE.fullmatch(scope):
            yield "scope", "one scope for each text, without spaces, quotes or backslashes"
    for name in token.extra_params:
        if name in OWN_PARAMS:
            yield f"extra_params.{name}", "has a key of its own, or is set by freshtoken"
    for name, value in token.headers.items():
        if name.lower() == "authorization":
            yield f"headers.{name}", "is made from client_id and client_secret by auth_method"
        elif not HEADER.fullmatch(name) or not value.isprintable() or not value.isascii():
            yield f"headers.{name}", "is not a header"


def _of_sink(sink: SinkSettings) -> Iterator[tuple[str, str]]:
    yield from _template(sink)
    match sink:
        case FileSinkSettings():
            if not sink.path or sink.path.endswith("/"):
                yield "path", "must name a file"
            if not re.fullmatch(r"0?[0-7]{3}", sink.mode):
                yield "mode", 'must be permission bits in octal, such as "0640"'
        case SecretsManagerSinkSettings():
            if not sink.secret_id:
                yield "secret_id", "is empty"


def _template(sink: SinkSettings) -> Iterator[tuple[str, str]]:
    if (sink.format == "template") != (sink.template is not None):
        yield "template", 'goes with format = "template", and only with it'
    if sink.template is None:
        return
    try:
        unknown = unknown_template_fields(sink.template)
        fields = [name for _, name, _, _ in string.Formatter().parse(sink.template)]
    except ValueError:
        yield "template", "has a brace without its fellow; write {{ and }} for braces"
        return
    if unknown:
        known = ", ".join(TEMPLATE_FIELDS)
        yield "template", f"unknown field {{{unknown[0]}}}; known are {known}"
    elif "access_token" not in fields:
        yield "template", "lacks {access_token}"


def of_environment(
    tokens: Mapping[str, TokenSettings], environ: Mapping[str, str]
) -> Iterator[str]:
    """Yield the client secrets that are to come from variables which are not set."""
    for name, token in tokens.items():
        variable = token.client_secret.env
        if variable and not environ.get(variable):
            yield (
                f"tokens.{name}.client_secret.env: the environment variable {variable} is not "
                "set; set it, or use { file = ... }"
            )
