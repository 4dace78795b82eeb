"""Several secrets of one client: a rotation at the server without a gap."""

from pathlib import Path
from typing import Any

import pytest
import token_server
from fakes import FakeClock, token
from loading import tokens_of

from job.compose.refreshers import RefresherSet
from job.compose.tools import Tools
from job.core.clock import Clock
from job.core.errors import EndpointUnavailable, ExchangeError, RequestRejected
from job.core.events import Event, TokenRefreshed, TokenRefreshFailed
from job.core.refresher import Refresher
from job.core.secret import Secret
from job.core.tokens import Token
from job.credentials.environment import EnvironmentSecret
from job.credentials.watched import WatchedSecret
from job.oauth.rotation import RotatingSource

NAMES = ("A", "B", "C")


class Server:
    """A source that gives a token to who has the right secret, and else what it is told to say."""

    def __init__(self, right: str, *names: str, **environ: str) -> None:
        self.right = right
        self.environ = environ
        sources = (EnvironmentSecret(name, self.environ) for name in names)
        self.secret = WatchedSecret(*sources, clock=FakeClock())
        self.refusal: ExchangeError = RequestRejected("invalid_client", "no", http_status=401)
        self.tried: list[str] = []
        self.allowed = 10

    def fetch(self) -> Token:
        self.tried.append(self.secret.resolve().reveal())
        if self.tried[-1] != self.right:
            raise self.refusal
        return token(f"tok-{len(self.tried)}")

    def changed(self) -> bool:
        return self.secret.changed()

    def again(self) -> bool:
        self.allowed -= 1
        return self.allowed >= 0

    def rotating(self) -> RotatingSource:
        return RotatingSource(self, self.secret, self.again)


def refused(server: Server) -> ExchangeError:
    """Return the error of a fetch in which no secret is right."""
    with pytest.raises(ExchangeError) as caught:
        server.rotating().fetch()
    return caught.value


@pytest.mark.fault("secret-rotation")
def test_the_next_secret_is_tried_in_the_same_fetch() -> None:
    """The server drops the old secret: the new one gets the token, and is tried first from then."""
    server = Server("b", *NAMES, A="a", B="b", C="c")
    source = server.rotating()
    first, second = source.fetch(), source.fetch()

    assert (first.secret_position, second.secret_position) == (2, 2)
    assert server.tried == ["a", "b", "b"]
    assert server.secret.live == [Secret("a"), Secret("b")]
    server.right = "a"
    assert source.fetch().secret_position == 1
    assert server.tried[3:] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("code", "status", "is_blamed"),
    [
        ("invalid_client", 400, True),
        ("invalid_client", 401, True),
        ("http_401", 401, True),
        ("access_denied", 401, True),
        ("http_403", 403, True),
        ("access_denied", 403, False),
        ("invalid_scope", 400, False),
        ("unauthorized_client", 400, False),
        ("http_404", 404, False),
    ],
)
def test_only_a_refusal_of_the_secret_has_the_next_one_tried(
    code: str, status: int, *, is_blamed: bool
) -> None:
    """Another secret cures no wrong scope: what the server says of the client alone counts."""
    server = Server("b", "A", "B", A="a", B="b")
    server.refusal = RequestRejected(code, "no", http_status=status)
    if is_blamed:
        assert server.rotating().fetch().secret_position == 2
    else:
        assert refused(server) is server.refusal
        assert server.tried == ["a"]


def test_a_refusal_of_metadata_has_no_other_secret_tried() -> None:
    """An issuer that wants a login for its metadata has not seen the secret."""
    server = Server("b", "A", "B", A="a", B="b")
    server.refusal = RequestRejected("no_metadata", "no", http_status=401)
    server.refusal.sent = False

    assert refused(server) is server.refusal
    assert server.tried == ["a"]


