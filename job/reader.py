"""For programs that use a token: an auth for requests and httpx that always has a fresh one.

    from job.reader import TokenAuth

    auth = TokenAuth.from_file("/run/freshtoken/tiki.json")
    requests.get("https://api.tiki.vn/...", auth=auth, timeout=10)
    httpx.Client(auth=auth.httpx())

freshtoken promises that a token which is read is valid for `min_validity` more. When half of that
time has passed, the store is read again beside the work; when four fifths have, it is waited for.
If it fails, the token is used until its own expiry, if that is known. After a 401 the store is read
once more, and the request is sent once more if it holds another token.
"""

import json
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from requests import PreparedRequest, Response
from requests.auth import AuthBase

from job.aws.clients import Account, AwsClients
from job.core.clock import Clock, system_clock
from job.core.errors import JobError
from job.core.secret import Secret

if TYPE_CHECKING:
    import httpx

MIN_VALIDITY_S = 300.0
"""The promise of a configuration that says nothing else."""
AGAIN_S = 5.0
"""How long a store that failed, or is being read, is left alone while a kept token can be used."""
STALE, OLD = 0.5, 0.8
"""When to read again, as a part of what is promised: first beside the work, then before it.

The last fifth is for the request that the token is used in.
"""
UNAUTHORIZED = 401


class TokenUnavailable(JobError):
    """Raised when the store gives no token that can be used, and none is kept."""

    exit_code = 75


