"""One HTTP exchange with a total deadline, and the table of what can go wrong on the wire.

This file is the only one that sees exceptions of requests and urllib3. They hold the body and the
Authorization header, so none is ever chained: each error is raised outside the except block.
"""

import contextlib
import functools
import http.client
import os
import re
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context

from job.core.errors import (
    EndpointUnavailable,
    ExchangeError,
    RequestRejected,
    ResponseInvalid,
    SecretUnavailable,
)
from job.http import deadline

T = TypeVar("T")

MAX_BODY_BYTES = 1_048_576
ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


class Reply(NamedTuple):
    """What came over the wire; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Transport:
    """How to reach servers: `timeout_s` over everything, `ca_file` instead of the usual CAs.

    `proxies` maps a URL scheme to a proxy URL. `certificate` is what to show to servers that ask
    (RFC 8705): the paths of a certificate and of its key. One object holds the trusted
    certificates in memory (0.7 MB, 17 ms to read), so share it between all sources with equal
    settings.
    """

    timeout_s: float
    ca_file: str = ""
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: tuple[str, str] | None = None
    _trust: "_Trust" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare to read the certificates when they are needed."""
        object.__setattr__(self, "_trust", _Trust(self.ca_file, self.certificate))

    def send(self, request: requests.PreparedRequest) -> Reply:
        """Send the request once and return the whole answer; redirects are answers too.

        Raises EndpointUnavailable, ResponseInvalid (a body over 1 MiB or one that can't be
        decoded), RequestRejected (settings that can't be used, a certificate that the server
        refuses) or SecretUnavailable (a certificate that can't be shown). No thread stays behind.
        """
        line = CancellableSocket()
        carry = functools.partial(self._carry, request, line)
        limited = functools.partial(deadline.call, carry, self.timeout_s, line.cut)
        return translating(limited, str(request.url))

    def _carry(self, request: requests.PreparedRequest, line: "CancellableSocket") -> Reply:
        uses_tls = any(map(_is_tls, (str(request.url), *self.proxies.values())))
        adapter = _Adapter(line, self._trust.context() if uses_tls else None)
        with contextlib.closing(line), contextlib.closing(adapter):
            # Not a Session: it follows redirects, reads .netrc and drains bodies without bound.
            response = adapter.send(
                request, stream=True, timeout=self.timeout_s, proxies=self.proxies
            )
            with contextlib.closing(response):
                headers = {name.lower(): value for name, value in response.headers.items()}
                body = b"" if response.is_redirect else _read(response)
        return Reply(response.status_code, headers, body)


