"""What types can't tell about settings: each rule yields a key, what is wrong, and what to do."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from job.config.client_checks import of_client, proofs_of
from job.config.request_checks import of_endpoint, of_request
from job.config.settings import TokenSettings
from job.config.watch_checks import of_hooks
from job.credentials.kinds import variable_of
from job.sinks.settings import Place
from job.values import is_url

BARE = re.compile(r"[A-Za-z0-9_-]+")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
"""A name that certainly isn't a secret, so that a message may show it."""


def place_of(key: str, table: str = "tokens") -> str:
    """Return where a key of a table is, as TOML writes it."""
    quoted = json.dumps(key, ensure_ascii=False)
    shown = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in quoted)
    written = key if BARE.fullmatch(key) else shown
    return f"{table}.{written}" if table else written


def nearest(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known word that is most like this one, or None if none is at least so like it."""
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
    if token.proxy and not is_url(token.proxy):
        yield "proxy", "must be a URL, such as http://proxy.example:3128; empty for none"
    yield from of_request(token)
    yield from of_hooks(token)
    yield from _one_writer(token)
    for number, sink in enumerate(token.sinks, 1):
        for key, text in sink.problems():
            yield f"sinks[{number}].{key}", text


def of_places(tokens: Mapping[str, TokenSettings]) -> Iterator[tuple[str, str]]:
    """Yield the sinks that would overwrite each other."""
    whole: dict[Place, str] = {}
    parts: dict[Place, str] = {}
    for name, token in tokens.items():
        for number, sink in enumerate(token.sinks, 1):
            where, place = f"{place_of(name)}.sinks[{number}]", sink.place
            beginnings = [place[: length + 1] for length in range(len(place))]
            first = next((whole[one] for one in beginnings if one in whole), parts.get(place))
            if first is not None:
                yield where, f"is the same place as {first}; give each its own"
            whole.setdefault(place, where)
            for one in beginnings:
                parts.setdefault(one, where)


def endpoint_of(token: TokenSettings) -> str:
    """Return what tokens of one endpoint have in common: its address, or that of its issuer."""
    return (token.token_url or token.issuer or "").partition("?")[0]


def of_limits(tokens: Mapping[str, TokenSettings]) -> Iterator[tuple[str, str]]:
    """Yield where tokens of one endpoint, or of one client, have different limits."""
    first: dict[tuple[str, ...], str] = {}
    for name, token in tokens.items():
        endpoint = endpoint_of(token)
        for key, shared, by in (
            ("max_concurrency", (endpoint,), "endpoint"),
            ("max_rate", (endpoint,), "endpoint"),
            ("max_exchanges", (endpoint, token.client_id), "client"),
        ):
            other = first.setdefault((key, *shared), name)
            if getattr(tokens[other], key) != getattr(token, key):
                text = f"differs from that of {other}, of the same {by}; give both the same"
                yield f"{place_of(name)}.{key}", text


def _token_url(token: TokenSettings) -> Iterator[tuple[str, str]]:
    if token.issuer is not None:
        yield from of_endpoint("issuer", token.issuer, token)
        if "?" in token.issuer:
            yield "issuer", "must not have a query (RFC 8414 section 2)"
    if token.discover_auth_method and (token.issuer is None or token.token_url is not None):
        yield "discover_auth_method", "goes with issuer, and without token_url"
    if token.token_url is not None:
        yield from of_endpoint("token_url", token.token_url, token)
    elif token.issuer is None and not token.provider:  # `of_token` reports an unknown one
        yield "token_url", "is missing; give it, an issuer, or a provider (`freshtoken providers`)"


def _one_writer(token: TokenSettings) -> Iterator[tuple[str, str]]:
    """Refuse a race that would leave readers with a dead token (docs/decisions/0007).

    The lock beside a file keeps every other process of its host away. Nothing does so between hosts
    that share a secret: two may ask at once, and store the token that is already revoked.
    """
    shared = any(not sink.lock_reaches_all_writers for sink in token.sinks)
    if token.reissue == "revokes_previous" and shared and not token.single_writer:
        yield (
            "reissue",
            (
                "revokes_previous needs exactly one writer, and no lock reaches all hosts that "
                "share a secret; run freshtoken for this token on one host alone and set "
                "single_writer = true, or keep the token in files only"
            ),
        )


def of_environment(
    tokens: Mapping[str, TokenSettings], environ: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the secrets whose variables are not set; of several of a client one is enough."""
    for name, token in tokens.items():
        proofs = [(key, variable_of(source)) for key, source in proofs_of(token)]
        unset = [(key, name) for key, name in proofs if name and not environ.get(name)]
        for key, variable in unset if len(unset) == len(proofs) else ():
            named = variable if VARIABLE.fullmatch(variable) else "the variable named here"
            yield (
                f"{place_of(name)}.{key}.env",
                f"{named} is not set; set it for this process, or use {{ file = ... }}",
            )