def test_an_outage_has_no_other_secret_tried() -> None:
    """A server that is down says nothing about secrets."""
    server = Server("b", "A", "B", A="a", B="b")
    server.refusal = EndpointUnavailable("http_503", "not now", http_status=503)

    assert refused(server) is server.refusal
    assert server.tried == ["a"]


@pytest.mark.fault("secret-rotation")
def test_when_none_is_right_that_is_one_failure() -> None:
    """Each is tried once, and the first one's turn comes again; the error says how many."""
    server = Server("d", *NAMES, A="a", B="b", C="c")
    error = refused(server)

    assert (error.code, error.http_status, error.retryable) == ("invalid_client", 401, False)
    assert error.message == "no; 3 client secrets were tried"
    assert server.tried == ["a", "b", "c"]
    assert server.secret.position == 1
    assert not server.rotating().changed()
    server.environ["C"] = server.right = "new"
    assert server.rotating().changed()
    assert server.rotating().fetch().secret_position == 3


@pytest.mark.fault("secret-rotation")
def test_a_source_that_gives_nothing_is_passed_over() -> None:
    """A new secret may not be there yet, an old one not any more: the others do."""
    server = Server("b", "A", "B", B="b")
    assert server.rotating().fetch().secret_position == 2
    assert server.allowed == 10

    nothing = Server("b", "A", "B")
    error = refused(nothing)
    assert "the environment variable A is not set" in error.message
    assert (error.code, nothing.tried) == ("client_secret_unavailable", [])

    wrong = Server("c", "A", "B", B="b")
    assert refused(wrong).code == "invalid_client"


def test_a_try_that_the_limits_forbid_is_left_for_the_next_time() -> None:
    """Every try counts; what may not be sent now begins the next fetch."""
    server = Server("b", "A", "B", A="a", B="b")
    server.allowed = 0

    assert refused(server) is server.refusal
    assert server.tried == ["a"]
    assert server.rotating().fetch().secret_position == 2


# The whole line


def refreshers(
    folder: Path, url: str, environ: dict[str, str], clock: Clock
) -> tuple[RefresherSet, Refresher]:
    """Build a token with two client secrets out of a configuration."""
    table = {
        "token_url": url,
        "client_id": "id",
        "client_secret": [{"env": "NEW"}, {"file": "old"}],
        "sinks": [{"type": "file", "path": "one.json"}],
    }
    built = RefresherSet(Tools(environ, "host", clock))
    return built, built.update(tokens_of({"tokens": {"one": table}}, str(folder)))["one"]


@pytest.mark.fault("secret-rotation")
@pytest.mark.slow
def test_a_rotation_from_the_configuration_to_the_event(tmp_path: Path) -> None:
    """The position is told with the token, both are masked, and either ends the slow lane."""
    (tmp_path / "old").write_text("old-secret\n")
    environ = {"NEW": "new-secret"}
    no, tokens = token_server.refusal(401, "invalid_client"), map(token_server.token, "12")
    with token_server.TokenServer(no, next(tokens), no, no, next(tokens)) as server:
        clock = FakeClock()
        built, refresher = refreshers(tmp_path, server.url, environ, clock)
        first = refresher.step()
        live = {secret.reveal() for secret in built.live_secrets("one")}
        clock.advance(1)
        lost = refresher.step(force=True)
        waiting = refresher.step()
        (tmp_path / "old").write_text("newer-secret\n")
        found = refresher.step()

    assert (only(first, TokenRefreshed).secret_position, live) == (
        2,
        {"1", "new-secret", "old-secret"},
    )
    failed = only(lost, TokenRefreshFailed)
    assert (failed.code, failed.failures) == ("invalid_client", 1)
    assert "2 client secrets were tried" in failed.message
    assert waiting == ()
    assert only(found, TokenRefreshed).secret_position == 2
    assert len(server.requests) == 5


def only(events: tuple[Event, ...], kind: type) -> Any:  # noqa: ANN401  # an event of that kind
    """Return the one event of a kind."""
    (found,) = (event for event in events if isinstance(event, kind))
    return found
