"""What docs/consumers.md shows, made ready to run here, and an API that takes tokens."""

import re
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from running import missing

PAGE = Path(__file__).parent.parent / "docs" / "consumers.md"


def examples(language: str, heading: str) -> list[str]:
    """Return the code blocks of a language under a heading of the page."""
    dotted = re.MULTILINE | re.DOTALL
    until_next = rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)"
    (section,) = re.findall(until_next, PAGE.read_text("utf-8"), dotted)
    return re.findall(rf"^```{language}\n(.*?)^```$", section, dotted)


def placed(text: str, folder: Path, url: str) -> str:
    """Return an example that uses this folder and this API."""
    assert "/run/freshtoken/" in text or "https://api.example.com" in text
    return text.replace("/run/freshtoken/", f"{folder}/").replace("https://api.example.com/", url)


def need(program: str) -> str:
    """Return the path of a program; without it the test is skipped, but never in CI."""
    found = shutil.which(program)
    if found is None:
        missing(f"{program} is not installed")
    return str(found)


class Api:
    """An API on loopback: 200 for a token that is `valid`, else 401; `seen` tells what came.

    Each is the path, and the token if it was valid, else None.
    """

    def __init__(self, valid: Callable[[str], bool]) -> None:
        self.valid = valid
        self.seen: list[tuple[str, str | None]] = []
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def address(self) -> str:
        """Return host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Return the address of its root."""
        return f"http://{self.address}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Listener(ThreadingHTTPServer):
    api: Api
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that is killed hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    timeout = 10

    def do_GET(self) -> None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        good = scheme == "Bearer" and self.server.api.valid(token)
        self.server.api.seen.append((self.path, token if good else None))
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"up_and_well 1\n")

    def log_message(self, *_: object) -> None:
        """Print nothing."""
