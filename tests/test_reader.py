import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import requests
from aws import REGION
from botocore.exceptions import ClientError
from fakes import START
from token_server import TokenServer, answer

from job.core.clock import Moment
from job.reader import AGAIN_S, Keeper, Store, TokenAuth, TokenUnavailable, parsed

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

PATIENCE_S = 10.0
GOOD = answer(200, {"ok": True}, {"Connection": "close"})
REFUSED = answer(401, b"", {"Connection": "close"})


def document(token: str, expires_at: float = START + 3600) -> str:
    """Return a stored document as the json format writes it."""
    return json.dumps({"access_token": token, "token_type": "Bearer", "expires_at": expires_at})


class Shelf:
    """A store in memory: `text` may be an error; `release` lets a read that `holds` go on."""

    def __init__(self, *, looks: bool = False) -> None:
        self.text: str | Exception = document("tok-1")
        self.reads = 0
        self.holds = False
        self.release = threading.Event()
        self.read_done = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.mark: object = 1
        self.now = 0.0
        store = Store("the shelf", self.read, self.look if looks else None)
        self.keeper = Keeper(store, 300.0, self.clock)

    def clock(self) -> Moment:
        self.entered.release()
        return Moment(START + self.now, self.now)

    def read(self) -> str:
        self.reads += 1
        if self.holds:
            assert self.release.wait(PATIENCE_S)
        try:
            if isinstance(self.text, Exception):
                raise self.text
            return self.text
        finally:
            self.read_done.release()

    def look(self) -> object:
        if isinstance(self.mark, Exception):
            raise self.mark
        return self.mark

    def at(self, now: float) -> str:
        """Return the header at this time."""
        self.now = now
        return self.keeper.header()

    def wait(self) -> None:
        """Wait until a read has ended and no other thread runs."""
        assert self.read_done.acquire(timeout=PATIENCE_S)
        for thread in threading.enumerate():
            if thread.name.endswith("(_read_quietly)"):
                thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (document("tok-1"), ("Bearer tok-1", START + 3600.0)),
        ('{"access_token": "tok-1"}', ("Bearer tok-1", None)),
        ('{"access_token": "tok-1", "token_type": "MAC", "expires_at": 1.5}', ("MAC tok-1", 1.5)),
        ('{"access_token": "tok-1", "token_type": null}', ("Bearer tok-1", None)),
        ('{"access_token": 7}', (None, None)),
        ('{"access_token": ""}', (None, None)),
        ("{}", (None, None)),
        ("tok-1\n", ("Bearer tok-1", None)),
        ("12345", ("Bearer 12345", None)),
        ("Authorization: Bearer tok-1\n", ("Bearer tok-1", None)),
        ("Cache-Control: none\nauthorization: Bearer tok-1\n", ("Bearer tok-1", None)),
        ("", (None, None)),
        ("no token here", (None, None)),
        ("A=1\nB=2\n", (None, None)),
    ],
)
def test_formats(text: str, found: tuple[str | None, float | None]) -> None:
    """Each format that has one token in it is read; whatever else is not taken for one."""
    assert parsed(text) == found


def test_a_token_is_kept_within_the_promise() -> None:
    """No read within half of the promise, one beside the work after it, and never a stale token."""
    shelf = Shelf()
    assert [shelf.at(now) for now in (0, 1, 149)] == ["Bearer tok-1"] * 3
    assert shelf.reads == 1
    shelf.wait()
    shelf.text = document("tok-2")
    assert shelf.at(150) == "Bearer tok-1"
    shelf.wait()
    assert (shelf.at(151), shelf.reads) == ("Bearer tok-2", 2)


def test_a_token_is_not_kept_beyond_its_expiry() -> None:
    """What a document says of its expiry wins over the promise."""
    shelf = Shelf()
    shelf.text = document("tok-1", START + 100)
    assert shelf.at(0) == "Bearer tok-1"
    shelf.text = document("tok-2")
    assert shelf.at(100) == "Bearer tok-2"


def test_a_slow_store_delays_nobody() -> None:
    """While the kept token is good no request waits, and one thread alone reads."""
    shelf = Shelf()
    shelf.at(0)
    shelf.wait()
    shelf.holds, shelf.text = True, document("tok-2")
    assert [shelf.at(150 + step) for step in (0, 1, AGAIN_S - 1)] == ["Bearer tok-1"] * 3
    shelf.release.set()
    shelf.wait()
    assert (shelf.at(160), shelf.reads) == ("Bearer tok-2", 2)


def test_a_store_that_fails_is_survived() -> None:
    """A kept token is used until it expires; the store is asked every few seconds, beside."""
    shelf = Shelf()
    shelf.at(0)
    shelf.wait()
    shelf.text = OSError("secret in here")
    for now, reads in ((150, 2), (150 + AGAIN_S - 1, 2), (150 + AGAIN_S, 3)):
        assert shelf.at(now) == "Bearer tok-1"
        if reads > 2 or now == 150:
            shelf.wait()
        assert shelf.reads == reads
    assert shelf.at(3599) == "Bearer tok-1"
    shelf.wait()
    with pytest.raises(TokenUnavailable) as caught:
        shelf.at(3600)
    assert str(caught.value) == (
        "the shelf: OSError; see `freshtoken status` where it is written, and the permission to "
        "read it here [token_unavailable]"
    )
    assert caught.value.__cause__ is None


