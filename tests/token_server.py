"""A loopback authorization server that answers by script, wire faults included.

    with TokenServer(token("tok-1"), refusal(401, "invalid_client"), stall()) as server:
        ...server.url...
    assert server.requests[0].form == {...}

A step is the bytes of a whole answer, or a function that plays a fault. Each request takes the
next step and the last one stays; without a script every request gets a token of its own. Nothing
here sleeps: what stalls waits for the end of the server.
"""

import contextlib
import datetime as dt
import http.client
import ipaddress
import itertools
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

PATIENCE_S = 10.0
GONE_S = 0.5
"""A client that takes nothing for so long has given an endless answer up."""

Play = Callable[[socket.socket, threading.Event], None]
Step = bytes | Play


@dataclass(frozen=True)
class Seen:
    """One request as it came: header names in lower case, the form in its order."""

    method: str
    path: str
    headers: Mapping[str, str]
    pairs: tuple[tuple[str, str], ...]
    body: str = ""

    @property
    def form(self) -> dict[str, str]:
        """Return the parameters by name."""
        return dict(self.pairs)


class TokenServer:
    """The server; it serves from `with` on, and at its end no thread is left."""

    def __init__(self, *script: Step, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Seen] = []
        self._script = list(script)
        self._numbers = itertools.count(1)
        self._tls = tls
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = _Listener(self._serve)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        """Return the port on 127.0.0.1."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """Return the address of the token endpoint."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/token"

    def add(self, *steps: Step) -> None:
        """Put further steps at the end of the script."""
        with self._lock:
            self._script += steps

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        # A client that hangs up, at whatever moment, is part of the game.
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                step = self._take(connection)
                if callable(step):
                    step(connection, self._released)
                else:
                    connection.sendall(step)

    def _take(self, connection: socket.socket) -> Step:
        with connection.makefile("rb") as stream:
            seen = _read(stream)
        with self._lock:
            if seen is None:
                return answer(400)
            self.requests.append(seen)
            if not self._script:
                return token(f"tok-{next(self._numbers)}")
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = False  # threads that are daemons are not joined
    request_queue_size = 128

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    def finish_request(self, request: object, client_address: object) -> None:
        self._serve(request)  # type: ignore[arg-type]  # a TCP server's requests are sockets


def _read(stream: BinaryIO) -> Seen | None:
    words = stream.readline(65_536).decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return None  # a TLS client that took the wrong door, for example
    headers = {name.lower(): value for name, value in http.client.parse_headers(stream).items()}
    body = stream.read(int(headers.get("content-length", 0))).decode()
    pairs = tuple(parse_qsl(body, keep_blank_values=True))
    return Seen(words[0], words[1], headers, pairs, body)


def answer(
    status: int,
    body: bytes | str | Mapping[str, Any] = b"",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Make a whole answer; a mapping becomes JSON. Headers that are given replace ours."""
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    content = body.encode() if isinstance(body, str) else body
    fields = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    fields |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + content


def token(value: str = "tok-1", expires_in: object = 3600, **members: object) -> bytes:
    """Make a successful answer; further members are added."""
    fields = {"access_token": value, "token_type": "Bearer", "expires_in": expires_in}
    return answer(200, fields | members)


def refusal(status: int, error: object, headers: Mapping[str, str] | None = None) -> bytes:
    """Make an OAuth error answer."""
    return answer(status, {"error": error}, headers)


def cut(whole: bytes, keep: int) -> bytes:
    """Make an answer that ends after `keep` bytes, whatever its length was said to be."""
    return whole[:keep]


def stall(start: bytes = b"") -> Play:
    """Send a beginning and nothing more."""

    def play(connection: socket.socket, released: threading.Event) -> None:
        connection.sendall(start)
        released.wait(PATIENCE_S)

    return play


def drip(whole: bytes, pause_s: float = 0.02) -> Play:
    """Send one byte at a time: no single wait is ever long."""

    def play(connection: socket.socket, released: threading.Event) -> None:
        for value in whole:
            connection.sendall(bytes([value]))
            if released.wait(pause_s):
                return

    return play


def endless(start: bytes, again: bytes) -> Play:
    """Send a beginning, then the same piece again and again until the client hangs up."""

    def play(connection: socket.socket, released: threading.Event) -> None:
        connection.settimeout(GONE_S)
        connection.sendall(start)
        while not released.is_set():
            connection.sendall(again * (1 + 65_536 // len(again)))

    return play


def reset_after(start: bytes) -> Play:
    """Send a beginning, and then break the connection off so that the client sees a reset."""

    def play(connection: socket.socket, released: threading.Event) -> None:
        connection.sendall(start)
        reset(connection, released)

    return play


def reset(connection: socket.socket, released: threading.Event) -> None:
    """Break the connection off so that the client sees a reset."""
    linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """Give a port that takes connections and never says a word, not even in a TLS handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def authority(
    folder: Path, name: str = "127.0.0.1", days: tuple[int, int] = (-1, 1)
) -> tuple[str, ssl.SSLContext]:
    """Make a CA and a server certificate for `name`, valid from and until so many days from now.

    Returns the path of the CA file and the server's context.
    """
    from cryptography import x509  # noqa: PLC0415  # only tests of TLS need it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    now = dt.datetime.now(dt.UTC)
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_id = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())

    def signed(
        subject: x509.Name,
        public: "EllipticCurvePublicKey",
        *extensions: tuple[x509.ExtensionType, bool],
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=days[0]))
            .not_valid_after(now + dt.timedelta(days=days[1]))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(root_key, hashes.SHA256())

    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    root = signed(
        root_name,
        root_key.public_key(),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(digital_signature=False, key_cert_sign=True, **usage), True),
        (root_id, False),
    )
    leaf = signed(
        x509.Name([]),
        key.public_key(),
        (x509.SubjectAlternativeName([_general_name(name)]), True),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id), False),
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    ca_file, chain = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(root.public_bytes(pem))
    chain.write_bytes(private + leaf.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return str(ca_file), context


def _general_name(name: str) -> "x509.GeneralName":
    from cryptography import x509  # noqa: PLC0415  # only tests of TLS need it

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
