"""Ask a token endpoint for two tokens, and find out whether the first survives the second."""

import time
from collections.abc import Callable
from http import HTTPStatus

from requests import PreparedRequest

from job.core.errors import EndpointUnavailable, ExchangeError
from job.core.ports import Deferred, Limit
from job.core.text import duration
from job.core.tokens import Token
from job.oauth.exchange import ClientCredentials
from job.oauth.request import TokenRequest, prepared
from job.oauth.token_response import TokenResponse, members_of
from job.verbs.probe_report import Exchanged, Survival

PATIENCE_S = 60.0
"""How long the person who runs `probe` is made to wait for a limit."""

Tried = Callable[[Token], tuple[bool | None, str]]
"""Tells whether a token works (None: unknown), and how we know."""


def exchange_twice(
    exchange: ClientCredentials, limit: Limit, sleep: Callable[[float], None] = time.sleep
) -> tuple[Exchanged, Exchanged]:
    """Return two exchanges, one right after the other; raises ExchangeError.

    Each counts against the limits of the client; EndpointUnavailable is raised where these would
    delay an exchange by more than PATIENCE_S.
    """
    return _exchanged(exchange, limit, sleep), _exchanged(exchange, limit, sleep)


def _exchanged(
    exchange: ClientCredentials, limit: Limit, sleep: Callable[[float], None]
) -> Exchanged:
    left_s = PATIENCE_S
    while True:
        try:
            with limit(0.0):
                answer = exchange.ask(exchange.request)
                return Exchanged(answer, exchange.read(answer))
        except Deferred as deferred:
            left_s -= deferred.wait_s
            if left_s < 0:
                wait = duration(deferred.wait_s)
                text = f"the limits of this client allow no exchange for {wait}"
                text += " (max_exchanges, max_rate)"
                raise EndpointUnavailable("limit_reached", text) from None
            sleep(deferred.wait_s)


def survival(
    exchange: ClientCredentials, first: Token, second: Token, probe_url: str | None
) -> Survival:
    """Tell whether the first token still works, by a URL of the API or by introspection.

    The second token is tried too: a place that refuses even that one proves nothing.
    """
    try:
        if probe_url:
            return _judged(lambda token: _at(exchange, probe_url, token), first, second)
        if exchange.introspection_url:
            return _judged(lambda token: _introspected(exchange, token), first, second)
    except ExchangeError as error:
        return Survival(None, error.message)
    return Survival(None, "neither probe_url nor introspection_url is set")


def _judged(tried: Tried, first: Token, second: Token) -> Survival:
    fresh, how = tried(second)
    if not fresh:
        return Survival(None, f"{how}, even for the second token: this proves nothing")
    return Survival(*tried(first))


def _at(exchange: ClientCredentials, url: str, token: Token) -> tuple[bool | None, str]:
    """Call a URL of the API with a token: 2xx means yes, 401 no, and anything else is unclear."""

    def with_token(request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"{token.token_type} {token.access_token.reveal()}"
        return request

    asked = TokenRequest(url, (), method="GET", layout="query")
    sent_at = exchange.clock().wall
    answer = TokenResponse(*exchange.transport.send(prepared(asked, with_token)), sent_at)
    works = (
        True if answer.succeeded else False if answer.status == HTTPStatus.UNAUTHORIZED else None
    )
    return works, f"probe_url answers HTTP {answer.status}"


def _introspected(exchange: ClientCredentials, token: Token) -> tuple[bool | None, str]:
    """Ask the server itself (RFC 7662 section 2.2)."""
    answer = exchange.introspect(token)
    active = (members_of(answer.body) or {}).get("active")
    if not isinstance(active, bool):
        return None, f"introspection answers HTTP {answer.status} and doesn't say"
    return active, f"introspection calls it {'active' if active else 'inactive'}"
