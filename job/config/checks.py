"""What types can't tell about settings: each rule yields a key, what is wrong, and the cure."""

import ipaddress
import json
import os.path
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from job.config.settings import TokenSettings
from job.config.sink_settings import FileSinkSettings, SinkSettings
from job.config.values import seconds
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
LEAST_S = {"timeout": 0.1, "max_age": 1, "lifetime": 1, "default_lifetime": 1, "fresh_window": 1}
BARE = re.compile(r"[A-Za-z0-9_-]+")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
OWN_PARAMS = ("grant_type", "client_id", "client_secret", "scope", "audience", "resource")
UNPRINTED = re.compile(r"[\x00-\x20\x7f]")
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
"""A name that is certainly no secret, so that it may stand in a message."""

Place = tuple[str | None, ...]


def place_of(key: str, table: str = "tokens") -> str:
    """Return where a key of a table is, as TOML writes it."""
    written = key if BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)
    return f"{table}.{written}" if table else written


def nearest(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known word that is most like this one, or None if none is (0 to 1)."""
    import difflib  # noqa: PLC0415  # 4 ms of CPU, for mistakes only

    return next(iter(difflib.get_close_matches(word, list(known), 1, likeness)), None)


def of_token(
    name: str, token: TokenSettings, providers: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one token's settings: the key, and what to do."""
    if not NAME.fullmatch(name):
        yield "", "a name has letters, digits and . _ - only"
    if token.provider and token.provider not in providers:
        near = nearest(token.provider, providers)
        cure = f"did you mean {near}?" if near else f"known are {', '.join(providers)}"
        yield "provider", f"unknown; {cure}"
    if token.jitter >= token.refresh_at:
        yield "jitter", "must be less than refresh_at"
    yield from _durations(token)
    yield from _token_url(token)
    yield from _client(token)
    yield from _network(token)
    yield from _request(token)
    for number, sink in enumerate(token.sinks, 1):
        for key, text in _of_sink(sink):
            yield f"sinks[{number}].{key}", text


def of_places(tokens: Mapping[str, TokenSettings], folder: str) -> Iterator[tuple[str, str]]:
    """Yield the sinks that would overwrite each other; relative paths start at `folder`."""
    seen: dict[Place, str] = {}
    for name, token in tokens.items():
        for number, sink in enumerate(token.sinks, 1):
            where = f"{place_of(name)}.sinks[{number}]"
            claims, rivals = _places_of(sink, folder)
            if first := next((seen[rival] for rival in rivals if rival in seen), None):
                yield where, f"is the same place as {first}; give each its own"
            for claim in claims:
                seen.setdefault(claim, where)


def _places_of(sink: SinkSettings, folder: str) -> tuple[list[Place], list[Place]]:
    """Return what a sink writes to, and what no other may write to."""
    match sink:
        case FileSinkSettings():
            place: Place = ("file", os.path.normpath(os.path.join(folder, sink.path)))
            return [place], [place]
        case _:
            secret = ("aws", sink.region, sink.profile, sink.endpoint_url, sink.secret_id)
            whole, any_key, key = (*secret, None), (*secret, ""), (*secret, sink.json_key)
            if sink.json_key is None:
                return [whole], [whole, any_key]
            return [key, any_key], [key, whole]


def _durations(token: TokenSettings) -> Iterator[tuple[str, str]]:
    for key in DURATIONS:
        value = getattr(token, key)
        try:
            length = None if value is None else seconds(value)
        except ValueError:
            yield key, "is not a duration; write 30s, 5m, 1h30m or a number of seconds"
            continue
        if length is not None and length < LEAST_S.get(key, 0):
            yield key, f"must be at least {LEAST_S[key]:g}s"


def _token_url(token: TokenSettings) -> Iterator[tuple[str, str]]:
    if token.token_url is None and token.provider:
        return  # an unknown one, of which `of_token` tells
    if token.token_url is None:
        yield "token_url", "is missing; give it, or a provider (`freshtoken providers`)"
    elif not _is_url(token.token_url):
        yield "token_url", "must be a URL: https:// and a host, without spaces"
    else:
        url = urlsplit(token.token_url)
        if url.scheme == "http" and not token.allow_http and not _is_loopback(url.hostname or ""):
            yield (
                "token_url",
                "sends the secret without TLS; use https://, or set allow_http = true",
            )
        if url.username or url.password:
            yield "token_url", "must not hold a user or password; they go to client_id and secret"
        if url.fragment:
            yield "token_url", "must not have a fragment (RFC 6749 section 3.2)"


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        _ = url.port  # is read from the text, and checked, only now
    except ValueError:
        return False
    return url.scheme in {"https", "http"} and bool(url.hostname) and not UNPRINTED.search(text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _client(token: TokenSettings) -> Iterator[tuple[str, str]]:
    if not token.client_id.strip():
        yield "client_id", "is empty"
    secret = token.client_secret
    if sum(map(bool, (secret.env, secret.file, secret.command))) != 1:
        yield "client_secret", "needs exactly one of env, file and command"


def _network(token: TokenSettings) -> Iterator[tuple[str, str]]:
    if token.proxy and not _is_url(token.proxy):
        yield "proxy", "must be a URL, such as http://proxy.example:3128; empty for none"


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
        case _:
            if not sink.secret_id:
                yield "secret_id", "is empty"
            if sink.json_key == "":
                yield "json_key", "is empty; leave it out to keep the whole secret"
            if sink.endpoint_url is not None and not _is_url(sink.endpoint_url):
                yield "endpoint_url", "must be a URL: https:// and a host"


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
) -> Iterator[tuple[str, str]]:
    """Yield the client secrets that are to come from variables which are not set."""
    for name, token in tokens.items():
        variable = token.client_secret.env
        if variable and not environ.get(variable):
            which = (
                f"{variable} is" if VARIABLE.fullmatch(variable) else "the variable named here is"
            )
            yield (
                f"{place_of(name)}.client_secret.env",
                f"{which} not set; set it for this process, or use {{ file = ... }}",
            )
