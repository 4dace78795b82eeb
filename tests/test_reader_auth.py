import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import requests
from stored import document
from token_server import TokenServer, answer

from freshtoken_reader import TokenAuth
from freshtoken_reader.cache import TokenCache
from freshtoken_reader.stores import Store

PATIENCE_S = 10.0
GOOD = answer(200, {"ok": True}, {"Connection": "close"})
REFUSED = answer(401, b"", {"Connection": "close"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a file that holds a token."""
    stored = tmp_path / "tiki.json"
    stored.write_text(document("tok-1", 4e9))
    return stored


def replaced(path: Path, token: str) -> None:
    """Put another token into the file, as a writer does."""
    other = path.with_suffix(".new")
    other.write_text(document(token, 4e9))
    other.rename(path)


def slowly(path: Path) -> TokenAuth:
    """Return an auth that has read the file, and does not look whether it was replaced."""
    auth = TokenAuth(TokenCache(Store(str(path), path.read_text), 300.0))
    auth.header()
    return auth


def sent(server: TokenServer) -> list[tuple[str, str]]:
    """Return the header and the body of each request that came."""
    return [
        (seen.headers["authorization"], "&".join(map("=".join, seen.pairs)))
        for seen in server.requests
    ]


Send = Callable[[str, TokenAuth, bytes], int]


def by_requests(url: str, auth: TokenAuth, body: bytes) -> int:
    """Post with requests."""
    return requests.post(url, data=body, auth=auth, timeout=PATIENCE_S).status_code


def by_requests_with_a_file(url: str, auth: TokenAuth, body: bytes) -> int:
    """Post a file object with requests."""
    return requests.post(url, data=io.BytesIO(body), auth=auth, timeout=PATIENCE_S).status_code


def by_httpx(url: str, auth: TokenAuth, body: bytes) -> int:
    """Post with httpx."""
    with httpx.Client(auth=auth.httpx(), trust_env=False) as client:
        return client.post(url, content=body, timeout=PATIENCE_S).status_code


def by_httpx_async(url: str, auth: TokenAuth, body: bytes) -> int:
    """Post with the async client of httpx."""

    async def post() -> int:
        async with httpx.AsyncClient(auth=auth.httpx(), trust_env=False) as client:
            return (await client.post(url, content=body, timeout=PATIENCE_S)).status_code

    return asyncio.run(post())


@pytest.mark.parametrize("send", [by_requests, by_requests_with_a_file, by_httpx, by_httpx_async])
@pytest.mark.slow
def test_a_401_has_the_store_read_once_more(path: Path, send: Send) -> None:
    """With another token in the store the request is sent again, whole; with the same it is not."""
    auth = slowly(path)
    with TokenServer(GOOD, REFUSED) as server:
        assert [send(server.url, auth, b"a=1") for _ in range(2)] == [200, 401]
        assert sent(server) == [("Bearer tok-1", "a=1")] * 2
    with TokenServer(REFUSED, GOOD) as server:
        replaced(path, "tok-2")
        assert send(server.url, auth, b"a=1") == 200
        assert sent(server) == [("Bearer tok-1", "a=1"), ("Bearer tok-2", "a=1")]


def test_a_first_read_is_waited_for_beside_the_event_loop(path: Path) -> None:
    """The async client of httpx gets a token that nobody has read before."""
    with TokenServer(GOOD) as server:
        assert by_httpx_async(server.url, TokenAuth.from_file(str(path)), b"a=1") == 200
        assert sent(server) == [("Bearer tok-1", "a=1")]


def test_the_first_answer_stays_in_the_history(path: Path) -> None:
    """Whoever looks sees that there was a 401, and with what the second request was sent."""
    auth = slowly(path)
    replaced(path, "tok-2")
    with TokenServer(REFUSED, GOOD) as server:
        response = requests.get(server.url, auth=auth, timeout=PATIENCE_S)
    assert [each.status_code for each in (*response.history, response)] == [401, 200]
    assert response.request.headers["Authorization"] == "Bearer tok-2"


def test_a_body_that_can_be_sent_once_is_sent_once(path: Path) -> None:
    """A stream that is used up is not sent again, half or empty."""
    auth = slowly(path)
    replaced(path, "tok-2")

    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise OSError

    with TokenServer(REFUSED, GOOD) as server:
        response = requests.post(
            server.url, data=Pipe(b"a=1"), auth=auth, headers={"Content-Length": "3"}, timeout=9
        )
        assert response.status_code == 401
        assert len(server.requests) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_body_of_httpx_that_can_be_sent_once_is_sent_once(
    path: Path, *, asynchronous: bool
) -> None:
    """The same with httpx: the caller gets the 401 and no error about a used-up stream."""
    auth = slowly(path).httpx()
    replaced(path, "tok-2")
    headers = {"Content-Length": "3"}

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a=1"

    async def post(url: str) -> int:
        async with httpx.AsyncClient(auth=auth, trust_env=False) as client:
            return (await client.post(url, content=pieces(), headers=headers)).status_code

    with TokenServer(REFUSED, GOOD) as server:
        if asynchronous:
            assert asyncio.run(post(server.url)) == 401
        else:
            with httpx.Client(auth=auth, trust_env=False) as client:
                answer = client.post(server.url, content=iter([b"a=1"]), headers=headers)
            assert answer.status_code == 401
        assert len(server.requests) == 1


def test_a_redirect_to_another_host_gets_no_token(path: Path) -> None:
    """Whoever a request is redirected to can't have a token by answering 401."""
    auth = slowly(path)
    replaced(path, "tok-2")
    with TokenServer(REFUSED, GOOD) as other:
        there = other.url.replace("127.0.0.1", "localhost")
        with TokenServer(answer(302, b"", {"Location": there, "Connection": "close"})) as server:
            assert requests.get(server.url, auth=auth, timeout=PATIENCE_S).status_code == 401
        assert ["authorization" in seen.headers for seen in other.requests] == [False]


def test_a_store_that_fails_after_a_401(path: Path) -> None:
    """The 401 is what the caller gets."""
    auth = TokenAuth.from_file(str(path))
    auth.header()
    path.unlink()
    with TokenServer(REFUSED) as server:
        assert [send(server.url, auth, b"") for send in (by_requests, by_httpx)] == [401, 401]
