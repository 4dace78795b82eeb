import threading

import pytest
from botocore.exceptions import ClientError
from fakes import START
from stored import document

from freshtoken_reader import TokenUnavailable
from freshtoken_reader.cache import RETRY_S, TokenCache
from freshtoken_reader.clock import Moment
from freshtoken_reader.stores import Store

PATIENCE_S = 10.0


class Shelf:
    """A store in memory: `text` may be an error; `release` lets a read that `holds` go on."""

    def __init__(self, *, glances: bool = False) -> None:
        self.text: str | Exception = document("tok-1")
        self.reads = 0
        self.holds = False
        self.release = threading.Event()
        self.read_done = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.mark: object = 1
        self.now = 0.0
        store = Store("the shelf", self.read, self.glance if glances else None)
        self.cache = TokenCache(store, 300.0, self.clock)

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

    def glance(self) -> object:
        if isinstance(self.mark, Exception):
            raise self.mark
        return self.mark

    def at(self, now: float) -> str:
        """Return the header at this time."""
        self.now = now
        return self.cache.header()

    def wait(self) -> None:
        """Wait until a read has ended and no other thread runs."""
        assert self.read_done.acquire(timeout=PATIENCE_S)
        for thread in threading.enumerate():
            if thread.name.endswith("(_read_or_keep)"):
                thread.join(PATIENCE_S)


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
    assert [shelf.at(150 + step) for step in (0, 1, RETRY_S - 1)] == ["Bearer tok-1"] * 3
    shelf.release.set()
    shelf.wait()
    assert (shelf.at(160), shelf.reads) == ("Bearer tok-2", 2)


def test_a_store_that_fails_is_survived() -> None:
    """A kept token is used until it expires; the store is asked every few seconds, beside."""
    shelf = Shelf()
    shelf.at(0)
    shelf.wait()
    shelf.text = OSError("secret in here")
    for now, reads in ((150, 2), (150 + RETRY_S - 1, 2), (150 + RETRY_S, 3)):
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


def test_a_cached_token_is_not_shown() -> None:
    """What prints the variables of a program, as error trackers do, prints no token."""
    shelf = Shelf()
    shelf.at(0)
    assert "tok-1" not in repr(vars(shelf.cache))


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
    shelf = Shelf(glances=True)
    assert [shelf.at(now) for now in (0, 200, 239)] == ["Bearer tok-1"] * 3
    assert shelf.reads == 1
    shelf.mark, shelf.text = OSError(), document("tok-2")
    assert (shelf.at(239), shelf.reads) == ("Bearer tok-1", 1)
    shelf.mark = 2
    assert (shelf.at(239), shelf.reads) == ("Bearer tok-2", 2)
    shelf.mark, shelf.text = 3, OSError()
    assert (shelf.at(239), shelf.at(239), shelf.reads) == ("Bearer tok-2", "Bearer tok-2", 3)
    shelf.text = document("tok-3")
    assert (shelf.at(239 + RETRY_S), shelf.reads) == ("Bearer tok-3", 4)


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
            found.append(shelf.cache.header())
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
    assert (shelf.cache.replacement("Bearer tok-1"), shelf.reads) == (None, 2)
    shelf.text = document("tok-2")
    assert (shelf.cache.replacement("Bearer tok-1"), shelf.reads) == ("Bearer tok-2", 3)
    assert (shelf.cache.replacement("Bearer tok-1"), shelf.reads) == ("Bearer tok-2", 3)


def test_the_errors_of_aws_have_names() -> None:
    """What AWS refuses with is told: a missing permission is cured otherwise than an outage."""
    shelf = Shelf()
    shelf.text = ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue")
    with pytest.raises(TokenUnavailable, match="the shelf: AccessDeniedException; see"):
        shelf.at(0)
