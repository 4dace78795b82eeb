"""What `check --online` tries: the secret's source, DNS, TLS, the endpoint, the clock, the sinks.

It mints nothing and writes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from job.compose.dry_run import dry_run
from job.compose.refreshers import sinks_of
from job.compose.token_source import settled, token_url_of
from job.compose.tools import Tools
from job.config.settings import TokenSettings
from job.core.errors import ExchangeError, RequestRejected, SecretUnavailable, SinkError
from job.core.ports import Sink
from job.oauth.error_response import error_response_of
from job.oauth.metadata import Metadata
from job.oauth.request import TokenRequest, prepared
from job.oauth.token_response import TokenResponse, members_of
from job.sinks.settings import SinkSettings

SKEW_S = 30.0
NO_ENDPOINT = (404, 405, 407, 410, 429)
"""4xx statuses that do not come from a working token endpoint."""


@dataclass(frozen=True, slots=True)
class PreflightResult:
    """One thing that was tried, and how it went."""

    what: str
    good: bool
    text: str


def preflight(name: str, settings: TokenSettings, tools: Tools) -> Iterator[PreflightResult]:
    """Try everything that a token needs, short of requesting one."""
    yield from _proof(settings, tools)
    yield from _server(settings, tools)
    sinks = sinks_of(name, settings, tools)
    for sink, kind in zip(sinks, settings.sinks, strict=True):
        yield _sink(sink, kind)


def _proof(settings: TokenSettings, tools: Tools) -> Iterator[PreflightResult]:
    """Have a request signed, without sending it."""
    tried = dry_run(settings, tools)
    try:
        tried.run()
    except SecretUnavailable as error:
        yield PreflightResult(tried.subject, good=False, text=error.message)
    else:
        if tried.subject:
            yield PreflightResult(tried.subject, good=True, text="its source gives one")


def _server(settings: TokenSettings, tools: Tools) -> Iterator[PreflightResult]:
    """Find the token endpoint, by discovery where there is an issuer, and try it."""
    url, discovery = token_url_of(settings), tools.discovery(settings)
    if discovery is not None:
        try:
            metadata = discovery.metadata()
        except ExchangeError as error:
            yield PreflightResult("discovery", good=False, text=error.message)
            return
        found, endpoint = settled(settings, metadata)
        url = endpoint.token_url
        yield PreflightResult("discovery", good=True, text=_discovered(found, metadata, url))
    yield from _endpoint(url, settings, tools)


def _discovered(found: TokenSettings, metadata: Metadata, url: str) -> str:
    """Return what the metadata say; what they leave out may work all the same."""
    methods = ", ".join(metadata.auth_methods)
    text = f"{metadata.place} names {url}, which takes {methods}; {found.auth_method} is used"
    if metadata.grant_types and found.grant_type not in metadata.grant_types:
        text += f"; {found.grant_type} is not among the grants that it lists"
    return text


def _endpoint(url: str, settings: TokenSettings, tools: Tools) -> Iterator[PreflightResult]:
    """Send a request without parameters or credentials, which a token endpoint refuses."""
    empty = TokenRequest(url, (), settings.headers, settings.http_method, settings.request_format)
    before = tools.clock().wall
    try:
        reply = tools.transport(settings, url).send(prepared(empty, lambda request: request))
    except ExchangeError as error:
        yield PreflightResult("endpoint", good=False, text=error.message)
        return
    answer = TokenResponse(*reply, sent_at=(before + tools.clock().wall) / 2)
    if good := _refuses(answer):
        host, status = urlsplit(url).hostname, answer.status
        text = f"{host} answers (HTTP {status} to an empty request, as it should)"
    else:
        text = error_response_of(answer, members_of(answer.body)).message
    yield PreflightResult("endpoint", good, text)
    yield from _clock(answer)


def _refuses(answer: TokenResponse) -> bool:
    """Tell whether an answer is a refusal, by its status or, if that is 2xx, by its body.

    Some endpoints answer everything with HTTP 200.
    """
    members = members_of(answer.body)
    if answer.succeeded and members is not None:
        return isinstance(error_response_of(answer, members), RequestRejected)
    return 400 <= answer.status < 500 and answer.status not in NO_ENDPOINT  # noqa: PLR2004  # HTTP's range


def _clock(answer: TokenResponse) -> Iterator[PreflightResult]:
    if answer.dated is None or "age" in answer.headers:
        return
    skew = round(answer.sent_at - answer.dated)
    side = "ahead of" if skew > 0 else "behind"
    text = f"{abs(skew)} s {side} the server's" if abs(skew) > 1 else "the same as the server's"
    yield PreflightResult("clock", good=abs(skew) <= SKEW_S, text=f"this machine's is {text}")


def _sink(sink: Sink, settings: SinkSettings) -> PreflightResult:
    try:
        record = sink.read()
    except SinkError as error:
        return PreflightResult("sink", good=False, text=error.message)
    if text := settings.unwritable():
        return PreflightResult("sink", good=False, text=text)
    holds = "holds a token" if record else "holds no token yet"
    return PreflightResult("sink", good=True, text=f"{sink.label} {holds}")