class CancellableSocket:
    """The socket of one exchange, held so that another thread can cut it at any moment."""

    def __init__(self) -> None:
        """Begin without a socket."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def keep(self, opened: socket.socket) -> socket.socket:
        """Hold a duplicate: TLS takes the original object away. A line already cut stays cut."""
        with self._lock:
            self._socket = opened.dup()
        if self._is_cut:
            self.cut()
        return opened

    def cut(self) -> None:
        """End the connection under whoever uses it; without one, end it as soon as it is there."""
        with self._lock:
            self._is_cut = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the duplicate."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()


class _Trust:
    """The trusted certificates and the client's own, read again when a file of them changes."""

    def __init__(self, ca_file: str, certificate: tuple[str, str] | None) -> None:
        """Trust the CAs of the file or folder, or without one those that requests comes with."""
        self._path = ca_file or DEFAULT_CA_BUNDLE_PATH
        self._certificate = certificate
        self._loaded: tuple[tuple[int, ...], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context to verify servers with; raises OSError (also ssl.SSLError)."""
        stamp = (*_stamp(self._path), *self._own_stamp())
        if self._loaded is None or self._loaded[0] != stamp:
            context = create_urllib3_context()
            is_folder = os.path.isdir(self._path)
            context.load_verify_locations(**{"capath" if is_folder else "cafile": self._path})
            if self._certificate is not None:
                _show(context, *self._certificate)
            self._loaded = (stamp, context)
        return self._loaded[1]

    def _own_stamp(self) -> tuple[int, ...]:
        try:
            return tuple(number for path in self._certificate or () for number in _stamp(path))
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            what = f"the file {error.filename} cannot be read ({reason}); check the path"
            raise _unusable_certificate(what) from None


def _stamp(path: str) -> tuple[int, ...]:
    """Return what differs once a file is another one, or has been written to."""
    status = os.stat(path)
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _show(context: ssl.SSLContext, certificate_file: str, key_file: str) -> None:
    """Have a context show a certificate; OpenSSL must not ask a terminal for a password."""
    try:
        context.load_cert_chain(certificate_file, key_file, password=lambda: "")
    except OSError:  # ssl.SSLError too
        what = "certificate_file and key_file cannot be used together; check both"
        raise _unusable_certificate(what) from None


def _unusable_certificate(what: str) -> SecretUnavailable:
    return SecretUnavailable("certificate_unusable", f"no client certificate: {what}")


class _Adapter(HTTPAdapter):
    """One exchange over one watched connection, with certificates that are read already."""

    def __init__(self, line: CancellableSocket, context: ssl.SSLContext | None) -> None:
        """Hand the socket to `line` and verify servers and TLS proxies by `context`."""
        self._line = line
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *sizes: int, **options: object) -> None:
        """Give TLS connections our context."""
        super().init_poolmanager(*sizes, ssl_context=self._context, **options)  # type: ignore[arg-type]  # passed on as it came

    def proxy_manager_for(self, proxy: str, **options: object) -> object:
        """Give TLS connections through a proxy, and to it, our context."""
        if _is_tls(proxy):
            options["proxy_ssl_context"] = self._context
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)

    def cert_verify(self, conn: object, url: object, verify: object, cert: object) -> None:
        """Load no certificates for every connection, as requests does: our context has them."""

    def get_connection_with_tls_context(self, *target: Any, **options: Any) -> Any:  # noqa: ANN401  # passed on as it came
        """Make every connection of the pool a watched one."""
        pool: Any = super().get_connection_with_tls_context(*target, **options)
        pool.ConnectionCls = functools.partial(_watched, pool.ConnectionCls, self._line)
        return pool


def _watched(kind: Callable[..., Any], line: CancellableSocket, **options: object) -> object:
    """Make a connection of any kind, direct or through a proxy, whose socket is kept."""
    connection = kind(**options)

    def connect() -> socket.socket:
        # From here on the class's own method is back, and no reference cycle is left behind.
        del connection._new_conn  # noqa: SLF001  # the only place before the TLS handshake
        return line.keep(connection._new_conn())  # noqa: SLF001  # the same

    connection._new_conn = connect  # noqa: SLF001  # the same
    return connection


def _is_tls(url: str) -> bool:
    return url.lower().startswith("https:")


def _read(response: requests.Response) -> bytes:
    """Return the decoded body; raises ResponseInvalid when it has over MAX_BODY_BYTES."""
    body = bytearray()
    while piece := response.raw.read(MAX_BODY_BYTES + 1 - len(body), decode_content=False):
        body += piece
    plain = _decoded(bytes(body), response.headers.get("Content-Encoding", "").strip().lower())
    if len(plain) > MAX_BODY_BYTES:
        raise ResponseInvalid(
            "too_large", f"the answer has over {MAX_BODY_BYTES} bytes; check token_url"
        )
    return plain


def _decoded(body: bytes, coding: str) -> bytes:
    """Undo a compression that we asked not to have, without trusting its size."""
    if coding in ("", "identity"):
        return body
    if coding in ("gzip", "x-gzip", "deflate"):
        inflater = zlib.decompressobj(ZLIB_OR_GZIP)
        with contextlib.suppress(zlib.error):
            plain = inflater.decompress(body, MAX_BODY_BYTES + 1)
            if inflater.eof or len(plain) > MAX_BODY_BYTES:
                return plain
    raise ResponseInvalid(
        "undecodable_answer",
        "the answer is compressed in a way that cannot be read, although none was asked for; "
        "check token_url and the proxies on the way",
    )


class _Fault(NamedTuple):
    kinds: tuple[type[BaseException], ...]
    code: str
    sentence: str
    error: type[ExchangeError] = EndpointUnavailable
    reason: str = ""


# Alerts come from the server: these are about the certificate that it was shown, or missed.
_ABOUT_CERTIFICATES = "ALERT_(.*CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE|ACCESS_DENIED)"
# The first row that fits decides, its `reason` too; `{host}` and `{reason}` are filled in.
_FAULTS = (
    _Fault(
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
    _Fault(
        (urllib3.exceptions.ProxyError,),
        "proxy_failed",
        "the proxy cannot be reached or refuses to connect to {host}; check proxy",
    ),
    _Fault(
        (urllib3.exceptions.NameResolutionError, socket.gaierror),
        "dns_failed",
        "the name {host} cannot be resolved; check token_url and the name servers",
    ),
    _Fault(
        (ConnectionRefusedError,),
        "connection_refused",
        "{host} refuses connections; check token_url, or whether the server runs",
    ),
    _Fault(
        (ssl.SSLError,),
        "certificate_refused",
        "{host} refuses the client's certificate, or wants one ({reason}); check certificate_file "
        "and key_file, and that the server knows this certificate",
        RequestRejected,
        _ABOUT_CERTIFICATES,
    ),
    _Fault(
        # With TLS 1.3 the alert about a certificate may be lost behind the end that follows it.
        (ssl.SSLEOFError, ssl.SSLZeroReturnError),
        "connection_failed",
        "{host} ended the TLS connection; check the network, and certificate_file if the server "
        "wants a certificate of clients",
    ),
    _Fault(
        (ssl.SSLError, urllib3.exceptions.SSLError),
        "tls_failed",
        "no TLS connection to {host} ({reason}); check ca_file and the clock of this machine",
    ),
    _Fault(
        (TimeoutError, urllib3.exceptions.ReadTimeoutError),
        "timeout",
        "{host} gave no whole answer in time; check the network, or raise timeout",
    ),
    _Fault(
        (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead),
        "response_truncated",
        "{host} ended the connection in the middle of its answer",
    ),
    _Fault(
        (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException),
        "connection_failed",
        "the connection to {host} failed; check the network and token_url",
    ),
    _Fault(
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