class Store(NamedTuple):
    """Where a token is: `read` returns the stored text; `look` a value that changes with it.

    `look` is a glance that costs nothing, such as a file's status; None if there is none. A store
    that can be looked at is read as cheaply, by whoever sees the change.
    """

    place: str
    read: Callable[[], str]
    look: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A token that was read: the Authorization header, and what `look` said.

    Times are seconds since boot: from `stale_at` it is read again beside the work, from `old_at`
    it is waited for, at `dead_at` it has expired for all that is known.
    """

    header: Secret
    stale_at: float
    old_at: float
    dead_at: float
    seen: object


class Keeper:
    """Holds the token of a store, read again in time. Thread-safe; does not survive a fork."""

    def __init__(self, store: Store, min_validity: float, clock: Clock = system_clock) -> None:
        """Read nothing yet; `min_validity` is in seconds."""
        self._store = store
        self._min_validity = min_validity
        self._clock = clock
        self._kept: Kept | None = None
        self._reading = threading.Lock()
        self._begun = 0
        self._outcome: Kept | str = "it was never read"
        self._again_at = 0.0

    def header(self) -> str:
        """Return the value of the Authorization header now; raises TokenUnavailable.

        Waits for the store only if `at_hand` has nothing, and once only if it fails.
        """
        header = self.at_hand()
        return self._waited_for() if header is None else header

    def at_hand(self) -> str | None:
        """Return the same without waiting for a slow store; None if that has to be."""
        kept, now = self._kept, self._clock().boot
        if kept is None or now >= kept.dead_at:
            return None
        if now >= kept.old_at and self._outcome is kept:
            return None
        if now >= self._again_at and self._is_stale(kept, now):
            kept = self._read_again(kept, now)
        return kept.header.reveal()

    def other_than(self, refused: str) -> str | None:
        """Return another header than one that was refused, if need be read now; None if none is."""
        try:
            header = self._read_unless(lambda kept: kept.header.reveal() != refused).header.reveal()
        except TokenUnavailable:
            return None
        return None if header == refused else header

    def _waited_for(self) -> str:
        kept = self._kept
        try:
            return self._read_unless(lambda found: found is not kept).header.reveal()
        except TokenUnavailable:
            if kept is None or self._clock().boot >= kept.dead_at:
                raise
            return kept.header.reveal()

    def _is_stale(self, kept: Kept, now: float) -> bool:
        """Tell whether the store is to be read again."""
        if self._store.look is None or now >= kept.old_at:
            return now >= kept.stale_at
        with suppress(OSError):
            return self._store.look() != kept.seen
        return False

    def _read_again(self, kept: Kept, now: float) -> Kept:
        """Read a store that is fast, or have one that may be slow read beside the work."""
        if self._store.look is not None:
            return self._read_quietly(kept)
        self._again_at = now + AGAIN_S
        with suppress(RuntimeError):  # no more threads: the next one tries again
            threading.Thread(target=self._read_quietly, args=(kept,), daemon=True).start()
        return kept

    def _read_quietly(self, kept: Kept) -> Kept:
        with suppress(TokenUnavailable):
            return self._read_unless(lambda found: found is not kept)
        return kept

    def _read_unless(self, will_do: Callable[[Kept], bool]) -> Kept:
        """Read the store, unless what another thread has read meanwhile will do.

        Threads that come together share one read, whether it fails or not.
        """
        begun = self._begun
        with self._reading:
            if self._kept is not None and will_do(self._kept):
                return self._kept
            if self._begun == begun:
                self._attempt()
            if isinstance(self._outcome, str):
                raise TokenUnavailable("token_unavailable", self._outcome)
            return self._outcome

    def _attempt(self) -> None:
        self._begun += 1
        try:
            self._outcome = self._kept = self._read()
        except TokenUnavailable as error:
            self._outcome, self._again_at = error.message, self._clock().boot + AGAIN_S

    def _read(self) -> Kept:
        before = self._clock()
        try:
            seen = self._store.look() if self._store.look else None
            header, expires_at = parsed(self._store.read())
        except Exception as error:  # noqa: BLE001  # what a file, boto3 or a caller's function raises
            raise self._unavailable(_name(error)) from None
        if header is None:
            raise self._unavailable("it holds no token")
        left = self._min_validity if expires_at is None else expires_at - before.wall
        if left <= 0:
            ago = f"{abs(left):.0f} s ago by this machine's clock"
            raise self._unavailable(f"its token expired {ago}")
        good, now = min(left, self._min_validity), before.boot
        stale_at, old_at = now + STALE * good, now + OLD * good
        return Kept(Secret(header), stale_at, old_at, now + left, seen)

    def _unavailable(self, reason: str) -> TokenUnavailable:
        cure = "see `freshtoken status` where it is written, and the permission to read it here"
        return TokenUnavailable("token_unavailable", f"{self._store.place}: {reason}; {cure}")


class TokenAuth(AuthBase):
    """Adds the Authorization header to each request of requests.

    Sessions and threads may share one. A process that forks makes one in each child.
    """

    def __init__(self, keeper: Keeper) -> None:
        """Read nothing yet."""
        self._keeper = keeper

    @classmethod
    def from_file(cls, path: str, *, min_validity: float = MIN_VALIDITY_S) -> "TokenAuth":
        """Use the token in a file of format json, raw or header.

        The file is looked at before each request, and read by the first one after it was replaced.
        """

        def read() -> str:
            with open(path, encoding="utf-8") as file:
                return file.read()

        def look() -> object:
            status = os.stat(path)
            return status.st_mtime_ns, status.st_ino, status.st_size

        return cls(Keeper(Store(path, read, look), min_validity))

    @classmethod
    def from_secrets_manager(
        cls,
        secret_id: str,
        *,
        json_key: str | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        min_validity: float = MIN_VALIDITY_S,
    ) -> "TokenAuth":
        """Use the token in a secret, which is read about every half of `min_validity` seconds.

        The principal needs secretsmanager:GetSecretValue. What is None comes from boto3's chain.
        """
        client = AwsClients().secrets_manager(Account(region, endpoint_url, profile))

        def read() -> str:
            answer = client().get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")
            text = answer["SecretString"]
            if json_key is None:
                return text
            value: object = json.loads(text)[json_key]
            return value if isinstance(value, str) else json.dumps(value)

        return cls(Keeper(Store(f"secret {secret_id}", read), min_validity))

    def header(self) -> str:
        """Return the value of the Authorization header now; raises TokenUnavailable."""
        return self._keeper.header()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header, and see to a 401; raises TokenUnavailable."""
        sent = self._keeper.header()
        request.headers["Authorization"] = sent
        again = _Again(self._keeper, sent, _position(request.body))
        request.register_hook("response", again)  # type: ignore[no-untyped-call]  # requests' own
        return request

    def httpx(self) -> "httpx.Auth":
        """Return the same as an auth of httpx, for its clients with and without async."""
        import httpx  # noqa: PLC0415  # only its users have it
        from anyio import to_thread  # noqa: PLC0415  # comes with it

        keeper = self._keeper

        class Auth(httpx.Auth):
            """Adds the header, and sends once more with another token after a 401."""

            def sync_auth_flow(
                self, request: httpx.Request
            ) -> Generator[httpx.Request, httpx.Response, None]:
                sent = keeper.header()
                request.headers["Authorization"] = sent
                response = yield request
                if response.status_code == UNAUTHORIZED and _has_whole_body(request):
                    other = keeper.other_than(sent)
                    if other is not None:
                        request.headers["Authorization"] = other
                        yield request

            async def async_auth_flow(
                self, request: httpx.Request
            ) -> AsyncGenerator[httpx.Request, httpx.Response]:
                # A store that has to be waited for is waited for beside the event loop.
                sent = keeper.at_hand()
                if sent is None:
                    sent = await to_thread.run_sync(keeper.header)
                request.headers["Authorization"] = sent
                response = yield request
                if response.status_code == UNAUTHORIZED and _has_whole_body(request):
                    other = await to_thread.run_sync(keeper.other_than, sent)
                    if other is not None:
                        request.headers["Authorization"] = other
                        yield request

        return Auth()


