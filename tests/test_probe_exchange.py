"""A server that is asked for two tokens, and whether the first survives the second."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock
from loading import tokens_of
from token_server import Step, TokenServer, answer, refusal, token

from job.compose.token_source import exchange_of
from job.compose.tools import Tools
from job.config.settings import TokenSettings
from job.core.errors import EndpointUnavailable, RequestRejected
from job.core.ports import Deferred, unlimited
from job.oauth.exchange import ClientCredentials
from job.verbs.probe_exchange import exchange_twice, survival
from job.verbs.probe_report import Survival


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """Write a client secret."""
    path = tmp_path / "secret"
    path.write_text("s3cret")
    return path


def built(secret: Path, keys: dict[str, Any]) -> tuple[TokenSettings, ClientCredentials]:
    """Build the exchange of a token, as the configuration would."""
    sinks = [{"type": "file", "path": "t.json"}]
    settings = tokens_of(
        {"tokens": {"t": {"client_id": "id", "sinks": sinks} | keys}}, str(secret.parent)
    )["t"]
    return exchange_of(settings, Tools({}, "host", FakeClock()))


def exchange(server: TokenServer, secret: Path, **keys: Any) -> ClientCredentials:  # noqa: ANN401  # settings are of many types
    """Build the exchange of a token at a server."""
    source = {"token_url": server.url, "client_secret": {"file": str(secret)}}
    return built(secret, source | keys)[1]


def judged(server: TokenServer, secret: Path, *, probe: bool, **keys: Any) -> Survival:  # noqa: ANN401  # as above
    """Ask a server twice, and tell whether the first token still works."""
    asking = exchange(server, secret, **keys)
    first, second = exchange_twice(asking, unlimited)
    url = server.url.replace("/token", "/api?x=1") if probe else None
    return survival(asking, first.token, second.token, url)


def test_a_server_is_asked_twice(secret_file: Path) -> None:
    """Both answers are kept whole, with the tokens that were read from them."""
    with TokenServer(token("tok-1", scope="a"), token("tok-2", 60)) as server:
        first, second = exchange_twice(exchange(server, secret_file), unlimited)
    assert [one.token.access_token.reveal() for one in (first, second)] == ["tok-1", "tok-2"]
    assert [one.token.lifetime for one in (first, second)] == [3600, 60]
    assert (first.answer.status, b'"scope"' in first.answer.body) == (200, True)
    assert [seen.form for seen in server.requests] == [{"grant_type": "client_credentials"}] * 2


def test_a_server_that_is_found_by_discovery_is_asked_as_it_likes(secret_file: Path) -> None:
    """The method that the issuer's metadata choose is the one that is used, and told."""
    with TokenServer() as server:
        issuer = server.url.removesuffix("/token")
        metadata = {
            "issuer": issuer,
            "token_endpoint": server.url,
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
        server.add(answer(200, metadata), token("tok-1"), token("tok-2"))
        settled, asking = built(
            secret_file, {"issuer": issuer, "client_secret": {"file": str(secret_file)}}
        )
        exchange_twice(asking, unlimited)
    assert settled.auth_method == "client_secret_post"
    assert [seen.form.get("client_secret") for seen in server.requests] == [
        None,
        "s3cret",
        "s3cret",
    ]


def test_a_refusal_is_an_error_of_the_exchange(secret_file: Path) -> None:
    """Whatever the exchange says of it goes to who asked."""
    with TokenServer(token(), refusal(401, "invalid_client")) as server:
        asking = exchange(server, secret_file)
        with pytest.raises(RequestRejected, match="invalid_client"):
            exchange_twice(asking, unlimited)


def test_a_turn_is_waited_for(secret_file: Path) -> None:
    """A rate of one a second puts the second request off: it comes a moment later."""
    waits, slept = [0.0, 0.9, 0.0], list[float]()

    def limit(_: float) -> AbstractContextManager[None]:
        if wait_s := waits.pop(0):
            raise Deferred(wait_s)
        return nullcontext()

    with TokenServer(token("tok-1"), token("tok-2")) as server:
        exchange_twice(exchange(server, secret_file), limit, slept.append)
    assert (slept, waits) == ([0.9], [])


def test_a_turn_that_is_far_off_is_not_waited_for(secret_file: Path) -> None:
    """A budget that is spent is told at once, however often it is less than a minute."""
    slept = list[float]()

    def limit(_: float) -> AbstractContextManager[None]:
        raise Deferred(40)

    url = "http://127.0.0.1:9/token"
    asking = built(secret_file, {"token_url": url, "client_secret": {"file": str(secret_file)}})[1]
    with pytest.raises(EndpointUnavailable, match="no exchange for 40s") as caught:
        exchange_twice(asking, limit, slept.append)
    assert (caught.value.code, slept) == ("limit_reached", [40])


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (
            (answer(200), answer(204)),
            Survival(works=True, how="probe_url answers HTTP 204"),
        ),
        (
            (answer(200), answer(401)),
            Survival(works=False, how="probe_url answers HTTP 401"),
        ),
        (
            (answer(200), answer(503)),
            Survival(works=None, how="probe_url answers HTTP 503"),
        ),
        (
            (answer(401),),
            Survival(
                works=None,
                how="probe_url answers HTTP 401, even for the second token: this proves nothing",
            ),
        ),
    ],
)
def test_a_url_of_the_api_tells_whether_a_token_works(
    secret_file: Path, answers: tuple[Step, ...], found: Survival
) -> None:
    """The newer token is tried first: where not even that works, nothing is known of the older."""
    with TokenServer(token("tok-1"), token("tok-2"), *answers) as server:
        assert judged(server, secret_file, probe=True) == found
    tried = [(seen.method, seen.path, seen.headers["authorization"]) for seen in server.requests]
    assert (
        tried[2:]
        == [
            ("GET", "/api?x=1", "Bearer tok-2"),
            ("GET", "/api?x=1", "Bearer tok-1"),
        ][: len(answers)]
    )


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (
            (answer(200, {"active": True}), answer(200, {"active": True})),
            Survival(works=True, how="introspection calls it active"),
        ),
        (
            (answer(200, {"active": True}), answer(200, {"active": False})),
            Survival(works=False, how="introspection calls it inactive"),
        ),
        (
            (answer(200, {"active": True}), answer(403, "no")),
            Survival(works=None, how="introspection answers HTTP 403 and doesn't say"),
        ),
        (
            (answer(200, {"active": False}),),
            Survival(
                works=None,
                how="introspection calls it inactive, even for the second token: "
                "this proves nothing",
            ),
        ),
    ],
)
def test_the_server_itself_tells_whether_a_token_works(
    secret_file: Path, answers: tuple[Step, ...], found: Survival
) -> None:
    """Introspection (RFC 7662) is asked with the client's own proof."""
    with TokenServer(token("tok-1"), token("tok-2"), *answers) as server:
        url = server.url.replace("/token", "/introspect")
        assert judged(server, secret_file, probe=False, introspection_url=url) == found
    asked = [seen.form["token"] for seen in server.requests[2:]]
    assert asked == ["tok-2", "tok-1"][: len(answers)]
    assert {seen.path for seen in server.requests[2:]} == {"/introspect"}
    assert len({seen.headers["authorization"] for seen in server.requests}) == 1


def test_without_a_place_to_try_it_nothing_is_known(secret_file: Path) -> None:
    """No further request is made."""
    with TokenServer(token("tok-1"), token("tok-2")) as server:
        found = judged(server, secret_file, probe=False)
    assert found == Survival(works=None, how="neither probe_url nor introspection_url is set")
    assert len(server.requests) == 2


def test_a_place_that_cannot_be_reached_tells_nothing(secret_file: Path) -> None:
    """The report goes on, with the reason."""
    with TokenServer(token("tok-1"), token("tok-2")) as server:
        asking = exchange(server, secret_file)
        first, second = exchange_twice(asking, unlimited)
    found = survival(asking, first.token, second.token, server.url)
    assert found.works is None
    assert "refuses connections" in found.how
