"""What can go wrong on the wire, and the error that each is.

Exceptions of requests and urllib3 hold the body and the Authorization header, so none is ever
chained: each error is raised outside the except block.
"""

import http.client
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import requests
import urllib3

from job.core.errors import EndpointUnavailable, ExchangeError, RequestRejected

T = TypeVar("T")


class _WireFault(NamedTuple):
    kinds: tuple[type[BaseException], ...]
    code: str
    sentence: str
    error: type[ExchangeError] = EndpointUnavailable
    reason: str = ""


# Alerts come from the server: these are about the certificate that it was shown, or missed.
_ABOUT_CERTIFICATES = "ALERT_(.*CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE|ACCESS_DENIED)"
# The first row that fits decides, its `reason` too; `{host}` and `{reason}` are filled in.
_FAULTS = (
    _WireFault(
        (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidHeader,
            urllib3.exceptions.LocationValueError,
            UnicodeError,
        ),
        "unusable_request",
        "no request can be made of token_url, proxy and headers; correct them",
        RequestRejected,
    ),
    _WireFault(
        (urllib3.exceptions.ProxyError,),
        "proxy_failed",
        "the proxy cannot be reached or refuses to connect to {host}; check proxy",
    ),
    _WireFault(
        (urllib3.exceptions.NameResolutionError, socket.gaierror),
        "dns_failed",
        "the name {host} cannot be resolved; check token_url and the name servers",
    ),
    _WireFault(
        (ConnectionRefusedError,),
        "connection_refused",
        "{host} refuses connections; check token_url, or whether the server runs",
    ),
    _WireFault(
        (ssl.SSLError,),
        "certificate_refused",
        "{host} refuses the client's certificate, or wants one ({reason}); check certificate_file "
        "and key_file, and that the server knows this certificate",
        RequestRejected,
        _ABOUT_CERTIFICATES,
    ),
    _WireFault(
        # With TLS 1.3 the alert about a certificate may be lost behind the end that follows it.
        (ssl.SSLEOFError, ssl.SSLZeroReturnError),
        "connection_failed",
        "{host} ended the TLS connection; check the network, and certificate_file if the server "
        "wants a certificate of clients",
    ),
    _WireFault(
        (ssl.SSLError, urllib3.exceptions.SSLError),
        "tls_failed",
        "no TLS connection to {host} ({reason}); check ca_file and the clock of this machine",
    ),
    _WireFault(
        (TimeoutError, urllib3.exceptions.ReadTimeoutError),
        "timeout",
        "{host} gave no whole answer in time; check the network, or raise timeout",
    ),
    _WireFault(
        (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead),
        "response_truncated",
        "{host} ended the connection in the middle of its answer",
    ),
    _WireFault(
        (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException),
        "connection_failed",
        "the connection to {host} failed; check the network and token_url",
    ),
    _WireFault(
        (OSError,),
        "ca_file_unreadable",
        "the trusted certificates cannot be read; check ca_file",
    ),
)
_HOST = re.compile(r"https?://(?:[^/?#]*@)?([^/?#]+)", re.IGNORECASE)
_WIRE = (OSError, UnicodeError, urllib3.exceptions.HTTPError, http.client.HTTPException)


def translating(function: Callable[[], T], url: str) -> T:
    """Run the function and raise its wire failures as ours, without their context."""
    try:
        return function()
    except _WIRE as fault:
        error = _error_of(fault, url)
    raise error


def _error_of(fault: BaseException, url: str) -> ExchangeError:
    chain = _chain(fault)
    reason = _tls_reason(chain)
    fitting = (row for row in _FAULTS if any(isinstance(link, row.kinds) for link in chain))
    row = next(row for row in fitting if re.search(row.reason, reason))
    found = _HOST.match(url)
    host = found[1] if found else "the server"
    return row.error(row.code, row.sentence.format(host=host, reason=reason))


def _chain(fault: BaseException) -> list[BaseException]:
    """Return the fault and all that it wraps: requests and urllib3 put causes in three places."""
    chain = [fault]
    for link in chain:
        inner = (*link.args, getattr(link, "reason", None), link.__cause__)
        chain += [e for e in inner if isinstance(e, BaseException) and e not in chain]
    return chain


def _tls_reason(chain: Iterable[BaseException]) -> str:
    """Return OpenSSL's own words, such as "certificate has expired": they name no secret."""
    for link in chain:
        if isinstance(link, ssl.SSLError):
            return str(getattr(link, "verify_message", "") or link.reason or "no reason given")
    return ""