@dataclass(frozen=True)
class _Again:
    """Sends a request of requests once more after a 401, as its own digest auth does."""

    keeper: Keeper
    sent: str
    position: int | None

    def __call__(self, response: Response, **options: Any) -> Response:  # noqa: ANN401  # requests' own
        # A redirect to another host has lost the header: nobody there shall have a token.
        ours = response.request.headers.get("Authorization") == self.sent
        if response.status_code != UNAUTHORIZED or self.position is None or not ours:
            return response
        other = self.keeper.other_than(self.sent)
        if other is None:
            return response
        _ = response.content  # so that the connection can be used again
        response.close()
        request = response.request.copy()
        seek = getattr(request.body, "seek", None)
        if seek is not None:
            seek(self.position)
        request.headers["Authorization"] = other
        second: Response = response.connection.send(request, **options)
        second.history.append(response)
        second.request = request
        return second


def parsed(text: str) -> tuple[str | None, float | None]:
    """Return the header and the expiry of a stored text of format json, raw or header.

    The expiry is None where the format has none; the header is None where there is no token.
    """
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return _from_document(document)
    lines = text.strip().splitlines()
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name.lower() == "authorization":
            return value.strip(), None
    return (f"Bearer {lines[0]}", None) if len(lines) == 1 and " " not in lines[0] else (None, None)


def _from_document(document: dict[str, Any]) -> tuple[str | None, float | None]:
    token, kind = document.get("access_token"), document.get("token_type") or "Bearer"
    expires_at = document.get("expires_at")
    header = f"{kind} {token}" if isinstance(token, str) and token else None
    return header, float(expires_at) if isinstance(expires_at, int | float) else None


def _position(body: object) -> int | None:
    """Return where a body begins that can be sent twice; None for one that can't."""
    if body is None or isinstance(body, bytes | str):
        return 0
    try:
        return int(body.tell())  # type: ignore[attr-defined]  # else AttributeError, like a generator
    except (AttributeError, OSError):
        return None


def _has_whole_body(request: "httpx.Request") -> bool:
    """Tell whether a request of httpx can be sent twice: a stream that was sent is used up."""
    try:
        return request.content is not None
    except RuntimeError:  # httpx.RequestNotRead
        return False


def _name(error: Exception) -> str:
    """Return what kind of error it is; those of AWS say it in a code."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code or type(error).__name__)
