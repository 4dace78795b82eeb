"""What types can't tell about settings: each rule yields a key, what is wrong, and the cure."""

import json
import os.path
import re
import string
from collections.abc import Iterable, Iterator, Mapping

from job.config.client_checks import of_client, proofs_of
from job.config.request_checks import of_endpoint, of_request
from job.config.settings import TokenSettings
from job.config.sink_settings import FileSinkSettings, SinkSettings
from job.config.watch_checks import of_hooks
from job.core.tokens import TEMPLATE_FIELDS, unknown_template_fields
from job.credentials.kinds import variable_of
from job.values import is_url

BARE = re.compile(r"[A-Za-z0-9_-]+")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
"""A name that is certainly no secret, so that it may stand in a message."""

Place = tuple[str | None, ...]


def place_of(key: str, table: str = "tokens") -> str:
    """Return where a key of a table is, as TOML writes it."""
    quoted = json.dumps(key, ensure_ascii=False)
    shown = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in quoted)
    written = key if BARE.fullmatch(key) else shown
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
        cure = f"did you mean {near}?" if near else "`freshtoken providers` lists them"
        yield "provider", f"unknown; {cure}"
    if token.jitter >= token.refresh_at:
        yield "jitter", "must be less than refresh_at"
    yield from _token_url(token)
    yield from of_client(token)
    yield from _network(token)
    yield from of_request(token)
    yield from of_hooks(token)
    yield from _one_writer(token)
    for number, sink in enumerate(token.sinks, 1):
        for key, text in _of_sink(sink):
            yield f"sinks[{number}].{key}", text


def of_places(tokens: Mapping[str, TokenSettings]) -> Iterator[tuple[str, str]]:
    """Yield the sinks that would overwrite each other."""
    seen: dict[Place, str] = {}
    for name, token in tokens.items():
        for number, sink in enumerate(token.sinks, 1):
            where = f"{place_of(name)}.sinks[{number}]"
            claims, rivals = _places_of(sink)
            if first := next((seen[rival] for rival in rivals if rival in seen), None):
                yield where, f"is the same place as {first}; give each its own"
            for claim in claims:
                seen.setdefault(claim, where)


def _places_of(sink: SinkSettings) -> tuple[list[Place], list[Place]]:
    """Return what a sink writes to, and what no other may write to."""
    match sink:
        case FileSinkSettings():
            place: Place = ("file", os.path.normpath(sink.path))
            return [place], [place]
        case _:
            secret = ("aws", sink.region, sink.profile, sink.endpoint_url, sink.secret_id)
            whole, any_key, key = (*secret, None), (*secret, ""), (*secret, sink.json_key)
            if sink.json_key is None:
                return [whole], [whole, any_key]
            return [key, any_key], [key, whole]


def _token_url(token: TokenSettings) -> Iterator[tuple[str, str]]:
    if token.issuer is not None:
        yield from of_endpoint("issuer", token.issuer, token)
        if "?" in token.issuer:
            yield "issuer", "must not have a query (RFC 8414 section 2)"
    if token.discover_auth_method and (token.issuer is None or token.token_url is not None):
        yield "discover_auth_method", "goes with issuer, and without token_url"
    if token.token_url is not None:
        yield from of_endpoint("token_url", token.token_url, token)
    elif token.issuer is None and not token.provider:  # of an unknown one `of_token` tells
        yield "token_url", "is missing; give it, an issuer, or a provider (`freshtoken providers`)"


def _one_writer(token: TokenSettings) -> Iterator[tuple[str, str]]:
    """Refuse a race that readers would pay for (docs/decisions/0007).

    The lock beside a file holds every other process of its host off. Nothing does so between hosts
    that share a secret: two of them may ask at once, and store the token that is dead already.
    """
    shared = any(not isinstance(sink, FileSinkSettings) for sink in token.sinks)
    if token.reissue == "revokes_previous" and shared and not token.single_writer:
        yield (
            "reissue",
            (
                "revokes_previous needs exactly one writer, and no lock reaches all hosts that "
                "share a secret; run freshtoken for this token on one host alone and set "
                "single_writer = true, or keep the token in files only"
            ),
        )


def _network(token: TokenSettings) -> Iterator[tuple[str, str]]:
    if token.proxy and not is_url(token.proxy):
        yield "proxy", "must be a URL, such as http://proxy.example:3128; empty for none"


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
            if sink.endpoint_url is not None and not is_url(sink.endpoint_url):
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
    """Yield the secrets that are to come from variables which are not set.

    Of several secrets of a client one is enough to begin with.
    """
    for name, token in tokens.items():
        proofs = [(key, variable_of(source)) for key, source in proofs_of(token)]
        unset = [(key, name) for key, name in proofs if name and not environ.get(name)]
        for key, variable in unset if len(unset) == len(proofs) else ():
            named = variable if VARIABLE.fullmatch(variable) else "the variable named here"
            yield (
                f"{place_of(name)}.{key}.env",
                f"{named} is not set; set it for this process, or use {{ file = ... }}",
            )
