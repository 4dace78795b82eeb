"""What `check --online` tries: DNS, TLS, the clock, reading the sinks. It mints nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests

from job.clock import Clock, system_clock
from job.config import Config
from job.errors import SinkError
from job.wire import Wiring, proxy_for, token_url_of

SKEW_S = 30.0
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried, and how it went."""

    what: str
    good: bool
    text: str

    def __str__(self) -> str:
        """Give the line that `check` prints."""
        return f"  {self.what:<16} {'ok' if self.good else 'PROBLEM'}: {self.text}"


def probe(
    name: str, config: Config, wiring: Wiring, clock: Clock = system_clock
) -> Iterator[Finding]:
    """Try a token's endpoint without credentials, and read its sinks."""
    settings = config.tokens[name]
    url = token_url_of(settings)
    yield from _endpoint(
        url,
        wiring.ca_file(settings, config.folder),
        proxy_for(url, settings.proxy, wiring.environ),
        clock,
    )
    for sink in wiring.sinks(name, settings, config.folder):
        try:
            record = sink.read()
        except SinkError as error:
            yield Finding("sink", good=False, text=f"{sink.label}: {error}")
        else:
            holds = "holds a token" if record else "holds no token yet"
            yield Finding("sink", good=True, text=f"{sink.label} can be read and {holds}")


def _endpoint(url: str, ca_file: str, proxy: str, clock: Clock) -> Iterator[Finding]:
    """Ask the endpoint something that needs no credentials: its answer shows that it is there."""
    host = urlsplit(url).hostname
    before = clock().wall
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = ca_file or True
            session.proxies = {"http": proxy, "https": proxy} if proxy else {}
            answer = session.head(url, timeout=TIMEOUT_S, allow_redirects=False)
    except requests.exceptions.SSLError:
        text = f"{host}: its certificate is not trusted; see ca_file, and look at the clock"
        yield Finding("TLS", good=False, text=text)
        return
    except requests.RequestException:
        text = f"{host} can't be reached; see its name, the network and the proxy"
        yield Finding("connection", good=False, text=text)
        return
    yield Finding("connection", good=True, text=f"{host} answers")
    yield from _clock(answer.headers.get("Date"), (before + clock().wall) / 2)


def _clock(date: str | None, now: float) -> Iterator[Finding]:
    try:
        skew = now - parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return
    text = f"this machine is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server"
    yield Finding("clock", good=abs(skew) <= SKEW_S, text=text)
