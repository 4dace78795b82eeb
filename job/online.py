"""What `check --online` tries: the secret's source, DNS, TLS, the endpoint, the clock, the sinks.

It mints nothing and writes nothing.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from job.clock import Clock
from job.config import Config
from job.config.settings import TokenSettings
from job.config.sink_settings import FileSinkSettings, SinkSettings
from job.errors import ExchangeError, SecretUnavailable, SinkError
from job.oauth.answer import Answer, members_of
from job.oauth.refusal import refusal_of
from job.oauth.request import post_request
from job.sinks import Sink
from job.sources import token_url_of
from job.wire import Wiring

SKEW_S = 30.0
NO_ENDPOINT = (404, 405, 407, 410, 429)
"""Statuses of the 4xx range that do not come from a token endpoint which is there and well."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried, and how it went."""

    what: str
    good: bool
    text: str


def probe(name: str, config: Config, wiring: Wiring, clock: Clock) -> Iterator[Finding]:
    """Try what a token needs, short of asking for one."""
    settings = config.tokens[name]
    yield _secret(settings, config, wiring)
    yield from _endpoint(settings, config, wiring, clock)
    sinks = wiring.sinks(name, settings, config.folder)
    for sink, kind in zip(sinks, settings.sinks, strict=True):
        yield _sink(sink, kind, config.folder)


def _secret(settings: TokenSettings, config: Config, wiring: Wiring) -> Finding:
    try:
        wiring.sources.secret(settings.client_secret, config.folder).resolve()
    except SecretUnavailable as error:
        return Finding("client secret", good=False, text=error.message)
    return Finding("client secret", good=True, text="its source gives one")


def _endpoint(
    settings: TokenSettings, config: Config, wiring: Wiring, clock: Clock
) -> Iterator[Finding]:
    """Send a request without parameters or credentials, to which a token endpoint says no."""
    url = token_url_of(settings)
    before = clock().wall
    try:
        sending = post_request(url, (), settings.headers, lambda request: request)
        reply = wiring.sources.transport(settings, config.folder).send(sending)
    except ExchangeError as error:
        yield Finding("endpoint", good=False, text=error.message)
        return
    answer = Answer(*reply, sent_at=(before + clock().wall) / 2)
    good = 400 <= answer.status < 500 and answer.status not in NO_ENDPOINT  # noqa: PLR2004  # HTTP's range
    text = (
        f"{urlsplit(url).hostname} answers (HTTP {answer.status} to an empty request, as it should)"
    )
    if not good:
        text = refusal_of(answer, members_of(answer.body)).message
    yield Finding("endpoint", good, text)
    yield from _clock(answer)


def _clock(answer: Answer) -> Iterator[Finding]:
    if answer.dated is None or "age" in answer.headers:
        return
    skew = round(answer.sent_at - answer.dated)
    side = "ahead of" if skew > 0 else "behind"
    text = f"{abs(skew)} s {side} the server's" if abs(skew) > 1 else "the same as the server's"
    yield Finding("clock", good=abs(skew) <= SKEW_S, text=f"this machine's is {text}")


def _sink(sink: Sink, kind: SinkSettings, folder: str) -> Finding:
    try:
        record = sink.read()
    except SinkError as error:
        return Finding("sink", good=False, text=error.message)
    if isinstance(kind, FileSinkSettings):
        place = os.path.dirname(os.path.join(folder, kind.path))
        if not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
            text = f"{place} can't be written by this user; give the permission, or run as another"
            return Finding("sink", good=False, text=text)
    holds = "holds a token" if record else "holds no token yet"
    return Finding("sink", good=True, text=f"{sink.label} {holds}")
