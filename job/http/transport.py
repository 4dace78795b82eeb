"""One HTTP exchange with a total deadline."""

import contextlib
import functools
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter

from job.core.errors import ResponseInvalid
from job.http.deadline import Threads
from job.http.faults import translating
from job.http.tls import Trust

MAX_BODY_BYTES = 1_048_576
ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


class HttpResponse(NamedTuple):
    """What came over the wire; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class CancellableSocket:
    """The socket of one exchange, which another thread can end at any moment."""

    def __init__(self) -> None:
        """Begin without a socket."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cancelled = False

    def keep(self, opened: socket.socket) -> socket.socket:
        """Hold a duplicate, because TLS takes the original object away; return the original."""
        with self._lock:
            self._socket = opened.dup()
        if self._is_cancelled:
            self.cancel()
        return opened

    def cancel(self) -> None:
        """End the connection while it is used, or as soon as it is made."""
        with self._lock:
            self._is_cancelled = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the duplicate."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()


@dataclass(frozen=True)
class Transport:
    """How to reach servers: `timeout_s` over everything, `ca_file` instead of the usual CAs.

    `proxies` maps a URL scheme to a proxy URL. `certificate` is what to show to servers that ask
    (RFC 8705): the paths of a certificate and of its key. Exchanges run in `threads`. One object
    holds the trusted certificates in memory (0.7 MB, 17 ms to read), so share it between all
    sources with equal settings.
    """

    timeout_s: float
    ca_file: str = ""
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: tuple[str, str] | None = None
    threads: Threads = field(default_factory=Threads, repr=False, compare=False)
    _trust: Trust = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare to read the certificates when they are needed."""
        object.__setattr__(self, "_trust", Trust(self.ca_file, self.certificate))

    def send(self, request: requests.PreparedRequest) -> HttpResponse:
        """Send the request once and return the whole answer; redirects are answers too.

        Raises EndpointUnavailable, ResponseInvalid (a body over 1 MiB or one that can't be
        decoded), RequestRejected (settings that can't be used, a certificate that the server
        refuses) or SecretUnavailable (a certificate that can't be shown). What is late ends.
        """
        connection = CancellableSocket()
        carry = functools.partial(self._carry, request, connection)
        call = functools.partial(self.threads.call, carry, self.timeout_s, connection.cancel)
        return translating(call, str(request.url))

    def _carry(
        self, request: requests.PreparedRequest, connection: CancellableSocket
    ) -> HttpResponse:
        uses_tls = any(map(_is_tls, (str(request.url), *self.proxies.values())))
        adapter = _Adapter(connection, self._trust.context() if uses_tls else None)
        with contextlib.closing(connection), contextlib.closing(adapter):
            # Not a Session: it follows redirects, reads .netrc and drains bodies without bound.
            response = adapter.send(
                request, stream=True, timeout=self.timeout_s, proxies=self.proxies
            )
            with contextlib.closing(response):
                headers = {name.lower(): value for name, value in response.headers.items()}
                body = b"" if response.is_redirect else _read(response)
        return HttpResponse(response.status_code, headers, body)


class _Adapter(HTTPAdapter):
    """One exchange over one watched connection, with certificates that are read already."""

    def __init__(self, held: CancellableSocket, context: ssl.SSLContext | None) -> None:
        """Hand the socket to `held` and verify servers and TLS proxies by `context`."""
        self._held = held
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
        pool.ConnectionCls = functools.partial(_watched, pool.ConnectionCls, self._held)
        return pool


def _watched(kind: Callable[..., Any], held: CancellableSocket, **options: object) -> object:
    """Make a connection of any kind, direct or through a proxy, whose socket is kept."""
    connection = kind(**options)

    def connect() -> socket.socket:
        # From here on the class's own method is back, and no reference cycle is left behind.
        del connection._new_conn  # noqa: SLF001  # the only place before the TLS handshake
        return held.keep(connection._new_conn())  # noqa: SLF001  # the same

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