def test_an_expired_token_is_not_used() -> None:
    """A token that has expired in the store is not sent to anybody."""
    shelf = Shelf()
    shelf.text = document("tok-1", START)
    with pytest.raises(
        TokenUnavailable, match=r"its token expired 0 s ago by this machine's clock"
    ):
        shelf.at(0)
    shelf.text = "no token"
    with pytest.raises(TokenUnavailable, match="it holds no token"):
        shelf.at(0)


def test_a_token_of_unknown_expiry_is_kept_for_the_promise_alone() -> None:
    """Without an expiry nobody knows more than that it was good for this long."""
    shelf = Shelf()
    shelf.text = "tok-1"
    shelf.at(0)
    shelf.text = OSError()
    with pytest.raises(TokenUnavailable):
        shelf.at(300)


def test_after_a_pause_the_store_is_waited_for() -> None:
    """A process that was idle starts with a token that is fresh, and with the kept one in need."""
    shelf = Shelf()
    shelf.at(0)
    shelf.text = document("tok-2", START + 3600)
    assert (shelf.at(240), shelf.reads) == ("Bearer tok-2", 2)
    shelf.text = OSError()
    assert (shelf.at(900), shelf.reads) == ("Bearer tok-2", 3)
    assert (shelf.at(901), shelf.reads) == ("Bearer tok-2", 3)


def test_no_more_threads() -> None:
    """A process that can start no thread uses what it has."""
    shelf = Shelf()
    shelf.at(0)
    with pytest.MonkeyPatch.context() as patch:

        def start(_: threading.Thread) -> None:
            raise RuntimeError

        patch.setattr(threading.Thread, "start", start)
        assert shelf.at(150) == "Bearer tok-1"


def test_a_store_that_can_be_looked_at_is_read_when_it_has_changed() -> None:
    """The first request after a change has the new token; a glance and a read may fail."""
    shelf = Shelf(looks=True)
    assert [shelf.at(now) for now in (0, 200, 239)] == ["Bearer tok-1"] * 3
    assert shelf.reads == 1
    shelf.mark, shelf.text = OSError(), document("tok-2")
    assert (shelf.at(239), shelf.reads) == ("Bearer tok-1", 1)
    shelf.mark = 2
    assert (shelf.at(239), shelf.reads) == ("Bearer tok-2", 2)
    shelf.mark, shelf.text = 3, OSError()
    assert (shelf.at(239), shelf.at(239), shelf.reads) == ("Bearer tok-2", "Bearer tok-2", 3)
    shelf.text = document("tok-3")
    assert (shelf.at(239 + AGAIN_S), shelf.reads) == ("Bearer tok-3", 4)


@pytest.mark.parametrize(
    ("text", "reads"), [(document("tok-1"), 1), (OSError(), 2)], ids=["read", "failed"]
)
def test_threads_that_come_together_share_a_read(text: str | Exception, reads: int) -> None:
    """A burst makes one read; if it fails, one more for those who came while it was going on."""
    shelf = Shelf()
    shelf.text, shelf.holds = text, True
    found: list[str] = []

    def ask() -> None:
        try:
            found.append(shelf.keeper.header())
        except TokenUnavailable as error:
            found.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(len(threads) + 1):  # each has found nothing kept, and one of them reads
        assert shelf.entered.acquire(timeout=PATIENCE_S)
    shelf.release.set()
    for thread in threads:
        thread.join()
    assert found == ["Bearer tok-1" if isinstance(text, str) else "token_unavailable"] * 8
    assert shelf.reads <= reads


def test_a_refused_token_is_compared_with_what_is_stored_after_the_refusal() -> None:
    """A 401 has the store read, unless another thread has found another token already."""
    shelf = Shelf()
    shelf.at(0)
    assert (shelf.keeper.other_than("Bearer tok-1"), shelf.reads) == (None, 2)
    shelf.text = document("tok-2")
    assert (shelf.keeper.other_than("Bearer tok-1"), shelf.reads) == ("Bearer tok-2", 3)
    assert (shelf.keeper.other_than("Bearer tok-1"), shelf.reads) == ("Bearer tok-2", 3)


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
    auth = TokenAuth(Keeper(Store(str(path), path.read_text), 300.0))
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


def test_the_errors_of_aws_have_names() -> None:
    """What AWS refuses with is told: a missing permission is cured otherwise than an outage."""
    shelf = Shelf()
    shelf.text = ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue")
    with pytest.raises(TokenUnavailable, match="the shelf: AccessDeniedException; see"):
        shelf.at(0)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The error names the file and says what to do."""
    auth = TokenAuth.from_file(str(tmp_path / "none.json"))
    with pytest.raises(TokenUnavailable, match=r"none\.json: FileNotFoundError; see"):
        auth.header()


@pytest.mark.parametrize(
    ("stored", "json_key"),
    [
        (document("tok-1", 4e9), None),
        ("tok-1", None),
        (json.dumps({"tiki": "tok-1", "other": 1}), "tiki"),
        (json.dumps({"tiki": {"access_token": "tok-1", "expires_at": 4e9}}), "tiki"),
    ],
)
def test_a_secret(
    aws: "SecretsManagerClient",
    moto_url: str,
    aws_environ: pytest.MonkeyPatch,
    stored: str,
    json_key: str | None,
) -> None:
    """The current version of a secret is used, the whole of it or one key."""
    del aws_environ  # it has set the credentials
    aws.create_secret(Name="prod/tiki", SecretString=stored)
    auth = TokenAuth.from_secrets_manager(
        "prod/tiki", json_key=json_key, region=REGION, endpoint_url=moto_url
    )
    assert auth.header() == "Bearer tok-1"
